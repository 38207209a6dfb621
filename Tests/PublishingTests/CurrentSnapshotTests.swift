import Foundation
import Snapshots
import TestSupport
import Testing

@testable import Publishing

/// `current`, and `CURRENT` where there are no links.
@Suite struct CurrentSnapshotTests {
    private let target: TargetDirectory

    init() throws {
        target = try TargetDirectory()
        for id in ["one", "two"] { try target.makeSnapshot(id, publishedAt: "2026-01-01T00:00:00Z") }
    }

    @Test(arguments: [EPERM, ENOTSUP, ENOSYS]) func writesAFileWhereThereAreNoLinks(code: Int32) throws {
        var current = CurrentSnapshot(directory: target.path)
        current.link = { _, _ in
            errno = code
            return -1
        }
        for id in ["one", "two"] {
            try current.name(id)
            #expect(current.serves(id) && current.names(id))
            #expect(try target.names == ["CURRENT", "one", "two"])
            #expect(try SnapshotDirectory.current(in: target.path) == "\(target.path)/\(id)")
        }
        #expect(!current.names("one"))
    }

    @Test func staysWithTheFileThatIsThere() throws {
        try target.write("CURRENT", "one")
        try CurrentSnapshot(directory: target.path).name("two")
        #expect(try target.names == ["CURRENT", "one", "two"])
        #expect(try SnapshotDirectory.current(in: target.path) == "\(target.path)/two")
    }

    @Test func anotherFaultOfTheLinkIsOne() throws {
        var current = CurrentSnapshot(directory: target.path)
        current.link = { _, _ in
            errno = EDQUOT
            return -1
        }
        #expect(throws: (any Error).self) { try current.name("one") }
        #expect(try target.names == ["one", "two"])
    }

    @Test func replacesALinkAndItsDraft() throws {
        try target.link(".current.tmp", to: "half")
        try target.link("current", to: "gone")
        let current = CurrentSnapshot(directory: target.path)
        try current.name("one")
        #expect(target.current == "one")
        #expect(try target.names == ["current", "one", "two"])
        #expect(current.serves("one") && !current.serves("two"))
    }

    @Test func knowsTheSnapshotWhateverWayTheLinkGoes() throws {
        let current = CurrentSnapshot(directory: target.path)
        #expect(!current.names("one"))
        for link in [
            "one", "./one", "one/", "\(target.path)/one",
            "../\(URL(fileURLWithPath: target.path).lastPathComponent)/one",
        ] {
            try target.link("current", to: link)
            #expect(current.names("one") && !current.names("two"), "\(link)")
        }
        try target.link("hop", to: "one")
        try target.link("current", to: "hop")
        #expect(current.names("one") && !current.names("two"))
        // What is set aside is still named.
        try target.link("current", to: "one")
        try FileManager.default.moveItem(atPath: "\(target.path)/one", toPath: "\(target.path)/one.removed")
        #expect(current.names("one"))
    }
}
