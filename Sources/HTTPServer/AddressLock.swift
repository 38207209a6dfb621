#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Makes a second server on an address fail, although with `SO_REUSEPORT` the kernel would let it bind and split the
/// connections between both.
///
/// The lock is an abstract Unix socket named after the address: the kernel releases it when the process dies, however
/// it dies, and it leaves no file behind. Like TCP ports, such names belong to the network namespace.
struct AddressLock: ~Copyable {
    private let descriptor: Int32

    init(_ address: ListenAddress) throws(HTTPServerError) {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .system(call: "socket", errno: errno) }
        let (raw, length) = SocketAddress.unix(bytes: [0] + Array(Self.name(of: address).utf8))
        guard raw.bind(descriptor, length: length) == 0 else {
            let code = errno
            close(descriptor)
            if code == EADDRINUSE { throw .servedAlready(address) }
            throw .system(call: "bind of the address lock", errno: code)
        }
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }

    /// A name of at most 107 bytes: the address itself, or for a path that is too long its hash.
    private static func name(of address: ListenAddress) -> String {
        var text = "\(address)"
        if case .unix(let path) = address, let absolute = absolute(path) { text = "unix:\(absolute)" }
        if text.utf8.count > 80 {
            // FNV-1a; two paths that collide would be refused wrongly, never served twice.
            let hash = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
            text = "unix#" + String(hash, radix: 16)
        }
        return "belfry-listens-on:" + text
    }

    /// The path with its directory resolved, so that two spellings of one directory are one lock.
    private static func absolute(_ path: String) -> String? {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        guard let resolved = realpath(directory, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved) + "/" + path[(slash.map { path.index(after: $0) } ?? path.startIndex)...]
    }
}
