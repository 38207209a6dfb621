public import Foundation
import Glibc

/// A `belfry serve` process of the test's own on a free port, and a plain HTTP client for it.
///
///     let daemon = try Daemon(snapshot: path)
///     let reply = try daemon.post("/v1/retrieve", #"{"user":{}}"#)
///     #expect(reply.status == 200)
public final class Daemon {
    private let process = Process()
    private let standardError = Pipe()
    private let log = Log()
    /// The port on 127.0.0.1.
    public private(set) var port: UInt16 = 0
    /// The admin plane's port on 127.0.0.1.
    public private(set) var adminPort: UInt16 = 0

    /// The daemon did not do what a test waited for.
    public struct Failure: Error, CustomStringConvertible {
        /// What happened, with the daemon's log.
        public let description: String

        /// Says what happened.
        public init(description: String) {
            self.description = description
        }
    }

    /// What the daemon wrote to standard error, gathered as it comes.
    private final class Log: @unchecked Sendable {
        // Guarded by `lock`.
        private var text = ""
        private let lock = NSLock()

        func append(_ data: Data) {
            lock.withLock { text += String(decoding: data, as: UTF8.self) }
        }

        var contents: String { lock.withLock { text } }
    }

    /// The binary that was built with these tests.
    public static var binary: URL {
        let tests = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        return tests.deletingLastPathComponent().appendingPathComponent("belfry")
    }

