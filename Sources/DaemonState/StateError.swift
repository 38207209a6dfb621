#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Why the daemon's state cannot be read or kept, in one line that says what to do where there is something to do.
public struct StateError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file or directory.
    public let path: String
    /// What is wrong with it.
    public let fault: String

    /// Creates an error.
    public init(path: String, fault: String) {
        self.path = path
        self.fault = fault
    }

    /// A system call that failed, with the `errno` it left behind unless another code is given.
    init(path: String, operation: String, code: Int32 = errno) {
        self.init(path: path, fault: "cannot \(operation): \(String(cString: strerror(code)))")
    }

    /// Path and fault.
    public var description: String { "\(path): \(fault)" }
}
