import CDisk
import DaemonState
import Foundation
import Testing

/// What the journal does when the disk refuses: it is full and takes a part of a write, or takes nothing and cannot be cut back
/// (`/dev/full`), or its sync fails (`/dev/null`).
@Suite struct DiskFailureTests {
    /// Puts another file behind the journal's descriptor.
    func replaceDescriptor(of path: String, by other: String) throws {
        for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(entry)"),
                target == path
            else { continue }
            let replacement = open(other, O_RDWR | O_CLOEXEC)
            try #require(replacement >= 0 && dup2(replacement, Int32(entry)!) >= 0)
            close(replacement)
            return
        }
        Issue.record("nothing has \(path) open")
    }

    /// Lets this thread write so many bytes meanwhile, and no more.
    func withDiskRoom<Result>(_ byteCount: Int, _ body: () throws -> Result) rethrows -> Result {
        belfry_set_disk_room(byteCount)
        defer { belfry_set_disk_room(-1) }
        return try body()
    }

    /// Every number of bytes that the disk may take of a change.
    @Test(.enabled(if: belfry_stands_before_disks() == 1)) func aPartOfAWriteIsTakenBack() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        try journal.pause(["a"])
        let ids = ["bb", "cc"]
        // Up to line 100 and beyond, so that all numbers below have three digits.
        while try scratch.bytes("pauses.journal").count(where: { $0 == UInt8(ascii: "\n") }) < 100 {
            try journal.pause(ids)
            try journal.resume(ids)
        }
        // Two lines of 32 bytes; a limit within the 28 of the `synced` behind them fails nothing.
        for room in 0..<64 {
            let before = try scratch.bytes("pauses.journal")
            let error = withDiskRoom(room) {
                #expect(throws: StateError.self) { try journal.pause(ids) }
            }
            #expect(error?.description == "\(scratch.path)/pauses.journal: cannot write: No space left on device")
            #expect(journal.ids == ["a"])
            #expect(try scratch.bytes("pauses.journal") == before)
        }
        for room in 64..<92 {
            let before = try scratch.bytes("pauses.journal").count
            let paused = try withDiskRoom(room) { try journal.pause(ids) }
            #expect(paused == ids, "room for \(room)")
            #expect(try scratch.bytes("pauses.journal").count == before + 64)
            #expect(try ScratchDirectory.paused(in: try scratch.bytes("pauses.journal")).count == 3)
            #expect(try journal.resume(ids) == ids)
        }
        try journal.pause(["d"])
        state.close()
        #expect(try scratch.paused() == [Array("a".utf8), Array("d".utf8)])
    }

    @Test(arguments: [("/dev/full", "write"), ("/dev/null", "sync")])
    func aFileThatCannotBeCutBackIsWrittenAnew(device: String, operation: String) throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        try journal.pause(["a", "b"])
        try replaceDescriptor(of: "\(scratch.path)/pauses.journal", by: device)
        let error = #expect(throws: StateError.self) { try journal.pause(["c"]) }
        #expect(error?.fault.contains("cannot \(operation): ") == true)
        #expect(journal.ids == ["a", "b"])

        // As long as it cannot be written anew every change is refused, and so is the promise that nothing has to change.
        try FileManager.default.createDirectory(
            atPath: "\(scratch.path)/pauses.journal.tmp/x", withIntermediateDirectories: true)
        for _ in 0..<2 {
            #expect(throws: StateError.self) { try journal.pause(["c"]) }
            #expect(throws: StateError.self) { try journal.pause(["a"]) }
            #expect(throws: StateError.self) { try journal.resume(["a"]) }
        }
        #expect(journal.ids == ["a", "b"])
        #expect(try ScratchDirectory.paused(in: try scratch.bytes("pauses.journal")).count == 2)

        try FileManager.default.removeItem(atPath: "\(scratch.path)/pauses.journal.tmp")
        #expect(try journal.pause(["c"]) == ["c"])
        #expect(try journal.resume(["a"]) == ["a"])
        state.close()
        #expect(try scratch.paused() == [Array("b".utf8), Array("c".utf8)])
    }

    @Test(.enabled(if: belfry_stands_before_disks() == 1)) func aFullDiskIsNoReasonNotToOpen() throws {
        let scratch = try ScratchDirectory()
        do {
            let state = try StateDirectory(path: scratch.path)
            let journal = try PauseJournal(in: state)
            try journal.pause(["a", "b", "c"])
            try journal.resume(["a", "b"])
            state.close()
        }
        let before = try scratch.bytes("pauses.journal")
        let paused = try withDiskRoom(16) { try scratch.paused() }
        #expect(paused == [Array("c".utf8)])
        #expect(try scratch.bytes("pauses.journal") == before)
        #expect(!scratch.exists("pauses.journal.tmp"))
        #expect(try scratch.paused() == paused)
        #expect(try scratch.bytes("pauses.journal").count < before.count)
    }

    @Test(.enabled(if: belfry_stands_before_disks() == 1)) func aChoiceThatCannotBeWrittenLeavesTheOldOne() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        try state.write(ServingChoice(serving: "old"))
        let error = withDiskRoom(40) {
            #expect(throws: StateError.self) { try state.write(ServingChoice(serving: "new")) }
        }
        #expect(error?.description == "\(scratch.path)/choice.json.tmp: cannot write: No space left on device")
        #expect(try state.readChoice() == ServingChoice(serving: "old"))
        #expect(!scratch.exists("choice.json.tmp"))
    }
}

