import Foundation
import Glibc
import TestSupport
import Testing

/// What systemd is told, heard through a notify socket of the test's own.
@Suite struct NotifyTests {
    private let shelf: Shelf
    private let directory: TemporaryDirectory
    private let socket: NotifySocket

    init() throws {
        shelf = try Shelf()
        directory = try TemporaryDirectory()
        try shelf.publish("cs3-one-cycle", as: "a")
        try shelf.publish("cs3-two-cycles", as: "b")
        try shelf.link("a")
        socket = try NotifySocket(path: directory.file("notify"))
    }

    private func daemon(waits: Bool = true) throws -> Daemon {
        try Daemon(
            snapshot: shelf.path, arguments: ["--warmup-seconds", "0.2"],
            environment: ["NOTIFY_SOCKET": socket.path], waits: waits)
    }

    @Test func isReadyOnceItAnswersAndNotBefore() throws {
        let daemon = try daemon(waits: false)
        var messages: [[String: String]] = []
        repeat { messages.append(try socket.receive()) } while messages.last?["READY"] == nil
        // Until now nothing but words, and now a request is answered, the first one already by what is warm.
        #expect(messages.dropLast().allSatisfy { $0["STATUS"] != nil && $0.count == 1 })
        try daemon.waitUntilListening()
        let reply = try daemon.post("/v1/retrieve", #"{"user":{}}"#)
        #expect(reply.status == 200 && reply.snapshotID == "a")
        #expect(try daemon.get("/readyz").status == 200)
        #expect(messages.last?["STATUS"]?.contains("snapshot a, 2000 items") == true, "\(messages)")
        #expect(daemon.logged.range(of: "snapshot loaded")!.lowerBound < daemon.logged.range(of: "serving")!.lowerBound)

        // A reload: begun after the signal, ended with what then serves.
        try shelf.link("b")
        let before = NotifySocket.monotonicMicros
        kill(daemon.processIdentifier, SIGHUP)
        let reloading = try socket.receive()
        #expect(reloading["RELOADING"] == "1", "\(reloading)")
        let micros = try #require(reloading["MONOTONIC_USEC"].flatMap { Int($0) })
        #expect(micros >= before && micros <= NotifySocket.monotonicMicros)
        // The swap itself is told, too.
        #expect(try socket.receive() == ["STATUS": "serving snapshot b, 1500 items"])
        let ready = try socket.receive()
        #expect(ready["READY"] == "1" && ready["STATUS"]?.contains("snapshot b, 1500 items") == true, "\(ready)")
        #expect(try daemon.post("/v1/retrieve", #"{"user":{}}"#).snapshotID == "b")

        // One that is refused ends, too, and what serves goes on.
        try shelf.publish("plain", as: "bad") { try $0.flipBit("index.faiss", at: 1000) }
        try shelf.link("bad")
        kill(daemon.processIdentifier, SIGHUP)
        #expect(try socket.receive()["RELOADING"] == "1")
        let still = try socket.receive()
        #expect(still["READY"] == "1" && still["STATUS"]?.contains("snapshot b") == true, "\(still)")

        // The end: a request under way is answered.
        let body = #"{"user":{}}"#
        let message = Data(
            "POST /v1/retrieve HTTP/1.1\r\nHost: b\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8)
        let connection = try daemon.connect()
        connection.write(message.dropLast(3))
        try daemon.wait(for: "the connection") { try Metrics(of: daemon)["belfry_connections"] ?? 0 >= 1 }
        kill(daemon.processIdentifier, SIGTERM)
        #expect(try socket.receive() == ["STOPPING": "1"])
        connection.write(message.suffix(3))
        #expect(try connection.readReply().status == 200)
        #expect(daemon.waitUntilExit() == 0)
        #expect(socket.isEmpty)
    }

    /// A publisher may say so while the first snapshot is still being loaded.
    @Test func aSignalToReloadBeforeItServesDoesNotEndIt() throws {
        let daemon = try daemon(waits: false)
        #expect(try socket.receive()["STATUS"]?.contains("loading") == true)
        kill(daemon.processIdentifier, SIGHUP)
        var message: [String: String] = [:]
        repeat { message = try socket.receive() } while message["READY"] == nil
        try daemon.waitUntilListening()
        #expect(daemon.terminate() == 0)
    }

    @Test func aRefusedSnapshotIsNeverReady() throws {
        try shelf.publish("plain", as: "bad") { try $0.flipBit("index.faiss", at: 1000) }
        try shelf.link("bad")
        let daemon = try daemon(waits: false)
        #expect(daemon.waitUntilExit() == 1)
        var messages: [[String: String]] = []
        while !socket.isEmpty { messages.append(try socket.receive()) }
        #expect(messages.allSatisfy { $0["READY"] == nil }, "\(messages)")
        #expect(daemon.logged.contains("index.faiss: has sha256"), "\(daemon.logged)")
    }
}

/// A datagram socket as systemd's.
private final class NotifySocket {
    let path: String
    private let descriptor: Int32

    init(path: String) throws {
        self.path = path
        descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var limit = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8).prefix($0.count - 1)) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else { throw Daemon.Failure(description: "\(path): \(String(cString: strerror(errno)))") }
    }

    deinit { close(descriptor) }

    static var monotonicMicros: Int {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return now.tv_sec * 1_000_000 + now.tv_nsec / 1000
    }

    var isEmpty: Bool {
        var byte = 0
        return recv(descriptor, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT)) < 0
    }

    /// The next datagram's assignments.
    func receive() throws -> [String: String] {
        var buffer = [UInt8](repeating: 0, count: 8192)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { throw Daemon.Failure(description: "nothing is said to systemd") }
        var values: [String: String] = [:]
        for line in String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            values[String(parts[0])] = parts.count > 1 ? String(parts[1]) : ""
        }
        return values
    }
}
