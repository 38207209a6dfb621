import Foundation
import TestSupport
import Testing

/// Swaps of a running daemon: every way in, what a restart keeps, and requests under way.
@Suite struct SwapTests {
    private let shelf: Shelf
    private let directory: TemporaryDirectory
    private static let fixtures = ["a": "cs3-one-cycle", "b": "cs3-two-cycles", "c": "plain"]

    init() throws {
        shelf = try Shelf()
        directory = try TemporaryDirectory()
        for (id, fixture) in Self.fixtures { try shelf.publish(fixture, as: id) }
    }

    private func daemon(_ arguments: [String] = []) throws -> Daemon {
        try Daemon(
            snapshot: shelf.path,
            arguments: ["--state", directory.file("state"), "--warmup-seconds", "0"] + arguments)
    }

    private func spaceID(_ reply: Daemon.Reply) -> String? {
        (reply.json["snapshot"] as? [String: Any])?["space_id"] as? String
    }

    enum Pointer: String, CaseIterable { case link, file }

    /// `current` as a link and as a file: noticed by itself, and followed on SIGHUP over an operator's choice.
    @Test(arguments: Pointer.allCases) func followsCurrent(pointer: Pointer) throws {
        func point(_ id: String) throws {
            switch pointer {
            case .link: try shelf.link(id)
            case .file: try shelf.write(current: id)
            }
        }
        try point("a")
        let daemon = try daemon()
        #expect(try daemon.snapshots().serving == "a")
        for id in ["b", "c", "b"] {
            try point(id)
            try daemon.wait(forServing: id)
            let reply = try daemon.post("/v1/retrieve", #"{"user":{}}"#)
            #expect(reply.status == 200 && reply.snapshotID == id)
        }
        #expect(try daemon.admin("POST", "/v1/snapshots:rollback").json["id"] as? String == "c")
        var now = try daemon.snapshots()
        #expect(now.serving == "c" && now.chosen == "c" && now.previous == "b")
        #expect(now.byID["b"]?.state == "retired" && now.byID["c"]?.state == "serving")
        kill(daemon.processIdentifier, SIGHUP)
        try daemon.wait(forServing: "b")
        now = try daemon.snapshots()
        #expect(now.chosen == nil && now.previous == "c")
        #expect(daemon.terminate() == 0)
    }

    @Test func aRestartKeepsTheChoiceUntilCurrentNamesANewOne() throws {
        try shelf.link("a")
        var daemon = try daemon()
        try shelf.link("b")
        try daemon.wait(forServing: "b")
        #expect(try daemon.admin("POST", "/v1/snapshots:rollback").status == 200)
        for _ in 0..<2 {
            #expect(daemon.terminate() == 0)
            daemon = try self.daemon()
            let now = try daemon.snapshots()
            #expect(now.serving == "a" && now.chosen == "a" && now.previous == "b")
        }
        // What `current` names is as old as the choice; only a new name ends it, also while the daemon is away.
        try shelf.link("b")
        usleep(100_000)
        #expect(try daemon.snapshots().serving == "a")
        #expect(daemon.terminate() == 0)
        try shelf.link("c")
        daemon = try self.daemon()
        #expect(try daemon.snapshots().serving == "c" && daemon.snapshots().chosen == nil)
        #expect(daemon.terminate() == 0)
        try shelf.link("b")
        daemon = try self.daemon()
        #expect(try daemon.snapshots().serving == "b")
    }

    /// What serves is pinned by the operator, and `current` comes to name what cannot serve: neither now nor after a restart may
    /// anything else than the operator's choice serve.
    @Test func aRefusedCurrentLeavesTheChoice() throws {
        try shelf.link("a")
        var daemon = try daemon()
        #expect(try daemon.admin("POST", "/v1/snapshots/b:activate").status == 200)
        try shelf.publish("plain", as: "bad") { try $0.flipBit("index.faiss", at: 1000) }
        try shelf.link("bad")
        #expect(try daemon.wait(forRefusalOf: "bad").stage == "integrity")
        #expect(try daemon.snapshots().serving == "b")
        kill(daemon.processIdentifier, SIGHUP)
        try daemon.wait(for: "a second refusal") { daemon.logged.matches(of: /id=bad .*refused/).count == 2 }
        #expect(try daemon.snapshots().serving == "b")
        #expect(daemon.terminate() == 0)
        daemon = try self.daemon()
        #expect(try daemon.snapshots().serving == "b")
        #expect(daemon.logged.contains("id=bad"))
    }

    /// A `current` that leads nowhere, or to what is no snapshot's name, is said once and changes nothing.
    @Test func aCurrentThatLeadsNowhereIsLogged() throws {
        try shelf.link("a")
        let daemon = try daemon()
        try shelf.link("gone")
        try daemon.wait(for: "a word about 'gone'") { daemon.logged.contains("'gone', which does not exist") }
        #expect(try daemon.snapshots().serving == "a" && daemon.post("/v1/retrieve", #"{"user":{}}"#).status == 200)
        try shelf.link("b")
        try daemon.wait(forServing: "b")
        #expect(daemon.logged.matches(of: /current refused/).count == 1)
    }

    // MARK: belfry snapshots

    @Test(arguments: ["tcp", "unix"]) func theCommandsReachTheDaemon(over transport: String) throws {
        try shelf.link("a")
        let socket = directory.file("admin.sock")
        let daemon = try daemon(transport == "unix" ? ["--admin", "unix:\(socket)"] : [])
        let address = transport == "unix" ? "unix:\(socket)" : "http://127.0.0.1:\(daemon.adminPort)"
        func run(_ arguments: String...) throws -> BelfryRun {
            try BelfryRun(["snapshots"] + arguments + ["--admin", address])
        }
        func serving() throws -> String? { try daemon.post("/v1/retrieve", #"{"user":{}}"#).snapshotID }
        let list = try run("list")
        #expect(list.status == 0 && list.output.contains("serving"), "\(list)")
        for id in Self.fixtures.keys { #expect(list.output.contains(id)) }
        let load = try run("load", "b")
        #expect(load.status == 0 && load.output == "b is ready\n", "\(load)")
        #expect(try serving() == "a")
        let activate = try run("activate", "b")
        #expect(activate.status == 0 && activate.output == "b is serving\n", "\(activate)")
        #expect(try serving() == "b")
        let rollback = try run("rollback")
        #expect(rollback.status == 0 && rollback.output == "a is serving\n", "\(rollback)")
        #expect(try serving() == "a")
        let unknown = try run("activate", "gone")
        #expect(unknown.failedWithOneLine && unknown.errors.contains("no snapshot 'gone'"), "\(unknown)")
        for id in ["d", "e"] { try shelf.publish("cascade-only", as: id) }
        try shelf.link("c")
        let later = Date().addingTimeInterval(30)
        while try serving() != "c", Date() < later { usleep(5000) }
        #expect(try run("activate", "d").failedWithOneLine == false)
        // c is `current`, d serves, c served before: whatever else there is may go.
        let prune = try run("prune", "--keep", "1")
        #expect(prune.status == 0 && prune.output.contains("dropped the pauses of 0 items"), "\(prune)")
        let left = try FileManager.default.contentsOfDirectory(atPath: shelf.path)
        #expect(Set(left).isSuperset(of: ["c", "d", "current"]) && left.filter { $0.count == 1 }.count <= 3, "\(left)")
        #expect(try run("rollback").output == "c is serving\n")
    }

    // MARK: Under load

    /// Each reply's snapshot, ids and scores belong together: what the fixture behind the id answers when it serves alone.
    @Test func swapsFailNoRequestAndMixNoAnswer() throws {
        try shelf.link("a")
        let requests = try Answers.requests(8)
        let expected = try Self.fixtures.mapValues { try Answers(of: $0, to: requests) }
        // The requests tell the fixtures apart.
        #expect(Set(expected.values.map { "\($0.answers)" }).count == 3)
        let daemon = try daemon()
        let seen = Counts()
        let load = Load(port: daemon.port, requests: requests) { position, _, reply in
            guard let id = reply.snapshotID, let answer = Answer(reply) else {
                return "\(reply.status) \(String(decoding: reply.body.prefix(300), as: UTF8.self))"
            }
            seen.add(String(id.prefix(1)))
            guard answer == expected[String(id.prefix(1))]?.answers[position] else {
                return "request \(position) is answered otherwise by \(id)"
            }
            return nil
        }
        let count = Repetitions.count(24, long: 200)
        var published: [String] = []
        for number in 0..<count {
            switch number % 4 {
            case 0:
                let id = "b\(number)"
                try shelf.publish(Self.fixtures["b"]!, as: id)
                try shelf.link(id)
                try daemon.wait(forServing: id)
                published.append(id)
                if published.count > 3 { try shelf.remove(published.removeFirst()) }
            case 1: #expect(try daemon.admin("POST", "/v1/snapshots/c:activate").status == 200)
            case 2: #expect(try daemon.admin("POST", "/v1/snapshots:rollback").status == 200)
            default: #expect(try daemon.admin("POST", "/v1/snapshots/a:activate").status == 200)
            }
        }
        let result = load.stop()
        #expect(result.faults.isEmpty, "\(result.faults.count) of \(result.count): \(result.faults.prefix(3))")
        #expect(result.count > 20 * count && seen.counts.count == 3, "\(result.count) \(seen.counts)")
        #expect(try Metrics(of: daemon)["belfry_swaps_total"] == Double(count))
        print("\(count) swaps, \(result.count) replies, by fixture \(seen.counts.sorted { $0.key < $1.key })")
        #expect(daemon.terminate() == 0)
    }

    /// The end comes while a snapshot is being loaded, and the caller that waits for it gets an answer.
    @Test func endsWhileASnapshotIsLoaded() throws {
        try shelf.link("a")
        let daemon = try daemon()
        #expect(try daemon.admin("POST", "/v1/snapshots/b:load?wait=0").status == 202)
        #expect(try daemon.admin("POST", "/v1/snapshots/c:activate?wait=0").status == 202)
        #expect(daemon.terminate() == 0)
    }
}

/// Counts by name, from any thread.
final class Counts: @unchecked Sendable {
    // Guarded by `lock`.
    private var values: [String: Int] = [:]
    private let lock = NSLock()

    func add(_ name: String) { lock.withLock { values[name, default: 0] += 1 } }
    var counts: [String: Int] { lock.withLock { values } }
}
