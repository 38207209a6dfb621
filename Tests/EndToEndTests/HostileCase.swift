import Foundation
import TestSupport

/// A request that somebody broken or malicious might send, and what the contract says of it.
struct HostileCase {
    /// What must come back.
    enum Outcome: Equatable {
        /// A 200 with a JSON object.
        case answered
        /// A problem: the status and the end of its `type`.
        case problem(Int, String)
        /// A problem of this status; which of several kinds applies is open.
        case problemOfAnyKind(Int)
        /// A status with a body that libmicrohttpd wrote.
        case refusedByLibrary(Int)
        /// No reply: the connection is closed.
        case closed
    }

    let name: String
    /// The message as it goes over the wire.
    let message: Data
    let outcome: Outcome
    var isHead = false

    /// Any bytes.
    init(_ name: String, message: Data, _ outcome: Outcome) {
        self.name = name
        self.message = message
        self.outcome = outcome
    }

    /// A POST of a body with correct framing.
    init(
        _ path: String, _ name: String, bytes: Data, fields: String = "",
        contentType: String? = "application/json", _ outcome: Outcome
    ) {
        var head = "POST \(path) HTTP/1.1\r\nHost: belfry\r\nConnection: close\r\n\(fields)"
        if let contentType { head += "Content-Type: \(contentType)\r\n" }
        head += "Content-Length: \(bytes.count)\r\n\r\n"
        self.init("\(path) \(name)", message: Data(head.utf8) + bytes, outcome)
    }

    /// A POST of a text.
    init(_ path: String, _ name: String, _ body: String, _ outcome: Outcome) {
        self.init(path, name, bytes: Data(body.utf8), outcome)
    }

    /// A POST of a text that needs no other name.
    init(_ path: String, _ body: String, _ outcome: Outcome) {
        self.init(path, String(body.prefix(120)), bytes: Data(body.utf8), outcome)
    }

    /// A POST of a text to `/v1/retrieve`.
    init(_ body: String, _ outcome: Outcome) {
        self.init("/v1/retrieve", body, outcome)
    }

    /// A head and what follows it, as written.
    init(raw name: String, _ text: String, isHead: Bool = false, _ outcome: Outcome) {
        self.init(name, message: Data(text.utf8), outcome)
        self.isHead = isHead
    }

    /// What the daemon did instead; nil if it did what it should.
    func fault(_ daemon: Daemon) throws -> String? {
        let connection = try daemon.connect(timeout: 10)
        connection.write(message)
        if outcome == .closed {
            return connection.isClosedByDaemon() ? nil : "\(name): the connection stays open"
        }
        let reply: Daemon.Reply
        do {
            reply = try connection.readReply(toHead: isHead)
        } catch {
            return "\(name): \(error)"
        }
        let isExpected =
            switch outcome {
            case .answered: reply.status == 200 && (isHead || reply.isJSON)
            case .problem(let status, let type):
                reply.status == status
                    && (isHead || reply.problem == type && reply.json["status"] as? Int == status && reply.isExplained)
            case .problemOfAnyKind(let status): reply.status == status && reply.problem != nil && reply.isExplained
            case .refusedByLibrary(let status): reply.status == status && reply.problem == nil
            case .closed: false
            }
        if isExpected { return nil }
        let text = String(decoding: reply.body.prefix(300), as: UTF8.self)
        return "\(name): expected \(outcome), got \(reply.status) \(text)"
    }
}

extension Daemon.Reply {
    /// Whether the body is a JSON object of the right media type.
    var isJSON: Bool {
        headers["content-type"] == "application/json" && String(data: body, encoding: .utf8) != nil
            && (try? JSONSerialization.jsonObject(with: body)) is [String: Any]
    }

    /// Whether a problem says in words what is wrong; the server's own, of framing, need no detail.
    var isExplained: Bool { json["title"] is String && String(data: body, encoding: .utf8) != nil }
}
