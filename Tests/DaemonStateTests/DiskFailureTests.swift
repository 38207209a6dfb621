import CFullDisk
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
    @Test(.enabled(if: belfry_fills_disks() == 1)) func aPartOfAWriteIsTakenBack() throws {
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

    @Test(.enabled(if: belfry_fills_disks() == 1)) func aFullDiskIsNoReasonNotToOpen() throws {
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

    @Test(.enabled(if: belfry_fills_disks() == 1)) func aChoiceThatCannotBeWrittenLeavesTheOldOne() throws {
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
