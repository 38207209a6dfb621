import Glibc
import HTTPServer

/// A blocking HTTP client of a few lines, which sends exactly the bytes it is given. It shares no code with the server
/// and waits for nothing longer than thirty seconds.
final class TestClient {
    struct Response: Equatable {
        var status: Int
        var headers: [String: String]  // names in lower case
        var body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
        var closesConnection: Bool { headers["connection"]?.lowercased() == "close" }
    }

    enum Failure: Error, Equatable {
        case connect(Int32)
        case send(Int32)
        /// The connection ended before a reply was complete; how, and what had arrived.
        case ended(errno: Int32, String)
        case malformed(String)
    }

    private let socket: Int32
    private var buffer: [UInt8] = []

    init(_ address: ListenAddress) throws {
        switch address {
        case .ipv4(let host, let port):
            socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var raw = sockaddr_in()
            raw.sin_family = sa_family_t(AF_INET)
            raw.sin_port = port.bigEndian
            inet_pton(AF_INET, host, &raw.sin_addr)
            try Self.connect(socket, raw)
        case .ipv6(let host, let port):
            socket = Glibc.socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
            var raw = sockaddr_in6()
            raw.sin6_family = sa_family_t(AF_INET6)
            raw.sin6_port = port.bigEndian
            inet_pton(AF_INET6, host, &raw.sin6_addr)
            try Self.connect(socket, raw)
        case .unix(let path):
            socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            var raw = sockaddr_un()
            raw.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &raw.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
            try Self.connect(socket, raw)
        }
        setPatience(30_000)
        var one: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit {
        close(socket)
    }

    /// How long to wait for the server, in milliseconds.
    func setPatience(_ milliseconds: Int) {
        var limit = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    private static func connect<Address>(_ socket: Int32, _ address: Address) throws {
        let status = withUnsafePointer(to: address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<Address>.size))
            }
        }
        // The client closes the socket when it is thrown away, also by this error.
        guard status == 0 else { throw Failure.connect(errno) }
    }

    func send(_ text: String) throws {
        try send(Array(text.utf8))
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure.send(errno) }
            sent += count
        }
    }

    /// No more will be sent; replies can still be read.
    func finishSending() {
        shutdown(socket, Int32(SHUT_WR))
    }

    /// Makes the kernel reset the connection when it is closed.
    func resetWhenClosed() {
        var value = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
    }

    /// Reads one reply: its head and as many bytes as its Content-Length says.
    func receive(toHead isHead: Bool = false) throws -> Response {
        var end = 0
        while true {
            if let found = Self.firstIndex(of: [13, 10, 13, 10], in: buffer) {
                end = found
                break
            }
            try fill()
        }
        let lines = String(decoding: buffer[..<end], as: UTF8.self).components(separatedBy: "\r\n")
        let parts = lines[0].split(separator: " ", maxSplits: 2)
        guard parts.count >= 2, parts[0] == "HTTP/1.1", let status = Int(parts[1]) else {
            throw Failure.malformed(lines[0])
        }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { throw Failure.malformed(line) }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            headers[line[..<colon].lowercased()] = String(value)
        }
        let bodyStart = end + 4
        let length = isHead || status == 100 ? 0 : Int(headers["content-length"] ?? "0") ?? 0
        while buffer.count < bodyStart + length { try fill() }
        let body = Array(buffer[bodyStart..<bodyStart + length])
        buffer.removeFirst(bodyStart + length)
        return Response(status: status, headers: headers, body: body)
    }

    /// Sends a request and reads its reply.
    func exchange(_ request: String) throws -> Response {
        try send(request)
        return try receive(toHead: request.hasPrefix("HEAD "))
    }

    /// Whether the server closes the connection without sending anything more. A reset counts.
    func isClosedByServer() -> Bool {
        guard buffer.isEmpty else { return false }
        do {
            try fill()
            return false
        } catch Failure.ended(let code, _) {
            return code == 0 || code == ECONNRESET
        } catch {
            return false
        }
    }

    /// Reads no more than so many bytes and forgets them; returns how many.
    func receive(atMost byteCount: Int) -> Int {
        var part = [UInt8](repeating: 0, count: byteCount)
        return recv(socket, &part, byteCount, 0)
    }

    /// Everything until the connection ends, however it ends.
    func receiveToEnd() -> [UInt8] {
        while (try? fill()) != nil {}
        defer { buffer = [] }
        return buffer
    }

    private func fill() throws {
        var part = [UInt8](repeating: 0, count: 65536)
        let count = recv(socket, &part, part.count, 0)
        guard count > 0 else {
            throw Failure.ended(errno: count == 0 ? 0 : errno, String(decoding: buffer.prefix(200), as: UTF8.self))
        }
        buffer += part[..<count]
    }

    private static func firstIndex(of pattern: [UInt8], in bytes: [UInt8]) -> Int? {
        guard bytes.count >= pattern.count else { return nil }
        return (0...bytes.count - pattern.count).first { bytes[$0...].starts(with: pattern) }
    }
}

extension String {
    fileprivate func components(separatedBy separator: String) -> [String] {
        var result: [String] = []
        var rest = Substring(self)
        while let range = rest.firstRange(of: separator) {
            result.append(String(rest[..<range.lowerBound]))
            rest = rest[range.upperBound...]
        }
        return result + [String(rest)]
    }
}
