import Glibc

/// What the operating system said about a file.
public struct FileError: Error, CustomStringConvertible {
    /// The file's path.
    public let path: String
    /// What was tried: "open", "read", ...
    public let operation: String
    /// The `errno` it ended with.
    public let code: Int32

    /// Describes a failed call, with the `errno` it left behind unless another code is given.
    public init(path: String, operation: String, code: Int32? = nil) {
        self.code = code ?? errno
        self.path = path
        self.operation = operation
    }

    /// The operating system's words for the code.
    public var reason: String { String(cString: strerror(code)) }

    /// One line: file, operation, reason.
    public var description: String { "\(path): cannot \(operation): \(reason)" }
}

/// A file mapped read-only for as long as the object lives. The file must not be truncated meanwhile (the kernel
/// answers a read past the new end with SIGBUS), which is why snapshots are never modified once published.
public final class MappedFile: Sendable {
    /// Where the file was opened.
    public let path: String
    // Unsafe to share only if somebody wrote to it: the mapping is read-only.
    /// The file's bytes; valid while the object lives, so whoever keeps a pointer keeps the object too. For a look
    /// that keeps neither there is `withBytes`: an object whose last use is `bytes` may be gone before they are read.
    public nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    /// Maps a regular file.
    public init(path: String) throws(FileError) {
        self.path = path
        // Without O_NONBLOCK, opening a pipe would wait for somebody to write to it.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileError(path: path, operation: "open") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileError(path: path, operation: "stat") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FileError(path: path, operation: "read, not a regular file", code: EINVAL)
        }
        let byteCount = Int(status.st_size)
        guard byteCount > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let base = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
            throw FileError(path: path, operation: "map")
        }
        bytes = UnsafeRawBufferPointer(start: base, count: byteCount)
    }

    /// Lends the bytes and keeps the mapping for as long.
    @inline(__always)
    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(self) {} }
        return try body(bytes)
    }

    deinit {
        if let base = bytes.baseAddress {
            munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
        }
    }
}
