#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// A plain blocking client for what is not measured: repetitions with exact search, the admin plane. It keeps one
/// connection and opens it anew when the server has closed it.
public final class ControlClient {
    /// A whole reply.
    public struct Reply: Sendable {
        /// The HTTP status.
        public let status: Int
        /// The body.
        public let body: [UInt8]

        /// The body as text.
        public var text: String { String(decoding: body, as: UTF8.self) }
    }

    private let target: Target
    private let timeoutSeconds: Int
    private var descriptor: Int32 = -1
    private var reply = ReplyBuffer()
    // Whether the latest exchange found the connection closed before a byte of the reply came.
    private var wasClosed = false

    /// Connects with the first request.
    public init(_ target: Target, timeoutSeconds: Int = 30) {
        self.target = target
        self.timeoutSeconds = timeoutSeconds
    }

    deinit {
        disconnect()
        reply.free()
    }

    /// Sends a request to a path of the target and waits for the reply.
    public func send(_ method: String, _ path: String, body: String? = nil) throws(LoadTestError) -> Reply {
        let message =
            Messages.head(method, path, authority: target.authority, bodyByteCount: body?.utf8.count) + (body ?? "")
        let isFresh = descriptor < 0
        wasClosed = false
        do throws(LoadTestError) {
            return try exchange(message)
        } catch {
            disconnect()
            // A kept connection may have been closed meanwhile; a fresh one tells the truth. What only took too long has
            // arrived: it must not be done twice.
            guard !isFresh, wasClosed else { throw error }
        }
        do throws(LoadTestError) {
            return try exchange(message)
        } catch {
            disconnect()
            throw error
        }
    }

    private func exchange(_ message: String) throws(LoadTestError) -> Reply {
        try connect()
        var message = message
        let sent = message.withUTF8 { bytes in
            var offset = 0
            while offset < bytes.count {
                let count = Glibc.send(
                    descriptor, bytes.baseAddress! + offset, bytes.count - offset, Int32(MSG_NOSIGNAL))
                guard count > 0 else { return false }
                offset += count
            }
            return true
        }
        guard sent else {
            wasClosed = errno == EPIPE || errno == ECONNRESET
            throw fault("cannot send")
        }
        reply.removeAll()
        while true {
            let received = reply.receive(descriptor)
            let progress = received == 0 ? reply.progressAtClose() : received > 0 ? reply.progress() : .partial
            if progress == .malformed { throw .failed("\(target): the reply is no HTTP") }
            if progress == .whole {
                let whole = Reply(status: Int(reply.status), body: [UInt8](reply.body))
                if reply.closes || received == 0 { disconnect() }
                return whole
            }
            guard received > 0 else {
                wasClosed = reply.count == 0 && (received == 0 || errno == ECONNRESET)
                if received == 0 { errno = 0 }
                throw fault(received == 0 ? "the connection was closed" : "no reply")
            }
        }
    }

    private func fault(_ what: String) -> LoadTestError {
        .failed("\(target): \(what)\(errno == 0 ? "" : ": \(String(cString: strerror(errno)))")")
    }

    private func connect() throws(LoadTestError) {
        guard descriptor < 0 else { return }
        errno = 0
        descriptor = target.open(isBlocking: true)
        guard descriptor >= 0 else { throw fault("cannot connect") }
        var limit = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    private func disconnect() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }
}
