import Foundation
import SnapshotCheck
import SnapshotDamage
import Snapshots
import TestSupport
import Testing

/// Damages that sizes and checksums have to find.
@Suite struct IntegrityTests {

    @Test(arguments: Fixtures.all) func acceptsAnIntactCopyThatWasSealedAnew(fixture: String) throws {
        let copy = try SnapshotCopy(of: fixture)
        try copy.seal()
        try SnapshotCheck(path: copy.path).run { _ in }
    }

    @Test(arguments: IntegrityDamage.files) func refusesEachFileTruncatedFlippedMissingOrLonger(file: String) throws {
        let copy = try SnapshotCopy(of: "cross-only")
        let whole = try copy.bytes(of: file)
        for byteCount in [0, whole.count / 2, whole.count - 1] {
            try copy.truncate(file, to: byteCount)
            try expectRefusal(
                of: copy.path, .integrity, file, ["has \(byteCount) bytes", "the manifest says \(whole.count)"])
            try copy.write(file, whole)
        }
        for offset in [0, whole.count / 2, whole.count - 1] {
            try copy.flipBit(file, at: offset)
            try expectRefusal(of: copy.path, .integrity, file, ["has sha256"])
            try copy.write(file, whole)
        }
        try copy.append(file, "\n")
        try expectRefusal(of: copy.path, .integrity, file, ["has \(whole.count + 1) bytes"])
        try copy.remove(file)
        try expectRefusal(of: copy.path, .integrity, file, ["cannot open: No such file"])
        try copy.replaceByDirectoryInPlaceOfNothing(file)
        try expectRefusal(of: copy.path, .integrity, file, ["not a regular file"])
    }

    @Test(arguments: IntegrityDamage.all) func refuses(damage: Damage) throws {
        try damage.run()
    }

    /// Opening a pipe to read waits for a writer, which never comes.
    @Test(arguments: ["_SUCCESS", "manifest.json"] + IntegrityDamage.files) func refusesAPipeWithoutWaiting(
        file: String
    ) throws {
        let copy = try SnapshotCopy(of: "cross-only")
        try copy.replaceByPipe(file)
        let path = copy.path
        try expectEnd(reading: copy.path(of: file)) {
            let error = #expect(throws: SnapshotError.self) { try SnapshotCheck(path: path).run { _ in } }
            #expect(error?.file == file)
            #expect(error?.fault.contains("not a regular file") == true, "\(String(describing: error))")
        }
    }
}

extension SnapshotCopy {
    fileprivate func replaceByDirectoryInPlaceOfNothing(_ file: String) throws {
        try FileManager.default.createDirectory(atPath: path(of: file), withIntermediateDirectories: false)
    }
}

/// Runs a check on another thread and fails if it has not ended after a minute, as one that waits for a pipe's
/// writer; then the pipe is opened, so that the thread ends.
func expectEnd(reading pipe: String, _ body: @escaping @Sendable () -> Void) throws {
    let ended = DispatchSemaphore(value: 0)
    let thread = Thread {
        body()
        ended.signal()
    }
    thread.stackSize = 8 << 20
    thread.start()
    guard ended.wait(timeout: .now() + 60) == .timedOut else { return }
    Issue.record("waits for a writer of \(pipe)")
    let descriptor = open(pipe, O_WRONLY | O_NONBLOCK)
    if descriptor >= 0 { close(descriptor) }
    _ = ended.wait(timeout: .now() + 60)
}
