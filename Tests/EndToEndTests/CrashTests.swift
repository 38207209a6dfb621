import Foundation
import Glibc
import TestSupport
import Testing

/// kill -9 of the daemon in the midst of swaps, and of publishers. After each restart a complete snapshot serves, its answers are
/// right, and what was acknowledged as paused is paused.
@Suite struct CrashTests {
    private static let fixtures = ["a": "cs3-one-cycle", "b": "cs3-two-cycles"]

    @Test func servesACompleteSnapshotAfterKillsAtRandomPoints() throws {
        let shelf = try Shelf()
        let directory = try TemporaryDirectory()
        try shelf.publish(Self.fixtures["a"]!, as: "a-base")
        try shelf.link("a-base")
        let requests = try Answers.requests(2, k: 30)
        let expected = try Self.fixtures.mapValues { try Answers(of: $0, to: requests) }
        var random = SeededRandom(seed: 11)
        var acknowledged: Set<String> = []
        var landed: [String: Int] = [:]
        var lines: [String: Int] = [:]
        var leftovers = 0
        // Where to kill: at what state of the candidate, or at any instant.
        let targets: [String?] = ["verifying", "loading", "warming", "serving", "destroyed", nil]
        let arguments = ["--state", directory.file("state"), "--warmup-seconds", "0.05"]

        func start() throws -> Daemon { try Daemon(snapshot: shelf.path, arguments: arguments) }
        /// What serves is complete, answers right, and has nothing that was acknowledged as paused.
        func examine(_ daemon: Daemon) throws {
            let id = try #require(try daemon.snapshots().serving)
            #expect(access(shelf.file("\(id)/_SUCCESS"), F_OK) == 0, "\(id)")
            let answers = try #require(expected[String(id.prefix(1))])
            for (request, expected) in zip(requests, answers.answers) {
                let reply = try daemon.post("/v1/retrieve", request)
                let answer = try #require(Answer(reply))
                #expect(reply.snapshotID == id)
                #expect(Set(answer.ids).isDisjoint(with: acknowledged), "\(id)")
                // The best that are not paused, in the same order and with the same scores; those beyond the end are new.
                let best = zip(expected.ids, expected.scores).filter { answer.ids.contains($0.0) }
                #expect(Array(answer.ids.prefix(best.count)) == best.map(\.0), "\(id)")
                #expect(Array(answer.scores.prefix(best.count)) == best.map(\.1), "\(id)")
            }
            #expect(try Metrics(of: daemon)["belfry_paused_items"] ?? -1 >= Double(acknowledged.count))
        }

        var daemon = try start()
        var ids = Array(Set(expected.values.flatMap { $0.answers.flatMap(\.ids) })).sorted()
        var last = "a-base"
        for round in 0..<(Repetitions.isLong ? 200 : 15) {
            let id = "\(round % 2 == 0 ? "b" : "a")-\(round)"
            let target = targets[round % targets.count]
            let (fileCount, delay) = (1 + random.below(9), UInt32(random.below(2000)))
            let publisher = try Self.publisher(
                [
                    "publish", Fixtures.path(Self.fixtures[String(id.prefix(1))]!), "--to", shelf.path, "--activate",
                    "--id", id,
                ])
            // Pauses go on until the daemon is gone.
            let pauses = PauseStream(daemon: daemon, ids: ids)
            if let target {
                let deadline = Date().addingTimeInterval(20)
                while Date() < deadline, let states = try? daemon.snapshots().byID {
                    let state = states[id]
                    if target == "destroyed" ? states[last]?.times["destroyed"] != nil : state?.state == target {
                        break
                    }
                    // It may be past a state that is short.
                    if target != "destroyed", state?.state == "serving" { break }
                }
            } else {
                // In the midst of a copy.
                while publisher.isRunning, Self.count(shelf.file("\(id).tmp")) < fileCount {}
                usleep(delay)
            }
            // The publisher dies with every third daemon.
            if round % 3 == 2 { kill(publisher.processIdentifier, SIGKILL) }
            daemon.killAtOnce()
            publisher.waitUntilExit()
            if access(shelf.file("\(id).tmp"), F_OK) == 0 { leftovers += 1 }
            acknowledged.formUnion(pauses.finish())
            ids.removeAll { acknowledged.contains($0) }
            landed[pauses.lastStates[id] ?? "before it was found", default: 0] += 1
            lines[Self.lastWords(daemon), default: 0] += 1

            daemon = try start()
            try examine(daemon)
            if let now = try daemon.snapshots().serving { last = now }
            for old in try FileManager.default.contentsOfDirectory(atPath: shelf.path)
            where old.hasSuffix("-\(round - 4)") && old != last { try? shelf.remove(old) }
        }
        print("kills by the candidate's state: \(landed.sorted { $0.key < $1.key })")
        print("kills by the last line of the log: \(lines.sorted { $0.key < $1.key })")
        print("acknowledged pauses: \(acknowledged.count), drafts left by killed publishers: \(leftovers)")
        #expect(landed.count >= 4 && lines.count >= 2, "the kills all landed alike: \(landed) \(lines)")
        #expect(acknowledged.count > 10 && leftovers > 0)
        #expect(daemon.terminate() == 0)
    }