/// What is asked of the disk, in order: what no test can see otherwise, short of pulling the plug.
@Suite(.enabled(if: belfry_stands_before_disks() == 1)) struct DiskOrderTests {
    /// w write, t truncate, d fdatasync, s fsync, S fsync of a directory, r rename.
    func calls(_ body: () throws -> Void) rethrows -> String {
        _ = belfry_disk_calls()
        try body()
        return String(cString: belfry_disk_calls())
    }

    @Test func aChangeIsSyncedBeforeItIsAcknowledged() throws {
        let scratch = try ScratchDirectory()
        // The lock's process id, and the directory above.
        var state: StateDirectory!
        #expect(try calls { state = try StateDirectory(path: "\(scratch.path)/state") } == "Stw")
        var journal: PauseJournal!
        #expect(try calls { journal = try PauseJournal(in: state) } == "wsrS")
        // The lines, then the note that they are on disk.
        #expect(try calls { try journal.pause(["a", "b", "c"]) } == "wdw")
        #expect(try calls { try journal.resume(["a"]) } == "wdw")
        #expect(try calls { try journal.drop(["b"]) } == "wdw")
        #expect(try calls { try journal.resume(["a"]) } == "")
        #expect(try calls { try state.write(ServingChoice(serving: "s")) } == "wsrS")
    }

    @Test func whatIsReadIsSyncedBeforeItIsUsed() throws {
        let scratch = try ScratchDirectory()
        func open() throws -> String {
            let state = try StateDirectory(path: scratch.path)
            defer { state.close() }
            return try calls { _ = try PauseJournal(in: state) }
        }
        _ = try open()
        var ends: [Int] = []
        do {
            let state = try StateDirectory(path: scratch.path)
            let journal = try PauseJournal(in: state)
            ends.append(journal.byteCount)
            try journal.pause(["a"])
            ends.append(journal.byteCount)
            state.close()
        }
        #expect(try open() == "d")
        // Killed after the line and before the note; in the line; with the note a part.
        let whole = try scratch.bytes("pauses.journal")
        let line = whole[ends[0]...].firstIndex(of: UInt8(ascii: "\n"))! + 1
        for (length, expected) in [(line, "dw"), (line - 1, "td"), (line + 1, "tdw")] {
            try scratch.write("pauses.journal", whole[..<length])
            #expect(try open() == expected)
        }
        // Mostly outdated.
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        try journal.pause(["x"])
        try journal.resume(["x"])
        state.close()
        #expect(try open() == "dwsrS")
    }

    @Test func aWriteThatFailsIsCutBack() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        belfry_set_disk_room(5)
        defer { belfry_set_disk_room(-1) }
        #expect(calls { #expect(throws: StateError.self) { try journal.pause(["a"]) } } == "wwt")
    }
}
