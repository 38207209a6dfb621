import DaemonState
import Foundation
import Testing

@Suite struct PauseJournalTests {
    @Test func pausesOutliveTheDaemon() throws {
        let scratch = try ScratchDirectory(onDisk: true)
        do {
            let state = try StateDirectory(path: scratch.path)
            let journal = try PauseJournal(in: state)
            #expect(journal.ids.isEmpty)
            #expect(try journal.pause(["b", "a", "b"]) == ["b", "a"])
            #expect(try journal.pause(["c", "a"]) == ["c"])
            #expect(try journal.resume(["x", "a", "a"]) == ["a"])
            #expect(try journal.pause(["a"]) == ["a"])
            #expect(try journal.drop(["c", "x"]) == ["c"])
            #expect(try journal.pause([]) == [])
            #expect(journal.ids == ["a", "b"])
            #expect(journal.count == 2)
        }
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        #expect(journal.ids == ["a", "b"])
        #expect(journal.discardedByteCount == 0)
        #expect(try journal.pause(["a"]) == [])
        #expect(try journal.resume(["a", "b"]) == ["a", "b"])
        state.close()
        #expect(try scratch.paused().isEmpty)
    }

    /// Every kind of id that the interface lets in.
    @Test func idsAreBytes() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        let ids = [
            "\u{e9}", "e\u{301}", "a\nb", "\n", "\u{0}", "\"", "\\", "\u{7f}", "\u{2028}", " ", "😀", "0 synced",
            String(repeating: "\u{1}", count: 256), String(repeating: "x", count: 256), "pause \"a\"",
        ]
        // The first two are one Swift string, and two ids.
        #expect(ids[0] == ids[1])
        #expect(try journal.pause(ids).count == ids.count)
        state.close()
        #expect(try scratch.paused() == Set(ids.map { Array($0.utf8) }))
        let again = try StateDirectory(path: scratch.path)
        #expect(try PauseJournal(in: again).resume(["e\u{301}"]).count == 1)
        again.close()
        #expect(
            try scratch.paused() == Set(ids.filter { Array($0.utf8).count != 3 || $0 != "é" }.map { Array($0.utf8) }))
    }

    @Test func anIDOfAnotherLengthChangesNothing() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        for wrong in ["", String(repeating: "x", count: 257)] {
            #expect(throws: StateError.self) { try journal.pause(["a", wrong]) }
            #expect(throws: StateError.self) { try journal.resume([wrong]) }
        }
        state.close()
        #expect(try scratch.paused().isEmpty)
    }

    /// The documentation's example is what the journal writes.
    @Test func theDocumentedExampleIsRight() throws {
        let scratch = try ScratchDirectory()
        func open(_ body: (PauseJournal) throws -> Void) throws {
            let state = try StateDirectory(path: scratch.path)
            defer { state.close() }
            try body(try PauseJournal(in: state))
        }
        try open {
            try $0.pause(["i17", "x"])
            try $0.resume(["x"])
        }
        // Mostly outdated, so it is compacted now.
        try open {
            try $0.pause(["i4", "i5"])
            try $0.resume(["i17"])
        }
        let documentation = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("docs/STATE.md")
        let written = String(decoding: try scratch.bytes("pauses.journal"), as: UTF8.self)
        let indented = written.split(separator: "\n").map { "    \($0)\n" }.joined()
        #expect(try String(contentsOf: documentation, encoding: .utf8).contains("\n\n\(indented)\n"), "\(indented)")
    }

    // MARK: Crashes

    @Test func aCutAtAnyByteLeavesWhatWasComplete() throws {
        let sample = try JournalSample()
        for cut in 0...sample.bytes.count {
            let scratch = try ScratchDirectory()
            try scratch.write("pauses.journal", sample.bytes[..<cut])
            guard let expected = sample.paused(upTo: cut) else {
                #expect(throws: StateError.self, "cut at \(cut)") { try scratch.paused() }
                continue
            }
            let state = try StateDirectory(path: scratch.path)
            let journal = try PauseJournal(in: state)
            #expect(Set(journal.ids.map { Array($0.utf8) }) == expected, "cut at \(cut)")
            #expect(journal.discardedByteCount == cut - sample.states.last { $0.end <= cut }!.end)
            // What was acknowledged before the write that was cut is there; the cut one is no longer in the way.
            #expect(try journal.pause(["new"]) == ["new"])
            state.close()
            #expect(try scratch.paused() == expected.union([Array("new".utf8)]), "cut at \(cut)")
        }
    }

    /// After a power failure the end of a file may be zeros, or lack a page in the middle.
    @Test func pagesThatWereNotWrittenAreCutOff() throws {
        let sample = try JournalSample()
        let last = sample.acknowledged.last!
        let before = sample.acknowledged[sample.acknowledged.count - 2]
        #expect(try ScratchDirectory.paused(in: sample.bytes + [UInt8](repeating: 0, count: 4096)) == last.paused)
        // The last change's own `synced` was not written yet.
        let end = sample.states[sample.states.count - 2].end
        for start in before.end..<end {
            var bytes = Array(sample.bytes[..<end])
            bytes[start] = 0
            let paused = try ScratchDirectory.paused(in: bytes)
            #expect(paused.isSuperset(of: before.paused) && paused.isSubset(of: last.paused))
        }
    }

    @Test func aFlippedBitAnywhereElseIsRefused() throws {
        let sample = try JournalSample()
        let end = sample.states[sample.states.count - 2].end
        for offset in sample.bytes.indices {
            var bytes = sample.bytes
            bytes[offset] ^= 1 << UInt8(offset % 8)
            if offset < end {
                let error = #expect(throws: StateError.self, "flip at \(offset)") {
                    try ScratchDirectory.paused(in: bytes)
                }
                #expect(error?.description.contains("pauses.journal: ") == true)
            } else {
                // In the note that the last change is on disk: the change itself is whole.
                #expect(try ScratchDirectory.paused(in: bytes) == sample.acknowledged.last!.paused)
            }
        }
    }

    @Test func aLineThatIsMissingMovedOrThereTwiceIsRefused() throws {
        let sample = try JournalSample()
        let starts = [0] + sample.states.map(\.end)
        let lines = zip(starts, starts.dropFirst()).map { Array(sample.bytes[$0..<$1]) }
        for index in lines.indices {
            var without = lines
            without.remove(at: index)
            var twice = lines
            twice.insert(lines[index], at: index)
            var moved = lines
            moved.swapAt(index, (index + 1) % lines.count)
            let isLast = index == lines.count - 1
            for damaged in isLast ? [] : [without, twice, moved] {
                #expect(throws: StateError.self) { try ScratchDirectory.paused(in: damaged.joined()) }
            }
        }
        #expect(throws: StateError.self) { try ScratchDirectory.paused(in: []) }
        // A whole line of another journal at the end.
        #expect(throws: StateError.self) { try ScratchDirectory.paused(in: sample.bytes + lines[2]) }
    }

    // MARK: Compaction

    @Test func aMostlyOutdatedJournalIsCompactedAtOpening() throws {
        let scratch = try ScratchDirectory()
        do {
            let state = try StateDirectory(path: scratch.path)
            let journal = try PauseJournal(in: state)
            try journal.pause((0..<100).map { "i\($0)" })
            try journal.resume((0..<49).map { "i\($0)" })
            state.close()
        }
        // 149 changes for 51 pauses.
        let before = try scratch.bytes("pauses.journal").count
        let expected = Set((49..<100).map { Array("i\($0)".utf8) })
        #expect(try scratch.paused() == expected)
        let after = try scratch.bytes("pauses.journal").count
        #expect(after < before / 2)
        #expect(try scratch.paused() == expected)
        #expect(try scratch.bytes("pauses.journal").count == after)
        #expect(!scratch.exists("pauses.journal.tmp"))
    }

    @Test func aJournalInUseIsCompacted() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        let ids = (0..<1000).map { "\($0)-\(String(repeating: "x", count: 200))" }
        try journal.pause(["kept"])
        var compactions = 0
        for _ in 0..<10 {
            for isPause in [true, false] {
                let before = journal.byteCount
                if isPause { try journal.pause(ids) } else { try journal.resume(ids) }
                compactions += journal.byteCount < before ? 1 : 0
                #expect(journal.byteCount < 1 << 20)
                #expect(try scratch.bytes("pauses.journal").count == journal.byteCount)
            }
        }
        // 20 changes of a quarter of a megabyte: every fourth or fifth brings it beyond one.
        #expect((3...5).contains(compactions), "\(compactions)")
        state.close()
        #expect(try scratch.paused() == [Array("kept".utf8)])
    }

    @Test func compactingIsNotNeeded() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        try FileManager.default.createDirectory(
            atPath: "\(scratch.path)/pauses.journal.tmp/x", withIntermediateDirectories: true)
        let ids = (0..<1000).map { "\($0)-\(String(repeating: "x", count: 200))" }
        for _ in 0..<4 {
            #expect(try journal.pause(ids) == ids)
            #expect(try journal.resume(ids) == ids)
        }
        try journal.pause(["kept"])
        #expect(journal.byteCount > 1 << 20)
        state.close()
        // Nor at opening.
        #expect(try scratch.paused() == [Array("kept".utf8)])
        #expect(try scratch.bytes("pauses.journal").count > 1 << 20)
    }

    // MARK: Threads

    @Test func threadsMayCallAtOnce() async throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for thread in 0..<4 {
                group.addTask { () throws in
                    for number in 0..<20 {
                        #expect(try journal.pause(["\(thread)-\(number)"]).count == 1)
                        if number % 2 == 0 { #expect(try journal.resume(["\(thread)-\(number)"]).count == 1) }
                        _ = journal.ids
                    }
                }
            }
            try await group.waitForAll()
        }
        state.close()
        let expected = (0..<4).flatMap { thread in (0..<10).map { Array("\(thread)-\(2 * $0 + 1)".utf8) } }
        #expect(try scratch.paused() == Set(expected))
    }
}