    private static func publisher(_ arguments: [String]) throws -> Process {
        let process = Process()
        process.executableURL = Daemon.binary
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("BELFRY_") }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return process
    }

    /// How many entries a directory has, 0 if it is not there.
    private static func count(_ path: String) -> Int {
        (try? FileManager.default.contentsOfDirectory(atPath: path).count) ?? 0
    }

    /// The message of the last line, without time and values.
    private static func lastWords(_ daemon: Daemon) -> String {
        let line = daemon.logged.split(separator: "\n").last ?? ""
        return line.split(separator: "] ").last.map(String.init) ?? ""
    }
}

/// Pauses one item after the other until the daemon does not answer, and looks at the snapshots' states meanwhile.
private final class PauseStream: @unchecked Sendable {
    // Guarded by `lock`.
    private var acknowledged: Set<String> = []
    private var states: [String: String] = [:]
    private let lock = NSLock()
    private let ended = DispatchSemaphore(value: 0)

    /// At most a few items: each hides one of the answers that the test compares.
    init(daemon: Daemon, ids: [String]) {
        // The daemon's object belongs to the test's thread; a port is enough here.
        let port = daemon.adminPort
        let ids = Array(ids.prefix(2)) + (0..<10_000).map { "unknown-\(UInt32.random(in: 0 ... .max))-\($0)" }
        Thread { [self] in
            defer { ended.signal() }
            for id in ids {
                let body = #"{"ids":["\#(id)"]}"#
                guard let reply = Self.send(port, "POST", "/v1/items:pause", body) else { return }
                if reply.status == 200 { lock.withLock { _ = acknowledged.insert(id) } }
                guard let list = Self.send(port, "GET", "/v1/snapshots", nil) else { return }
                for record in list.json["snapshots"] as? [[String: Any]] ?? [] {
                    if let id = record["id"] as? String, let state = record["state"] as? String {
                        lock.withLock { states[id] = state }
                    }
                }
            }
        }.start()
    }

    private static func send(_ port: UInt16, _ method: String, _ path: String, _ body: String?) -> Daemon.Reply? {
        guard let connection = try? Connection(port: port, timeout: 20) else { return nil }
        var head = "\(method) \(path) HTTP/1.1\r\nHost: b\r\nConnection: close\r\n"
        if let body { head += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n" }
        connection.write(Data((head + "\r\n" + (body ?? "")).utf8))
        return try? connection.readReply()
    }

    /// The states when the daemon last answered.
    var lastStates: [String: String] { lock.withLock { states } }

    /// Waits for the end, which the daemon's is: what was acknowledged.
    func finish() -> Set<String> {
        ended.wait()
        return lock.withLock { acknowledged }
    }
}
