import Foundation
import TestSupport
import Testing

/// `belfry snapshots` against an admin plane of the test's own, and `prune` on a directory.
@Suite struct SnapshotsCommandTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private static func entry(_ id: String, _ state: String, reason: String? = nil) -> String {
        let fault = reason.map { #""reason": "\#($0)", "stage": "integrity""# } ?? #""reason": null, "stage": null"#
        return #"{"id": "\#(id)", "state": "\#(state)", \#(fault), "bytes": 1234567, "items": 2000, "#
            + #""space_id": "space-1", "created_at": "2026-01-01T00:00:00Z", "times": {}, "durations_ms": {}, "skew": null}"#
    }

    private func reply(serving: String?, previous: String?, _ entries: [String]) -> String {
        func literal(_ id: String?) -> String { id.map { "\"\($0)\"" } ?? "null" }
        return
            #"{"serving": \#(literal(serving)), "previous": \#(literal(previous)), "directory": "\#(directory.path)", "#
            + #""snapshots": [\#(entries.joined(separator: ", "))]}"#
    }

    private func makeSnapshots(_ ids: [String]) throws {
        for (number, id) in ids.enumerated() {
            let path = directory.file(id)
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            let digest = String(repeating: "0", count: 64)
            let seal =
                #"{"published_at": "2026-01-01T00:00:0\#(number)Z", "manifest": {"bytes": 1, "sha256": "\#(digest)"}}"#
            try Data(seal.utf8).write(to: URL(fileURLWithPath: "\(path)/_SUCCESS"))
        }
    }

    private var ids: [String] {
        get throws {
            try FileManager.default.contentsOfDirectory(atPath: directory.path).filter { !$0.hasPrefix(".") }.sorted()
        }
    }

    private func run(_ arguments: [String], _ admin: AdminStub) throws -> BelfryRun {
        try BelfryRun(["snapshots"] + arguments + ["--admin", admin.address])
    }

    // MARK: Orders

