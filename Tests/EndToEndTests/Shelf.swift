import Foundation
import SnapshotDamage
import TestSupport

/// A directory of snapshots of a test's own, and the ways to publish into it.
final class Shelf {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    /// What `--snapshots` names.
    var path: String { directory.path }

    /// The path of a snapshot, or of anything else in the directory.
    func file(_ name: String) -> String { directory.file(name) }

    /// Publishes a fixture under an id, damaged if so wished: complete under another name first, then renamed.
    func publish(_ fixture: String, as id: String, damage: ((SnapshotCopy) throws -> Void)? = nil) throws {
        let copy = try SnapshotCopy(of: fixture, as: id)
        try damage?(copy)
        try FileManager.default.moveItem(atPath: copy.path, toPath: file(id))
    }

    /// Has `current` point to a snapshot.
    func link(_ id: String) throws {
        let draft = file("current.draft")
        try? FileManager.default.removeItem(atPath: draft)
        try FileManager.default.createSymbolicLink(atPath: draft, withDestinationPath: id)
        guard rename(draft, file("current")) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    /// Has `CURRENT` hold an id, as where there are no links.
    func write(current id: String) throws {
        try Data("\(id)\n".utf8).write(to: URL(fileURLWithPath: file("CURRENT")), options: .atomic)
    }

    func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: file(name))
    }
}

/// What `GET /v1/snapshots` says of one snapshot.
struct SnapshotState {
    let state: String
    let stage: String?
    let reason: String?
    let times: [String: String]
}

extension Daemon {
    /// Waits until something holds.
    func wait(for what: String, seconds: Double = 60, until holds: () throws -> Bool) throws {
        let deadline = Date().addingTimeInterval(seconds)
        while try !holds() {
            guard Date() < deadline else { throw Failure(description: "waited in vain for \(what): \(logged)") }
            guard isRunning else { throw Failure(description: "ended before \(what): \(logged)") }
            usleep(3000)
        }
    }

    /// `serving`, `previous` and `chosen`, and the snapshots by id.
    func snapshots() throws -> (serving: String?, previous: String?, chosen: String?, byID: [String: SnapshotState]) {
        let json = try admin("GET", "/v1/snapshots").json
        var byID: [String: SnapshotState] = [:]
        for record in json["snapshots"] as? [[String: Any]] ?? [] {
            byID[record["id"] as? String ?? ""] = SnapshotState(
                state: record["state"] as? String ?? "", stage: record["stage"] as? String,
                reason: record["reason"] as? String, times: record["times"] as? [String: String] ?? [:])
        }
        return (json["serving"] as? String, json["previous"] as? String, json["chosen"] as? String, byID)
    }

    /// Waits until a snapshot serves.
    func wait(forServing id: String) throws {
        try wait(for: "\(id) to serve") {
            let now = try snapshots()
            if now.byID[id]?.state == "failed" {
                throw Failure(description: "\(id) is refused: \(now.byID[id]?.reason ?? ""), \(logged)")
            }
            return now.serving == id
        }
    }

    /// Waits until a snapshot is refused.
    func wait(forRefusalOf id: String) throws -> SnapshotState {
        var found: SnapshotState?
        try wait(for: "\(id) to be refused") {
            found = try snapshots().byID[id]
            return found?.state == "failed"
        }
        return found!
    }

    /// Pauses or resumes items.
    func change(_ verb: String, _ ids: [String], timeout: Int = 60) throws -> Reply {
        let body = try JSONSerialization.data(withJSONObject: ["ids": ids])
        return try admin("POST", "/v1/items:\(verb)", String(decoding: body, as: UTF8.self), timeout: timeout)
    }

