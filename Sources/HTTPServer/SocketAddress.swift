#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A `sockaddr` of any family, in memory large enough for all of them.
struct SocketAddress {
    private var storage = sockaddr_storage()

    /// The address of an AF_UNIX socket and its length; `bytes` start with 0 for an abstract name.
    static func unix(bytes: [UInt8]) -> (SocketAddress, length: socklen_t) {
        var address = SocketAddress()
        let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!
        withUnsafeMutableBytes(of: &address.storage) { raw in
            raw.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
            raw[offset...].copyBytes(from: bytes)
        }
        return (address, socklen_t(offset + bytes.count))
    }

    /// The kernel's form of a listen address.
    static func of(_ address: ListenAddress) throws(HTTPServerError) -> (SocketAddress, length: socklen_t) {
        var result = SocketAddress()
        switch address {
        case .unix(let path):
            return unix(bytes: Array(path.utf8) + [0])
        case .ipv4(let host, let port):
            var raw = sockaddr_in()
            raw.sin_family = sa_family_t(AF_INET)
            raw.sin_port = port.bigEndian
            guard inet_pton(AF_INET, host, &raw.sin_addr) == 1 else {
                throw .invalidAddress("\(address)", reason: "\(host) is not an IPv4 address")
            }
            withUnsafeMutableBytes(of: &result.storage) { $0.storeBytes(of: raw, as: sockaddr_in.self) }
            return (result, socklen_t(MemoryLayout<sockaddr_in>.size))
        case .ipv6(let host, let port):
            var raw = sockaddr_in6()
            raw.sin6_family = sa_family_t(AF_INET6)
            raw.sin6_port = port.bigEndian
            guard inet_pton(AF_INET6, host, &raw.sin6_addr) == 1 else {
                throw .invalidAddress("\(address)", reason: "\(host) is not an IPv6 address")
            }
            withUnsafeMutableBytes(of: &result.storage) { $0.storeBytes(of: raw, as: sockaddr_in6.self) }
            return (result, socklen_t(MemoryLayout<sockaddr_in6>.size))
        }
    }

    /// The port that a bound TCP socket has.
    static func port(of socket: Int32) throws(HTTPServerError) -> UInt16 {
        var result = SocketAddress()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = result.withPointer { getsockname(socket, $0, &length) }
        guard status == 0 else { throw .system(call: "getsockname", errno: errno) }
        // sin_port and sin6_port stand at the same place.
        return withUnsafeBytes(of: result.storage) {
            UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self))
        }
    }

    func bind(_ socket: Int32, length: socklen_t) -> Int32 {
        var copy = self
        return copy.withPointer { Glibc.bind(socket, $0, length) }
    }

    func connect(_ socket: Int32, length: socklen_t) -> Int32 {
        var copy = self
        return copy.withPointer { Glibc.connect(socket, $0, length) }
    }

    private mutating func withPointer(_ body: (UnsafeMutablePointer<sockaddr>) -> Int32) -> Int32 {
        withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body)
        }
    }
}
