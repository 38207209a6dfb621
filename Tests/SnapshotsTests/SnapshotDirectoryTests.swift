import Foundation
import SnapshotCheck
import Snapshots
import TestSupport
import Testing

/// What `--snapshots` may name.
@Suite struct SnapshotDirectoryTests {
    @Test func followsCurrentAndTheFileCURRENT() throws {
        let copy = try SnapshotCopy(of: "plain")
        #expect(try SnapshotDirectory.current(in: copy.path) == copy.path)
        try write(copy, "CURRENT", "plain\n")
        #expect(try SnapshotDirectory.current(in: copy.directory) == copy.path)
        try copy.link("current", to: "plain")
        #expect(try SnapshotDirectory.current(in: copy.directory) == "\(copy.directory)/current")
        try SnapshotCheck(path: copy.directory).run { _ in }
    }

    @Test func refusesADanglingCurrent() throws {
        let copy = try SnapshotCopy(of: "plain")
        try copy.link("current", to: "gone")
        try expectRefusal(of: copy.directory, .directory, "\(copy.directory)/current", ["'gone', which does not exist"])
    }

    @Test func refusesALinkToItself() throws {
        let copy = try SnapshotCopy(of: "plain")
        try copy.link("current", to: "current")
        try expectRefusal(of: copy.directory, .directory, "\(copy.directory)/current", ["points to 'current'"])
    }

    @Test func refusesACurrentThatIsStillBeingWritten() throws {
        let copy = try SnapshotCopy(of: "plain")
        try FileManager.default.createDirectory(
            atPath: "\(copy.directory)/next.tmp", withIntermediateDirectories: false)
        try copy.link("current", to: "next.tmp")
        try expectRefusal(of: copy.directory, .directory, "\(copy.directory)/current", ["has no _SUCCESS"])
    }

    @Test(arguments: [
        ("../plain", "does not hold a snapshot id"), ("/etc", "does not hold a snapshot id"),
        ("", "does not hold a snapshot id"), (" \n\n", "does not hold a snapshot id"),
        ("plain\0", "does not hold a snapshot id"), (".", "does not hold a snapshot id"),
        (String(repeating: "x", count: 65), "does not hold a snapshot id"),
        (String(repeating: "x", count: 5000), "does not hold a snapshot id"),
        ("naïve", "does not hold a snapshot id"), ("gone", "names 'gone', which does not exist"),
    ]) func refusesAnotherCURRENT(text: String, words: String) throws {
        let copy = try SnapshotCopy(of: "plain")
        try write(copy, "CURRENT", text)
        try expectRefusal(of: copy.directory, .directory, "\(copy.directory)/CURRENT", [words])
    }

    @Test func refusesACURRENTThatIsADirectory() throws {
        let copy = try SnapshotCopy(of: "plain")
        try FileManager.default.createDirectory(atPath: "\(copy.directory)/CURRENT", withIntermediateDirectories: false)
        try expectRefusal(
            of: copy.directory, .directory, "\(copy.directory)/CURRENT", ["does not hold a snapshot id"])
    }

    @Test func refusesACURRENTThatIsAPipeWithoutWaiting() throws {
        let copy = try SnapshotCopy(of: "plain")
        let directory = copy.directory
        #expect(mkfifo("\(directory)/CURRENT", 0o600) == 0)
        try expectEnd(reading: "\(directory)/CURRENT") {
            let error = #expect(throws: SnapshotError.self) { try SnapshotDirectory.current(in: directory) }
            #expect(error?.file == "\(directory)/CURRENT")
        }
    }

    @Test func refusesWhatIsNoDirectoryOfSnapshots() throws {
        let copy = try SnapshotCopy(of: "plain")
        try expectRefusal(of: copy.directory, .directory, copy.directory, ["is no snapshot", "neither 'current'"])
        try expectRefusal(of: "\(copy.directory)/gone", .directory, "\(copy.directory)/gone", ["does not exist"])
        let file = copy.path(of: "index.faiss")
        try expectRefusal(of: file, .directory, file, ["is no snapshot"])
    }

    private func write(_ copy: SnapshotCopy, _ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(copy.directory)/\(name)"))
    }
}
