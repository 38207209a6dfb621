import DaemonState
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite struct PauseJournalTests {
    @Test func pausesOutliveTheDaemon() throws {
        let scratch = try ScratchDirectory()
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

    /// A journal with a beginning that was compacted and changes behind it, and what is paused after each of its lines.
    struct Sample {
        var bytes: [UInt8] = []
        /// Where each line ends, and what is paused up to there; nil before the promised lines are complete.
        var states: [(end: Int, paused: Set<[UInt8]>?)] = []
        /// What was paused when each call returned, and the file's length then.
        var acknowledged: [(end: Int, paused: Set<[UInt8]>)] = []

        init() throws {
            let scratch = try ScratchDirectory()
            var paused: Set<[UInt8]> = []
            do {
                let state = try StateDirectory(path: scratch.path)
                let journal = try PauseJournal(in: state)
                try journal.pause(["old", "older", "gone"])
                try journal.resume(["gone", "older"])
                try journal.pause(["older\n"])
                try journal.resume(["older\n"])
                state.close()
            }
            paused = [Array("old".utf8)]
            let state = try StateDirectory(path: scratch.path)
            let journal = try PauseJournal(in: state)
            acknowledged.append((journal.byteCount, paused))
            states = try Sample.ends(try scratch.bytes("pauses.journal")).map { ($0, nil) }
            states[states.count - 1].paused = paused
            let changes: [(isPause: Bool, ids: [String])] = [
                (true, ["a"]), (true, ["b\n\"é", "c"]), (false, ["a"]), (true, ["d"]), (false, ["old", "c"]),
                (true, ["last", "one", "more"]),
            ]
            for change in changes {
                let before = try scratch.bytes("pauses.journal").count
                if change.isPause { try journal.pause(change.ids) } else { try journal.resume(change.ids) }
                let ends = try Sample.ends(try scratch.bytes("pauses.journal")).filter { $0 > before }
                try #require(ends.count == change.ids.count + 1)
                for (id, end) in zip(change.ids, ends) {
                    if change.isPause { paused.insert(Array(id.utf8)) } else { paused.remove(Array(id.utf8)) }
                    states.append((end, paused))
                }
                states.append((ends.last!, paused))
                acknowledged.append((ends.last!, paused))
            }
            bytes = try scratch.bytes("pauses.journal")
            state.close()
        }

        static func ends(_ bytes: [UInt8]) throws -> [Int] {
            bytes.indices.filter { bytes[$0] == UInt8(ascii: "\n") }.map { $0 + 1 }
        }

        /// What is paused after as many whole lines as `byteCount` bytes hold; nil if that must be refused.
        func paused(upTo byteCount: Int) -> Set<[UInt8]>? {
            states.last { $0.end <= byteCount }?.paused
        }
    }

    @Test func aCutAtAnyByteLeavesWhatWasComplete() throws {
        let sample = try Sample()
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
        let sample = try Sample()
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
        let sample = try Sample()
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
        let sample = try Sample()
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

    @Test func mutatedJournalsLoseNothingSilently() throws {
        let sample = try Sample()
        let lastLineByteCount = sample.bytes.count - sample.states[sample.states.count - 2].end
        var random = SeededRandom(seed: 12)
        var outcomes = (refused: 0, cut: 0)
        let scratch = try ScratchDirectory()
        for _ in 0..<draws(1000) {
            let bytes = random.mutation(of: sample.bytes)
            try scratch.write("pauses.journal", bytes)
            let prefix = zip(bytes, sample.bytes).prefix { $0 == $1 }.count
            let suffix = zip(bytes.reversed(), sample.bytes.reversed()).prefix { $0 == $1 }.count
            if bytes == sample.bytes {
                #expect(try scratch.paused() == sample.acknowledged.last!.paused)
            } else if suffix >= lastLineByteCount {
                // The last `synced` is whole, so all above it was acknowledged.
                #expect(throws: StateError.self) { try scratch.paused() }
                outcomes.refused += 1
            } else if let paused = try? scratch.paused() {
                // Looks like a crash: what is above the damage is in force, whole.
                #expect(paused == sample.paused(upTo: prefix))
                outcomes.cut += 1
            }
        }
        #expect(outcomes.refused > draws(300) && outcomes.cut > draws(30), "\(outcomes)")
    }

    /// A copy that is taken while another thread writes is what a kill at that instant leaves.
    @Test func aCopyAtAnyInstantHasWhatWasAcknowledged() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        let acknowledged = Atomic<Int>(0)
        let isDone = Atomic<Bool>(false)
        let count = draws(150)
        let writer = Thread {
            defer { isDone.store(true, ordering: .releasing) }
            for number in 0..<count {
                // Three at a time, of which one is resumed at once: the journal has something to compact.
                let ids = (0..<3).map { "\(number)-\($0)-\(String(repeating: "x", count: 200))" }
                guard (try? journal.pause(ids)) != nil, (try? journal.resume([ids[0]])) != nil else { return }
                acknowledged.store(number + 1, ordering: .releasing)
            }
        }
        writer.start()
        var copies = 0
        while true {
            let wasDone = isDone.load(ordering: .acquiring)
            let before = acknowledged.load(ordering: .acquiring)
            let copy = try scratch.bytes("pauses.journal")
            let after = acknowledged.load(ordering: .acquiring)
            let numbers = try ScratchDirectory.paused(in: copy).map { id in
                String(decoding: id, as: UTF8.self).split(separator: "-").prefix(2).map { Int($0)! }
            }
            #expect(numbers.count { $0[0] < before && $0[1] > 0 } == 2 * before)
            #expect(!numbers.contains { $0[0] < before && $0[1] == 0 })
            #expect(!numbers.contains { $0[0] > after + 1 })
            copies += 1
            if wasDone { break }
        }
        #expect(acknowledged.load(ordering: .acquiring) == count)
        #expect(copies > 3)
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

    // MARK: Many changes

    @Test func randomChangesAgreeWithASet() throws {
        var random = SeededRandom(seed: 13)
        let scratch = try ScratchDirectory()
        let letters = ["a", "é", "e\u{301}", "\n", "\"", "0", "x", "日", "\u{0}"]
        let known = (0..<200).map { _ in (0..<1 + random.below(6)).map { _ in random.element(letters) }.joined() }
        var expected: Set<[UInt8]> = []
        var state = try StateDirectory(path: scratch.path)
        var journal = try PauseJournal(in: state)
        for _ in 0..<draws(500) {
            let ids = (0..<random.below(8)).map { _ in random.element(known) }
            let bytes = Set(ids.map { Array($0.utf8) })
            switch random.below(12) {
            case 0:
                state.close()
                state = try StateDirectory(path: scratch.path)
                journal = try PauseJournal(in: state)
            case 1...6:
                let changed = try journal.pause(ids)
                #expect(Set(changed.map { Array($0.utf8) }) == bytes.subtracting(expected))
                #expect(changed.count == bytes.subtracting(expected).count)
                expected.formUnion(bytes)
            case let kind:
                let changed = kind < 11 ? try journal.resume(ids) : try journal.drop(ids)
                #expect(Set(changed.map { Array($0.utf8) }) == bytes.intersection(expected))
                expected.subtract(bytes)
            }
            #expect(Set(journal.ids.map { Array($0.utf8) }) == expected)
        }
        state.close()
        #expect(try scratch.paused() == expected)
    }

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
