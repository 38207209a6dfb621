#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Where requests go: `http://127.0.0.1:8080/v1/retrieve`, or `unix:PATH` for the admin plane.
public struct Target: Sendable, CustomStringConvertible {
    /// Host and port as they stand in the `Host` header.
    public let authority: String
    /// The path and query, `/v1/retrieve` unless the URL has one.
    public let path: String
    /// The address the host has; resolved once, so that no look-up falls into a latency.
    let address: [UInt8]  // a sockaddr
    let family: Int32

    /// As it was given, with the path.
    public var description: String { family == AF_UNIX ? authority : "http://\(authority)\(path)" }

    /// Reads a URL and resolves its host.
    public init(_ url: String, defaultPath: String = "/v1/retrieve") throws(LoadTestError) {
        if url.hasPrefix("unix:") {
            let name = Array(url.dropFirst(5).utf8)
            var address = sockaddr_un()
            let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!
            guard !name.isEmpty, offset + name.count < MemoryLayout<sockaddr_un>.size else {
                throw .usage("'\(url)': a socket's path has 1 to \(MemoryLayout<sockaddr_un>.size - offset - 1) bytes")
            }
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address) { $0[offset...].copyBytes(from: name) }
            authority = url
            path = defaultPath
            family = AF_UNIX
            self.address = withUnsafeBytes(of: address) { Array($0) }
            return
        }
        guard url.hasPrefix("http://") else {
            throw .usage("'\(url)' is no target: expected http://HOST:PORT[/PATH] or unix:PATH")
        }
        let rest = url.dropFirst(7)
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        let authority = String(rest[..<slash])
        path = slash == rest.endIndex || rest[slash...] == "/" ? defaultPath : String(rest[slash...])
        guard path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw .usage("'\(url)': the path holds a character that must be percent-encoded")
        }
        var host = authority
        var port = "80"
        if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
            host = String(authority[..<colon])
            port = String(authority[authority.index(after: colon)...])
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty, let number = UInt16(port), number > 0 else {
            throw .usage("'\(url)': expected http://HOST:PORT")
        }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, port, &hints, &found)
        guard status == 0, let first = found else {
            throw .failed("the host '\(host)' cannot be resolved: \(String(cString: gai_strerror(status)))")
        }
        defer { freeaddrinfo(found) }
        self.authority = authority
        family = first.pointee.ai_family
        address = Array(
            UnsafeRawBufferPointer(start: first.pointee.ai_addr, count: Int(first.pointee.ai_addrlen)))
    }

    /// Another path of the same server.
    public func with(path: String) throws(LoadTestError) -> Target {
        family == AF_UNIX ? try Target(authority, defaultPath: path) : try Target("http://\(authority)\(path)")
    }

    /// Opens a socket and starts to connect it; -1 with the reason in `errno`.
    func open(isBlocking: Bool) -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(family, isBlocking ? kind : kind | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return -1 }
        if family != AF_UNIX {
            var one: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        }
        if isBlocking {
            // A host that drops packets would keep us waiting for minutes.
            var limit = timeval(tv_sec: 10, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        let status = address.withUnsafeBytes {
            connect(descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t($0.count))
        }
        if status != 0, isBlocking || errno != EINPROGRESS {
            let reason = errno
            close(descriptor)
            errno = reason
            return -1
        }
        return descriptor
    }
}
