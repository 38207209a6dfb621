#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One listening socket per worker, all on one address, and the lock that keeps a second server away from it.
///
/// TCP workers have a socket each (`SO_REUSEPORT`), so that the kernel spreads connections evenly; a Unix socket has
/// one queue, which the workers share.
struct ListeningSockets: ~Copyable {
    /// Where they listen, with the port that the kernel picked if it was to.
    let address: ListenAddress
    /// One descriptor per worker, non-blocking.
    let descriptors: [Int32]
    private let lock: AddressLock

    private init(address: ListenAddress, descriptors: [Int32], lock: consuming AddressLock) {
        self.address = address
        self.descriptors = descriptors
        self.lock = lock
    }

    deinit {
        Self.closeAll(descriptors)
        if case .unix(let path) = address { unlink(path) }
    }

    /// Listens on the address with `count` descriptors, or says why it cannot and leaves nothing open.
    static func open(
        _ address: ListenAddress, count: Int, backlog: Int
    ) throws(HTTPServerError) -> ListeningSockets {
        switch address {
        case .unix(let path):
            let lock = try AddressLock(address)
            let descriptors = try openUnix(address, path: path, count: count, backlog: backlog)
            return ListeningSockets(address: address, descriptors: descriptors, lock: lock)
        case .ipv4(_, 0), .ipv6(_, 0):
            // The kernel picks a port that nobody listens on, shared or not.
            let first = try openTCP(address, sharing: true, backlog: backlog)
            do throws(HTTPServerError) {
                let resolved = address.with(port: try SocketAddress.port(of: first))
                let lock = try AddressLock(resolved)
                let descriptors = try openTCP(resolved, count: count, after: [first], backlog: backlog)
                return ListeningSockets(address: resolved, descriptors: descriptors, lock: lock)
            } catch {
                close(first)
                throw error
            }
        case .ipv4, .ipv6:
            let lock = try AddressLock(address)
            // A socket that does not share finds every other listener, also one on the wildcard address or one that
            // would share the port with us.
            close(try openTCP(address, sharing: false, backlog: nil))
            let descriptors = try openTCP(address, count: count, after: [], backlog: backlog)
            return ListeningSockets(address: address, descriptors: descriptors, lock: lock)
        }
    }

    private static func closeAll(_ descriptors: [Int32]) {
        for descriptor in descriptors { close(descriptor) }
    }

    private static func openTCP(
        _ address: ListenAddress, count: Int, after first: [Int32], backlog: Int
    ) throws(HTTPServerError) -> [Int32] {
        var descriptors: [Int32] = []
        while first.count + descriptors.count < count {
            do throws(HTTPServerError) {
                descriptors.append(try openTCP(address, sharing: true, backlog: backlog))
            } catch {
                closeAll(descriptors)
                throw error
            }
        }
        return first + descriptors
    }

    /// Binds a TCP socket; without a backlog it does not listen.
    private static func openTCP(
        _ address: ListenAddress, sharing: Bool, backlog: Int?
    ) throws(HTTPServerError) -> Int32 {
        let (raw, length) = try SocketAddress.of(address)
        var family = AF_INET
        if case .ipv6 = address { family = AF_INET6 }
        let descriptor = try open(family)
        // Connections of an earlier server that are still winding down do not keep the address.
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        if sharing { set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
        if family == AF_INET6 { set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
        guard raw.bind(descriptor, length: length) == 0, backlog.map({ listen(descriptor, Int32($0)) }) ?? 0 == 0
        else {
            let code = errno
            close(descriptor)
            throw error(code, address)
        }
        return descriptor
    }

    private static func openUnix(
        _ address: ListenAddress, path: String, count: Int, backlog: Int
    ) throws(HTTPServerError) -> [Int32] {
        let (raw, length) = try SocketAddress.of(address)
        var status = stat()
        if lstat(path, &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path: path) }
            let probe = try open(AF_UNIX)
            defer { close(probe) }
            // Nobody answers at a socket file that a killed server left behind.
            guard raw.connect(probe, length: length) != 0, errno == ECONNREFUSED else { throw .addressInUse(address) }
            unlink(path)
        }
        let descriptor = try open(AF_UNIX)
        guard raw.bind(descriptor, length: length) == 0, listen(descriptor, Int32(backlog)) == 0 else {
            let code = errno
            close(descriptor)
            throw error(code, address)
        }
        var descriptors = [descriptor]
        while descriptors.count < count {
            let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
            guard copy >= 0 else {
                let code = errno
                closeAll(descriptors)
                throw .system(call: "dup", errno: code)
            }
            descriptors.append(copy)
        }
        return descriptors
    }

    private static func open(_ family: Int32) throws(HTTPServerError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(family, type, 0)
        guard descriptor >= 0 else { throw .system(call: "socket", errno: errno) }
        return descriptor
    }

    private static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func error(_ code: Int32, _ address: ListenAddress) -> HTTPServerError {
        switch code {
        case EADDRINUSE: .addressInUse(address)
        case EACCES, EPERM, EROFS: .permissionDenied(address)
        case EADDRNOTAVAIL, ENOENT, ENOTDIR: .addressNotAvailable(address)
        default: .system(call: "bind", errno: code)
        }
    }
}
