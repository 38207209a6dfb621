#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Why a server did not start. Each description is one line that says what and what to do.
public enum HTTPServerError: Error, Equatable {
    /// The text is no address.
    case invalidAddress(String, reason: String)
    /// Another server of this kind, in this process or another, serves the address.
    case servedAlready(ListenAddress)
    /// Another program listens there.
    case addressInUse(ListenAddress)
    /// The address belongs to no interface of this machine, or the socket's directory does not exist.
    case addressNotAvailable(ListenAddress)
    /// Not allowed to listen there.
    case permissionDenied(ListenAddress)
    /// A file that is no socket stands at a Unix socket's path; it is left alone.
    case notASocket(path: String)
    /// The server was started before; a stopped one is not started again.
    case startedBefore
    /// A system call failed otherwise.
    case system(call: String, errno: Int32)
}

extension HTTPServerError: CustomStringConvertible {
    /// One line for the operator.
    public var description: String {
        switch self {
        case .invalidAddress(let text, let reason):
            "\(text) is not a listen address: \(reason)"
        case .servedAlready(let address):
            "\(address) is already served by another belfry; stop it or listen elsewhere"
        case .addressInUse(let address):
            "\(address) is in use by another program; stop it or listen elsewhere"
        case .addressNotAvailable(let address):
            "cannot listen on \(address): no interface has this address, or its directory does not exist"
        case .permissionDenied(let address):
            "not permitted to listen on \(address); use a port above 1023, or a directory that is writable"
        case .notASocket(let path):
            "\(path) exists and is not a socket; remove it or listen elsewhere"
        case .startedBefore:
            "the server was started before; make a new one"
        case .system(let call, let code):
            "\(call) failed: \(String(cString: strerror(code)))"
        }
    }
}