    /// Resident memory in KiB, as the kernel counts it.
    var residentKiB: Int {
        let text = (try? String(contentsOfFile: "/proc/\(processIdentifier)/status", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
        return line.split(separator: " ").compactMap { Int($0) }.first ?? 0
    }
}

/// One reply to `/v1/retrieve`.
struct Answer: Equatable, Sendable {
    let ids: [String]
    let scores: [Double]

    init?(_ reply: Daemon.Reply) {
        guard reply.status == 200, let items = reply.json["items"] as? [[String: Any]] else { return nil }
        ids = items.compactMap { $0["id"] as? String }
        scores = items.compactMap { $0["score"] as? Double }
        guard ids.count == items.count, scores.count == items.count else { return nil }
    }
}

extension Daemon.Reply {
    /// The id of the snapshot that the reply names.
    var snapshotID: String? { (json["snapshot"] as? [String: Any])?["id"] as? String }
}

/// Requests, and what a fixture answers to each when it serves alone and nothing is swapped.
struct Answers: Sendable {
    /// Requests that every fixture takes: exact, so that a graph built otherwise would answer alike.
    static func requests(_ count: Int, k: Int = 20, from fixture: String = "cs3-one-cycle") throws -> [String] {
        try GoldenReplies(snapshot: Fixtures.path(fixture)).lines.prefix(count).map { line in
            var request = line.request
            request["k"] = k
            request["search"] = ["exact": true]
            return String(decoding: try JSONSerialization.data(withJSONObject: request), as: UTF8.self)
        }
    }

    let requests: [String]
    let answers: [Answer]

    init(of fixture: String, to requests: [String]) throws {
        let daemon = try Daemon(snapshot: Fixtures.path(fixture), arguments: ["--warmup-seconds", "0"])
        self.requests = requests
        answers = try requests.map { request in
            let reply = try daemon.post("/v1/retrieve", request)
            guard let answer = Answer(reply) else {
                throw Daemon.Failure(description: String(decoding: reply.body, as: UTF8.self))
            }
            return answer
        }
    }

    /// What differs in a daemon's answers; empty if nothing does.
    func faults(_ daemon: Daemon, snapshot id: String) throws -> [String] {
        try zip(requests, answers).compactMap { request, expected in
            let reply = try daemon.post("/v1/retrieve", request)
            guard reply.snapshotID == id, Answer(reply) == expected else {
                return "\(reply.status) \(String(decoding: reply.body.prefix(300), as: UTF8.self))"
            }
            return nil
        }
    }
}

/// Connections that send one request after the other, each waiting for its reply and a moment: a snapshot is loaded on what
/// processor time is left.
final class Load: @unchecked Sendable {
    // Guarded by `lock`.
    private var replyCount = 0
    private var faults: [String] = []
    private var isStopping = false
    private let lock = NSLock()
    private let ended = DispatchGroup()

    /// Monotonic nanoseconds.
    static var now: UInt64 { DispatchTime.now().uptimeNanoseconds }

    /// - check: the request's position, the instant before it was sent, and the reply; what is wrong with it, or nil.
    init(
        port: UInt16, connections: Int = 4, requests: [String],
        check: @escaping @Sendable (Int, UInt64, Daemon.Reply) -> String?
    ) {
        let messages = requests.map { body in
            Data(
                "POST /v1/retrieve HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                    .utf8)
        }
        for number in 0..<connections {
            ended.enter()
            Thread { [self] in
                defer { ended.leave() }
                do {
                    let connection = try Connection(port: port, timeout: 30)
                    var position = number
                    while !(lock.withLock { isStopping }) {
                        position = (position + 1) % messages.count
                        let sent = Load.now
                        connection.write(messages[position])
                        let reply = try connection.readReply()
                        let fault = check(position, sent, reply)
                        lock.withLock {
                            replyCount += 1
                            if let fault { faults.append(fault) }
                        }
                        usleep(2000)
                    }
                } catch {
                    lock.withLock { faults.append("\(error)") }
                }
            }.start()
        }
    }

    /// Replies so far.
    var count: Int { lock.withLock { replyCount } }

    /// Ends it: how many replies came, and what was wrong.
    func stop() -> (count: Int, faults: [String]) {
        lock.withLock { isStopping = true }
        ended.wait()
        return lock.withLock { (replyCount, faults) }
    }
}