    /// Starts a daemon and waits until it listens.
    ///
    /// - arguments: come last, so that they have precedence.
    /// - environment: added to the test's own, of which variables of the daemon are left out.
    /// - wrapper: a command that becomes the daemon, as `prlimit` does, with its arguments.
    /// - waits: whether to wait until it listens; else `waitUntilListening` does.
    public init(
        snapshot: String, arguments: [String] = [], environment added: [String: String] = [:], wrapper: [String] = [],
        waits: Bool = true, timeout: TimeInterval = 180
    ) throws {
        let command =
            wrapper + [
                Daemon.binary.path, "serve", "--snapshots", snapshot, "--listen", "127.0.0.1:0", "--admin",
                "127.0.0.1:0", "--workers", "2",
                // A machine that runs tests is busy.
                "--load-priority", "normal", "--warmup-seconds", "0.2",
            ] + arguments
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("BELFRY_") }
        environment["SWIFT_BACKTRACE"] = "enable=no"
        environment["NOTIFY_SOCKET"] = nil
        process.environment = environment.merging(added) { $1 }
        process.standardError = standardError
        process.standardInput = FileHandle.nullDevice
        standardError.fileHandleForReading.readabilityHandler = { [log] in log.append($0.availableData) }
        try process.run()
        if waits { try waitUntilListening(timeout: timeout) }
    }

    /// Waits until it listens, and notes where.
    public func waitUntilListening(timeout: TimeInterval = 180) throws {
        let deadline = Date().addingTimeInterval(timeout)
        while port == 0 {
            if let match = log.contents.firstMatch(
                of: /address=127\.0\.0\.1:([0-9]+) admin=(?:127\.0\.0\.1:([0-9]+)|unix:)/)
            {
                port = UInt16(match.1) ?? 0
                adminPort = match.2.flatMap { UInt16($0) } ?? 0
            } else if !process.isRunning || Date() > deadline {
                process.terminate()
                throw Failure(description: "the daemon does not listen: \(log.contents)")
            } else {
                Thread.sleep(forTimeInterval: 0.01)
            }
        }
    }

    deinit {
        if process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        standardError.fileHandleForReading.readabilityHandler = nil
    }

    /// Whether the process is there.
    public var isRunning: Bool { process.isRunning }

    /// What it logged so far.
    public var logged: String { log.contents }

    /// The process's id.
    public var processIdentifier: Int32 { process.processIdentifier }

    /// Sends SIGKILL and waits for the end.
    public func killAtOnce() {
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// Sends SIGTERM and waits for the end; the exit status, or minus the signal that ended it.
    public func terminate() -> Int32 {
        kill(process.processIdentifier, SIGTERM)
        return waitUntilExit()
    }

    /// Waits for the end; the exit status, or minus the signal that ended it.
    public func waitUntilExit() -> Int32 {
        process.waitUntilExit()
        return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }

    /// A complete reply.
    public struct Reply {
        /// The status code.
        public let status: Int
        /// Header fields by lower-case name; of several the last.
        public let headers: [String: String]
        /// The body.
        public let body: Data

        /// The body as a JSON object; empty if it is none.
        public var json: [String: Any] {
            (try? JSONSerialization.jsonObject(with: body)) as? [String: Any] ?? [:]
        }

        /// The problem's `type` without its prefix; nil if the body is none.
        public var problem: String? {
            guard headers["content-type"] == "application/problem+json" else { return nil }
            return (json["type"] as? String)?.split(separator: ":").last.map(String.init)
        }
    }

    /// Sends a POST with a JSON body on a connection of its own.
    public func post(_ path: String, _ body: String) throws -> Reply {
        try send("POST", path, headers: ["Content-Type": "application/json"], body: Data(body.utf8))
    }

    /// Sends a GET on a connection of its own.
    public func get(_ path: String) throws -> Reply {
        try send("GET", path)
    }

    /// Sends any request on a connection of its own.
    public func send(_ method: String, _ path: String, headers: [String: String] = [:], body: Data? = nil) throws
        -> Reply
    {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: belfry\r\nConnection: close\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if let body { head += "Content-Length: \(body.count)\r\n" }
        return try sendRaw(Data((head + "\r\n").utf8) + (body ?? Data()))
    }

    /// Sends a request to the admin plane, with a JSON body if there is one.
    public func admin(_ method: String, _ path: String, _ body: String? = nil, timeout: Int = 60) throws -> Reply {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: belfry\r\nConnection: close\r\n"
        if let body { head += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n" }
        let connection = try Connection(port: adminPort, timeout: timeout)
        connection.write(Data((head + "\r\n" + (body ?? "")).utf8))
        return try connection.readReply()
    }

    /// Sends bytes as they are on a connection of its own, and reads a reply to its end.
    public func sendRaw(_ bytes: Data, timeout: Int = 60) throws -> Reply {
        let connection = try Connection(port: port, timeout: timeout)
        connection.write(bytes)
        return try connection.readReply()
    }

    /// Opens a connection to the daemon.
    public func connect(timeout: Int = 60) throws -> Connection {
        try Connection(port: port, timeout: timeout)
    }
}

/// A TCP connection to 127.0.0.1 with blocking reads and writes.
public final class Connection {
    private let descriptor: Int32
    private var received = Data()

    /// Connects; a read that waits longer than `timeout` seconds fails.
    public init(port: UInt16, timeout: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(descriptor)
            throw Daemon.Failure(description: "cannot connect: \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        close(descriptor)
    }

    /// Sends all bytes, or as many as the peer takes before it closes.
    public func write(_ bytes: Data) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent > 0 else { return }
            rest = rest.dropFirst(sent)
        }
    }

    /// Ends the sending half of the connection; replies can still be read.
    public func finishSending() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Whether the daemon closes the connection, within the timeout and after whatever it still sends.
    public func isClosedByDaemon() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count <= 0 { return count == 0 || errno == ECONNRESET }
        }
    }

    /// Reads one reply: head, and as much body as its Content-Length says; none after HEAD.
    public func readReply(toHead isHead: Bool = false) throws -> Daemon.Reply {
        while received.range(of: Data("\r\n\r\n".utf8)) == nil { try readMore() }
        let headEnd = received.range(of: Data("\r\n\r\n".utf8))!
        let lines = String(decoding: received[..<headEnd.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        let status = lines[0].split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] =
                line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        let bodyCount = isHead ? 0 : headers["content-length"].flatMap { Int($0) } ?? 0
        received = Data(received[headEnd.upperBound...])
        while received.count < bodyCount { try readMore() }
        let body = Data(received.prefix(bodyCount))
        received = Data(received.dropFirst(bodyCount))
        return Daemon.Reply(status: status, headers: headers, body: body)
    }

    private func readMore() throws {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else {
            throw Daemon.Failure(
                description: count == 0 ? "the connection was closed" : "no reply: \(String(cString: strerror(errno)))")
        }
        received.append(contentsOf: buffer[0..<count])
    }
}
