import Foundation
import TestSupport
import Testing

/// Pauses over HTTP: in force from the acknowledgement on, and for good.
@Suite struct PauseTests {
    private let shelf: Shelf
    private let directory: TemporaryDirectory

    init() throws {
        shelf = try Shelf()
        directory = try TemporaryDirectory()
        for id in ["a", "b"] { try shelf.publish("cs3-one-cycle", as: id) }
        try shelf.link("a")
    }

    private func daemon(_ arguments: [String] = []) throws -> Daemon {
        try Daemon(
            snapshot: shelf.path, arguments: ["--state", directory.file("state"), "--warmup-seconds", "0"] + arguments)
    }

    /// What was acknowledged when, and when each item was last seen in a reply.
    private final class Watch: @unchecked Sendable {
        // Guarded by `lock`.
        private var acknowledged: [String: UInt64] = [:]
        private var lastSeen: [String: UInt64] = [:]
        private let lock = NSLock()

        func acknowledge(_ id: String) {
            let now = Load.now
            lock.withLock { acknowledged[id] = now }
        }

        func forget(_ id: String) { lock.withLock { acknowledged[id] = nil } }

        /// The items that must not be in a reply to a request that was sent at an instant.
        func faults(_ sent: UInt64, _ ids: [String]) -> [String] {
            let now = Load.now
            return lock.withLock {
                for id in ids { lastSeen[id] = now }
                return ids.filter { id in acknowledged[id].map { $0 < sent } ?? false }
            }
        }

        func lastSeen(_ id: String) -> UInt64? { lock.withLock { lastSeen[id] } }
    }

    private func load(_ daemon: Daemon, _ watch: Watch, _ requests: [String]) -> Load {
        Load(port: daemon.port, requests: requests) { _, sent, reply in
            guard let answer = Answer(reply) else { return String(decoding: reply.body.prefix(300), as: UTF8.self) }
            let faults = watch.faults(sent, answer.ids)
            return faults.isEmpty ? nil : "\(reply.snapshotID ?? "") answers with \(faults), paused before"
        }
    }

    @Test func isInForceFromTheAcknowledgementOnOverSwapsRollbacksAndRestarts() throws {
        let requests = try Answers.requests(4, k: 50)
        let watch = Watch()
        var daemon = try daemon(["--keep-previous"])
        var load = load(daemon, watch, requests)
        var items = Answer(try daemon.post("/v1/retrieve", requests[0]))!.ids
        var delays: [Double] = []
        var paused: [String] = []
        for round in 0..<(Repetitions.isLong ? 200 : 16) {
            let item = items.removeFirst()
            try daemon.wait(for: "load") { watch.lastSeen(item) != nil || !paused.isEmpty }
            // In the midst of a change of snapshots, or of none.
            switch round % 4 {
            case 0: break
            case 1: #expect(try daemon.admin("POST", "/v1/snapshots/b:activate?wait=0").status == 202)
            case 2: #expect(try daemon.admin("POST", "/v1/snapshots:rollback?wait=0").status == 202)
            default: #expect(try daemon.admin("POST", "/v1/snapshots/b:load?wait=0").status == 202)
            }
            let sent = Load.now
            let reply = try daemon.change("pause", [item])
            watch.acknowledge(item)
            #expect(reply.status == 200 && reply.json["changed"] as? Int == 1, "\(reply.json)")
            paused.append(item)
            let count = load.count
            try daemon.wait(for: "replies") { load.count > count + 8 }
            if let last = watch.lastSeen(item), last > sent { delays.append(Double(last - sent) / 1e6) }
            // By then no change of snapshots is under way.
            #expect(try daemon.admin("POST", "/v1/snapshots/a:activate").status == 200)
            if items.count < 2 {
                for id in paused {
                    watch.forget(id)
                    #expect(try daemon.change("resume", [id]).status == 200)
                }
                items = paused
                paused = []
            }
            if round % 8 == 7 {
                let result = load.stop()
                #expect(result.faults.isEmpty, "\(result.faults.prefix(3))")
                #expect(daemon.terminate() == 0)
                daemon = try self.daemon(["--keep-previous"])
                load = self.load(daemon, watch, requests)
            }
        }
        let result = load.stop()
        #expect(result.faults.isEmpty, "\(result.faults.prefix(3))")
        #expect(try Metrics(of: daemon)["belfry_paused_items"] == Double(paused.count))
        // An unpaused item is there again: the requests do find what is not paused.
        let item = paused.removeFirst()
        #expect(try daemon.change("resume", [item]).json["changed"] as? Int == 1)
        #expect(Answer(try daemon.post("/v1/retrieve", requests[0]))!.ids.contains(item))
        let greatest = delays.max() ?? 0
        print(
            "from sending a pause to the last reply with the item, of those with one: \(delays.count), at most \(greatest) ms"
        )
    }

