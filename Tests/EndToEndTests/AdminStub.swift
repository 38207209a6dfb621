import Foundation
import Glibc

/// An admin plane of the test's own: canned answers, one connection at a time, every request written down.
final class AdminStub: @unchecked Sendable {
    // `requests` is guarded by `lock`; the rest does not change after `init`.

    /// What is answered to a method and path.
    typealias Answer = @Sendable (_ request: String) -> (status: Int, body: String)

    let address: String
    private let listener: Int32
    private let lock = NSLock()
    private var requests: [String] = []
    private let answer: Answer

    /// The requests so far: `GET /v1/snapshots`.
    var seen: [String] { lock.withLock { requests } }

    /// - path: of a Unix socket; nil listens on a free port of 127.0.0.1.
    init(path: String? = nil, _ answer: @escaping Answer) throws {
        self.answer = answer
        listener = socket(path == nil ? AF_INET : AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        if let path {
            var raw = sockaddr_un()
            raw.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &raw.sun_path) { $0.copyBytes(from: path.utf8) }
            guard Self.bind(listener, &raw) else { throw CocoaError(.fileWriteUnknown) }
            address = "unix:\(path)"
        } else {
            var raw = sockaddr_in()
            raw.sin_family = sa_family_t(AF_INET)
            raw.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            guard Self.bind(listener, &raw) else { throw CocoaError(.fileWriteUnknown) }
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let descriptor = listener
            _ = withUnsafeMutablePointer(to: &raw) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
            }
            address = "http://127.0.0.1:\(UInt16(bigEndian: raw.sin_port))"
        }
        guard listen(listener, 16) == 0 else { throw CocoaError(.fileWriteUnknown) }
        let thread = Thread { [weak self, listener] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { return }
                self?.serve(connection)
                close(connection)
            }
        }
        thread.start()
    }

    deinit {
        // Wakes the thread out of accept.
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private static func bind<Address>(_ descriptor: Int32, _ address: inout Address) -> Bool {
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<Address>.size)) == 0
            }
        }
    }

    private func serve(_ connection: Int32) {
        var received = ""
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !received.contains("\r\n\r\n") {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            received += String(decoding: buffer[..<count], as: UTF8.self)
        }
        let request = received.split(separator: " ").prefix(2).joined(separator: " ")
        lock.withLock { requests.append(request) }
        let (status, body) = answer(request)
        let type = status < 400 ? "application/json" : "application/problem+json"
        let reply =
            "HTTP/1.1 \(status) Words\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n"
            + "Connection: close\r\n\r\n\(body)"
        _ = reply.withCString { send(connection, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
    }
}