    @Test(arguments: [true, false]) func listsStates(isUnix: Bool) throws {
        let body = reply(
            serving: "new", previous: "a-long-name",
            [
                Self.entry("new", "serving"), Self.entry("a-long-name", "retired"),
                Self.entry("bad", "failed", reason: "two\\nlines"),
            ])
        let admin = try AdminStub(path: isUnix ? directory.file("admin") : nil) { _ in (200, body) }
        let run = try run(["list"], admin)
        #expect(
            run.output == """
                ID           STATE               ITEMS    BYTES  CREATED               SPACE    REASON
                new          serving              2000  1234567  2026-01-01T00:00:00Z  space-1
                a-long-name  retired (previous)   2000  1234567  2026-01-01T00:00:00Z  space-1
                bad          failed               2000  1234567  2026-01-01T00:00:00Z  space-1  integrity: two lines

                """, "\(run)")
        #expect(try self.run(["list", "--json"], admin).output == body + "\n")
        #expect(admin.seen == ["GET /v1/snapshots", "GET /v1/snapshots"])
    }

    @Test func listsADaemonWithoutSnapshots() throws {
        let body = reply(serving: nil, previous: nil, [])
        let admin = try AdminStub { _ in (200, body) }
        #expect(try run(["list"], admin).output == "ID  STATE  ITEMS  BYTES  CREATED  SPACE  REASON\n")
    }

    @Test(arguments: [
        (["load", "a_B-9"], "POST /v1/snapshots/a_B-9:load"),
        (["activate", "a_B-9"], "POST /v1/snapshots/a_B-9:activate"),
        (["activate", "a_B-9", "--no-wait"], "POST /v1/snapshots/a_B-9:activate?wait=0"),
        (["rollback"], "POST /v1/snapshots:rollback"),
    ]) func sendsTheOrder(_ arguments: [String], request: String) throws {
        let admin = try AdminStub { _ in (202, #"{"id": "a_B-9", "state": "loading"}"#) }
        let done = try run(arguments, admin)
        #expect(done.status == 0 && done.output == "a_B-9 is loading\n", "\(done)")
        #expect(admin.seen == [request])

        let refusing = try AdminStub { _ in
            (422, #"{"type": "urn:x", "title": "Refused", "status": 422, "detail": "golden.jsonl: too\nfar"}"#)
        }
        let refused = try run(arguments, refusing)
        #expect(refused.failedWithOneLine && refused.errors.contains("422"), "\(refused)")
        let plain = try AdminStub { _ in (503, "no snapshot\nyet") }
        let other = try run(arguments, plain)
        #expect(other.failedWithOneLine && other.errors.contains("no snapshot yet"), "\(other)")
    }

    @Test func printsAProblemsDetail() throws {
        let admin = try AdminStub { _ in
            (409, #"{"type": "urn:x", "title": "Conflict", "status": 409, "detail": "nothing served before"}"#)
        }
        let run = try run(["rollback"], admin)
        #expect(run.failedWithOneLine && run.errors.hasSuffix("with 409: nothing served before\n"), "\(run)")
    }

    @Test func findsTheDaemonByTheEnvironment() throws {
        let body = reply(serving: nil, previous: nil, [])
        let admin = try AdminStub { _ in (200, body) }
        for address in [admin.address, String(admin.address.dropFirst("http://".count))] {
            let run = try BelfryRun(["snapshots", "list"], environment: ["BELFRY_ADMIN": address])
            #expect(run.status == 0, "\(run)")
        }
        let gone = try BelfryRun(
            ["snapshots", "list", "--admin", "unix:\(directory.file("gone"))"],
            environment: ["BELFRY_ADMIN": admin.address])
        #expect(gone.failedWithOneLine && gone.errors.contains("is `belfry serve` running there?"), "\(gone)")
    }

    @Test func refusesAnswersThatItDoesNotUnderstand() throws {
        for body in [
            "", "ok", "[]", #"{"snapshots": []}"#,
            #"{"serving": 1, "previous": null, "directory": "x", "snapshots": []}"#,
        ] {
            let admin = try AdminStub { _ in (200, body) }
            for arguments in [["list"], ["load", "x"], ["prune", "--keep", "1"]] {
                let run = try run(arguments, admin)
                #expect(run.failedWithOneLine && run.errors.contains("not understood"), "\(run)")
            }
        }
    }

    @Test(arguments: [
        ["load"], ["load", "a/b"], ["load", "../x"], ["activate", "a b"], ["activate", ""], ["rollback", "x"],
        ["prune"],
        ["prune", "--keep", "0"], ["prune", "--keep", "many"], ["list", "--timeout", "0"], ["nobody"],
        ["list", "--admin", "ftp://x"], ["list", "--admin", "http://"], ["list", "--admin", "unix:"],
    ]) func wrongUsageExitsWith64(_ arguments: [String]) throws {
        let run = try BelfryRun(["snapshots"] + arguments)
        #expect(run.status == 64, "\(run)")
    }

    // MARK: Pruning

    @Test func keepsWhatTheDaemonHasInUse() throws {
        try makeSnapshots(["old", "previous", "serving", "on-its-way", "failed", "older", "newest"])
        let body = reply(
            serving: "serving", previous: "previous",
            [
                Self.entry("serving", "serving"), Self.entry("previous", "retired"), Self.entry("failed", "failed"),
                Self.entry("on-its-way", "warming"), Self.entry("old", "found"), Self.entry("gone", "ready"),
            ])
        let path = directory.path
        let whenAsked = Names()
        let admin = try AdminStub { request in
            whenAsked.append((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [])
            return request == "GET /v1/snapshots" ? (200, body) : (200, #"{"dropped": 3}"#)
        }
        let run = try run(["prune", "--keep", "1"], admin)
        #expect(run.status == 0, "\(run)")
        #expect(
            run.output == """
                \(path): removed 3 (older failed old), kept 4 (newest on-its-way serving previous)
                dropped the pauses of 3 items that no snapshot holds

                """)
        #expect(try ids == ["newest", "on-its-way", "previous", "serving"])
        #expect(admin.seen.last == "POST /v1/items:prune" && admin.seen.count == 4, "\(admin.seen)")
        // Pauses are pruned when the snapshots are gone.
        #expect(Set(whenAsked.last ?? []) == ["newest", "on-its-way", "previous", "serving", ".publish.lock"])
    }

    @Test func bringsBackWhatTheDaemonTookUpMeanwhile() throws {
        try makeSnapshots(["a", "b", "c"])
        let before = reply(serving: "c", previous: nil, [Self.entry("c", "serving")])
        let after = reply(serving: "c", previous: nil, [Self.entry("c", "serving"), Self.entry("b", "loading")])
        let path = directory.file("b")
        let admin = try AdminStub { request in
            if request != "GET /v1/snapshots" { return (200, #"{"dropped": 0}"#) }
            return (200, access(path, F_OK) == 0 ? before : after)
        }
        let run = try run(["prune", "--keep", "1"], admin)
        #expect(run.status == 0, "\(run)")
        #expect(try ids == ["b", "c"])
    }

    @Test func removesNothingWithoutADaemonUnlessTold() throws {
        try makeSnapshots(["a", "b", "c"])
        try FileManager.default.createSymbolicLink(atPath: directory.file("current"), withDestinationPath: "a")
        let nowhere = ["snapshots", "prune", "--keep", "1", "--admin", "unix:\(directory.file("nowhere"))"]
        for arguments in [[], ["--snapshots", directory.path], ["--offline"]] {
            let run = try BelfryRun(nowhere + arguments)
            #expect(run.failedWithOneLine && run.errors.contains("--snapshots DIR --offline"), "\(run)")
        }
        #expect(try ids == ["a", "b", "c", "current"])
        let run = try BelfryRun(nowhere + ["--snapshots", directory.path, "--offline"])
        #expect(run.status == 0 && run.output.contains("removed 1 (b), kept 2 (c a)"), "\(run)")
        #expect(try ids == ["a", "c", "current"])
    }

    @Test func removesNothingWhenTheDaemonGoesMeanwhile() throws {
        try makeSnapshots(["a", "b", "c"])
        let body = reply(serving: nil, previous: nil, [])
        let path = directory.file("a")
        let admin = try AdminStub { _ in access(path, F_OK) == 0 ? (200, body) : (500, "dying") }
        let run = try run(["prune", "--keep", "1"], admin)
        #expect(run.failedWithOneLine && run.errors.contains("500: dying"), "\(run)")
        #expect(try ids == ["a", "b", "c"])
    }

    @Test func saysSoWhenOnlyThePausesFail() throws {
        try makeSnapshots(["a", "b"])
        let body = reply(serving: nil, previous: nil, [])
        let admin = try AdminStub { $0 == "GET /v1/snapshots" ? (200, body) : (404, #"{"title": "Not Found"}"#) }
        let run = try run(["prune", "--keep", "1"], admin)
        #expect(run.status == 1 && run.errors.contains("snapshots were removed, but not the pauses"), "\(run)")
        #expect(try ids == ["b"])
    }

    @Test func prunesTheDirectoryItIsGiven() throws {
        try makeSnapshots(["a", "b"])
        let elsewhere = #"{"serving": null, "previous": null, "directory": "/nowhere/at/all", "snapshots": []}"#
        let admin = try AdminStub { $0 == "GET /v1/snapshots" ? (200, elsewhere) : (200, #"{"dropped": 0}"#) }
        let wrong = try run(["prune", "--keep", "1"], admin)
        #expect(wrong.failedWithOneLine && wrong.errors.contains("/nowhere/at/all"), "\(wrong)")
        let run = try run(["prune", "--keep", "1", "--snapshots", directory.path], admin)
        #expect(run.status == 0, "\(run)")
        #expect(try ids == ["b"])
    }

    /// What a directory held when the stub was asked.
    private final class Names: @unchecked Sendable {
        // Guarded by `lock`.
        private var all: [[String]] = []
        private let lock = NSLock()

        var last: [String]? { lock.withLock { all.last } }

        func append(_ names: [String]) {
            lock.withLock { all.append(names) }
        }
    }
}