    @Test func withoutAStateDirectoryNothingIsPaused() throws {
        let daemon = try Daemon(snapshot: shelf.path, arguments: ["--warmup-seconds", "0"])
        for verb in ["pause", "resume"] {
            let reply = try daemon.change(verb, ["1"])
            #expect(reply.status == 503 && (reply.json["detail"] as? String)?.contains("--state") == true, "\(reply)")
        }
        #expect(try daemon.admin("POST", "/v1/items:prune").status == 503)
    }

    @Test func aSecondDaemonOnTheSameStateIsRefused() throws {
        let daemon = try daemon()
        let run = try BelfryRun([
            "serve", "--snapshots", shelf.path, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state",
            directory.file("state"),
        ])
        #expect(run.failedWithOneLine && run.errors.contains("held by another daemon (process "), "\(run)")
        #expect(try daemon.change("pause", ["1"]).status == 200)
    }

    // MARK: Pruning

    /// The two fixtures have no id in common: numbers here, words there.
    @Test func pausesAreDroppedOnlyOnceNoSnapshotHasTheItem() throws {
        try shelf.publish("cs3-three-cycles", as: "other")
        let daemon = try daemon()
        let held = Answer(try daemon.post("/v1/retrieve", #"{"user":{},"k":3}"#))!.ids
        #expect(try daemon.admin("POST", "/v1/snapshots/other:activate").status == 200)
        let others = Answer(try daemon.post("/v1/retrieve", #"{"user":{},"k":3}"#))!.ids
        #expect(Set(held).isDisjoint(with: others))
        #expect(try daemon.change("pause", held + others + ["ghost"]).json["paused"] as? Int == 7)
        func prune() throws -> Int? { try daemon.admin("POST", "/v1/items:prune").json["dropped"] as? Int }
        #expect(try prune() == 1)
        #expect(try prune() == 0)
        // One of the snapshots cannot be read: nothing may be dropped, whatever it holds.
        #expect(try daemon.change("pause", ["ghost"]).json["paused"] as? Int == 7)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: shelf.file("b/items.safetensors")))
        try bytes.prefix(100).write(to: URL(fileURLWithPath: shelf.file("b/items.safetensors")))
        #expect(try daemon.admin("POST", "/v1/items:prune").status == 503)
        try bytes.write(to: URL(fileURLWithPath: shelf.file("b/items.safetensors")))
        #expect(try prune() == 1)
        // With the command, once the snapshots that hold them are gone: not a, which served last, nor what serves.
        let admin = ["--admin", "http://127.0.0.1:\(daemon.adminPort)"]
        let first = try BelfryRun(["snapshots", "prune", "--keep", "1"] + admin)
        #expect(first.status == 0 && first.output.contains("dropped the pauses of 0 items"), "\(first)")
        try shelf.link("other")
        try shelf.publish("cs3-three-cycles", as: "third")
        #expect(try daemon.admin("POST", "/v1/snapshots/third:activate").status == 200)
        try shelf.remove("a")
        try? shelf.remove("b")
        let last = try daemon.admin("POST", "/v1/items:prune")
        #expect(last.json["dropped"] as? Int == 3, "\(last.json)")
        #expect(
            Answer(try daemon.post("/v1/retrieve", #"{"user":{},"k":1000}"#))!.ids.allSatisfy { !others.contains($0) })
        #expect(try Metrics(of: daemon)["belfry_paused_items"] == 3)
    }

    /// What is in memory may still be answered with, or rolled back to, whether or not its directory is there.
    @Test(arguments: [[], ["--keep-previous"]])
    func pausesOfWhatIsInMemoryAreKept(arguments: [String]) throws {
        try shelf.publish("cs3-three-cycles", as: "other")
        let daemon = try daemon(arguments)
        let held = Answer(try daemon.post("/v1/retrieve", #"{"user":{},"k":3}"#))!.ids
        if !arguments.isEmpty { #expect(try daemon.admin("POST", "/v1/snapshots/other:activate").status == 200) }
        #expect(try daemon.change("pause", held + ["ghost"]).status == 200)
        try shelf.remove("a")
        try shelf.remove("b")
        #expect(try daemon.admin("POST", "/v1/items:prune").json["dropped"] as? Int == 1)
        if !arguments.isEmpty { #expect(try daemon.admin("POST", "/v1/snapshots:rollback").status == 200) }
        let reply = try daemon.post("/v1/retrieve", #"{"user":{},"k":3}"#)
        #expect(reply.snapshotID == "a" && Set(Answer(reply)!.ids).isDisjoint(with: held))
    }

    // MARK: No room

    /// The journal may grow to 4 KiB and no further. What runs the tests may ignore the signal, which a daemon would inherit.
    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/prlimit"), "needs prlimit"))
    func aPauseThatCannotBeWrittenIsRefusedAndNothingIsLost() throws {
        let limit = 4096
        let daemon = try Daemon(
            snapshot: shelf.path, arguments: ["--state", directory.file("state"), "--warmup-seconds", "0"],
            wrapper: ["/usr/bin/env", "--default-signal=XFSZ", "/usr/bin/prlimit", "--fsize=\(limit)"])
        try refusesWhenFull(daemon) {
            kill(daemon.processIdentifier, SIGKILL)
            _ = daemon.waitUntilExit()
            return try self.daemon()
        }
    }

    /// A journal that is mostly outdated is written anew at the start. Where that does not fit, the old one is as good.
    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/prlimit"), "needs prlimit"))
    func aJournalThatCannotBeCompactedIsNoReasonNotToStart() throws {
        let ids = (0..<200).map { "item-\($0)-" + String(repeating: "x", count: 200) }
        let first = try daemon()
        #expect(try first.change("pause", ids).status == 200)
        #expect(try first.change("resume", Array(ids.prefix(150))).status == 200)
        #expect(first.terminate() == 0)
        let next = try Daemon(
            snapshot: shelf.path, arguments: ["--state", directory.file("state"), "--warmup-seconds", "0"],
            wrapper: ["/usr/bin/env", "--default-signal=XFSZ", "/usr/bin/prlimit", "--fsize=4096"])
        #expect(try Metrics(of: next)["belfry_paused_items"] == 50)
        #expect(try next.change("pause", [ids[0]]).status == 503)
    }

    /// A file system of 64 KiB of which the test fills what the daemon leaves.
    @Test(.enabled(if: PublishTests.canMount, "needs a mount namespace")) func aFullDiskIsRefusedAndNothingIsLost()
        throws
    {
        let state = directory.file("state")
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: false)
        let mount = "mount -t tmpfs -o size=64k none \(state) && exec \"$0\" \"$@\""
        let daemon = try Daemon(
            snapshot: shelf.path, arguments: ["--state", "\(state)/belfry", "--warmup-seconds", "0"],
            wrapper: PublishTests.unshare + [mount])
        // The mount is the daemon's own; through its root it can be seen from here.
        let inside = "/proc/\(daemon.processIdentifier)/root\(state)"
        try refusesWhenFull(daemon) {
            let journal = try Data(contentsOf: URL(fileURLWithPath: "\(inside)/belfry/pauses.journal"))
            let choice = try Data(contentsOf: URL(fileURLWithPath: "\(inside)/belfry/choice.json"))
            daemon.killAtOnce()
            let copy = directory.file("copy")
            try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: false)
            try journal.write(to: URL(fileURLWithPath: "\(copy)/pauses.journal"))
            try choice.write(to: URL(fileURLWithPath: "\(copy)/choice.json"))
            return try Daemon(snapshot: shelf.path, arguments: ["--state", copy, "--warmup-seconds", "0"])
        }
    }

    private func refusesWhenFull(_ daemon: Daemon, restart: () throws -> Daemon) throws {
        let item = Answer(try daemon.post("/v1/retrieve", #"{"user":{},"k":3}"#))!.ids
        #expect(try daemon.change("pause", [item[0]]).status == 200)
        var count = 1
        var refusal: Daemon.Reply?
        for number in 0..<1000 where refusal == nil {
            let reply = try daemon.change("pause", ["filler-\(number)-" + String(repeating: "x", count: 200)])
            if reply.status == 200 { count += 1 } else { refusal = reply }
        }
        let refused = try #require(refusal)
        #expect(refused.status == 503 && refused.problem == "state-unavailable", "\(refused.json)")
        #expect((refused.json["detail"] as? String)?.contains("pauses.journal") == true, "\(refused.json)")
        // A long one is refused whole.
        let many = [item[1]] + (0..<300).map { "many-\($0)-" + String(repeating: "y", count: 200) }
        #expect(try daemon.change("pause", many).status == 503)
        #expect(try Metrics(of: daemon)["belfry_paused_items"] == Double(count))
        func ids(_ daemon: Daemon) throws -> [String] {
            Answer(try daemon.post("/v1/retrieve", #"{"user":{},"k":3}"#))!.ids
        }
        #expect(try ids(daemon).contains(item[1]) && !ids(daemon).contains(item[0]))
        // A swap goes on; at worst a restart does not know of it.
        #expect(try daemon.admin("POST", "/v1/snapshots/b:activate").status == 200)
        #expect(try ids(daemon).contains(item[1]) && !ids(daemon).contains(item[0]))
        let next = try restart()
        #expect(try Metrics(of: next)["belfry_paused_items"] == Double(count))
        #expect(try ids(next).contains(item[1]) && !ids(next).contains(item[0]))
        #expect(try next.change("pause", [item[1]]).status == 200)
    }
}
