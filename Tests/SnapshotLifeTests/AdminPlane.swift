import Foundation
import HTTPServer
import Metrics
import RetrievalAPI
import TestSupport

@testable import SnapshotLife

/// The admin plane of a life, on a port of its own.
final class AdminPlane: @unchecked Sendable {
    let tested: LifeUnderTest
    let readiness = Readiness()
    let server: HTTPServer
    // The server forgets it when it has ended, and clients may still come then.
    private let port: UInt16

    init(_ tested: LifeUnderTest, data: HTTPServer? = nil, requests: [RequestMetrics] = []) throws {
        self.tested = tested
        var configuration = HTTPConfiguration(
            address: try ListenAddress("127.0.0.1:0"), threadName: "admin", postponesReplies: true)
        configuration.limits.bodyBytesMax = AdminHandler.bodyByteCountMax
        let life = tested.life
        let readiness = readiness
        // One that never starts counts nothing.
        let data =
            try data
            ?? HTTPServer(configuration: HTTPConfiguration(address: ListenAddress("127.0.0.1:0"))) { _ in { _ in } }
        server = HTTPServer(configuration: configuration) { _ in
            let handler = AdminHandler(life: life, readiness: readiness, configuration: #"{"listen":"here"}"#) {
                life.writeMetrics(
                    server: data, requests: requests, build: BuildInfo(version: "0", instructionSet: "none"), to: &$0)
            }
            return { handler.handle($0) }
        }
        try server.start()
        port = UInt16(server.boundAddress!.port!)
    }

    deinit {
        server.stop()
    }

    func connect(timeout: Int = 60) throws -> Connection {
        try Connection(port: port, timeout: timeout)
    }

    static func message(_ method: String, _ path: String, _ body: String? = nil, headers: [String: String] = [:])
        -> Data
    {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: belfry\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if let body { head += "Content-Length: \(body.utf8.count)\r\n" }
        return Data((head + "\r\n" + (body ?? "")).utf8)
    }

    /// Sends a request on a connection of its own.
    func send(_ method: String, _ path: String, _ body: String? = nil, headers: [String: String] = [:]) throws
        -> Daemon.Reply
    {
        let connection = try connect()
        connection.write(Self.message(method, path, body, headers: headers))
        return try connection.readReply(toHead: method == "HEAD")
    }

    func get(_ path: String) throws -> Daemon.Reply { try send("GET", path) }
    func post(_ path: String, _ body: String? = nil) throws -> Daemon.Reply { try send("POST", path, body ?? "") }
}
