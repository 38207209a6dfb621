#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Where a server listens: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `unix:/run/belfry/admin.sock`.
///
/// Names other than `localhost` are not looked up: which of a name's addresses is meant is the operator's decision.
public enum ListenAddress: Sendable, Equatable {
    /// IPv4 in dotted decimal, and a port; port 0 lets the kernel pick a free one.
    case ipv4(host: String, port: UInt16)
    /// IPv6 without brackets, and a port; port 0 lets the kernel pick a free one. `::` serves IPv4 too.
    case ipv6(host: String, port: UInt16)
    /// A Unix socket in the file system; its path has 1 to 107 bytes. The process's umask says who may connect.
    case unix(path: String)

    /// Reads an address as it stands on a command line.
    ///
    /// - Throws: `HTTPServerError.invalidAddress` that says what is wrong with it.
    public init(_ text: String) throws(HTTPServerError) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            guard !path.isEmpty, path.utf8.count <= 107, !path.utf8.contains(0) else {
                throw .invalidAddress(text, reason: "the path after unix: must have 1 to 107 bytes")
            }
            self = .unix(path: path)
            return
        }
        guard let colon = text.lastIndex(of: ":") else {
            throw .invalidAddress(text, reason: "expected HOST:PORT, [IPV6]:PORT or unix:PATH")
        }
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits) else {
            throw .invalidAddress(text, reason: "the port must be a number from 0 to 65535")
        }
        let host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inner = String(host.dropFirst().dropLast())
            var address = in6_addr()
            guard inet_pton(AF_INET6, inner, &address) == 1 else {
                throw .invalidAddress(text, reason: "\(inner) is not an IPv6 address")
            }
            self = .ipv6(host: inner, port: port)
        } else {
            let name = host == "localhost" ? "127.0.0.1" : String(host)
            var address = in_addr()
            guard inet_pton(AF_INET, name, &address) == 1 else {
                let reason =
                    name.contains(":") ? "an IPv6 address stands in brackets" : "the host must be a numeric address"
                throw .invalidAddress(text, reason: reason)
            }
            self = .ipv4(host: name, port: port)
        }
    }

    /// The port, or nil for a Unix socket.
    public var port: UInt16? {
        switch self {
        case .ipv4(_, let port), .ipv6(_, let port): port
        case .unix: nil
        }
    }

    /// Whether only this machine can reach it: a loopback address or a Unix socket.
    public var isLocal: Bool {
        switch self {
        case .ipv4(let host, _): host.hasPrefix("127.")
        case .ipv6(let host, _): host == "::1"
        case .unix: true
        }
    }

    /// The same host with another port; a Unix socket stays what it is.
    func with(port: UInt16) -> ListenAddress {
        switch self {
        case .ipv4(let host, _): .ipv4(host: host, port: port)
        case .ipv6(let host, _): .ipv6(host: host, port: port)
        case .unix: self
        }
    }
}

extension ListenAddress: CustomStringConvertible {
    /// The address as `init(_:)` reads it.
    public var description: String {
        switch self {
        case .ipv4(let host, let port): "\(host):\(port)"
        case .ipv6(let host, let port): "[\(host)]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}
