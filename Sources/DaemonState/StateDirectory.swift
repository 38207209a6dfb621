internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// The directory of `--state`: what the daemon remembers beyond its own life. One daemon holds it at a time; the lock is the
/// kernel's and goes with the process, however that ends. `docs/STATE.md` describes the files.
///
///     let state = try StateDirectory(path: "/var/lib/belfry")
///     var choice = try state.readChoice()
public final class StateDirectory: Sendable {
    /// Where it is.
    public let path: String

    private struct Descriptors {
        var directory: Int32
        var lock: Int32
    }

    // Nil once closed. Held for as long as somebody uses a descriptor, so that `close` cannot pull one away.
    private let descriptors: Mutex<Descriptors?>

    /// Makes the directory if it is missing (mode 0700, the directory above must be there) and locks it.
    ///
    /// - Throws: `StateError` if it cannot be made or opened, or if another daemon holds it.
    public init(path: String) throws(StateError) {
        self.path = path
        if mkdir(path, 0o700) == 0 {
            // A directory whose name is not on disk would take acknowledged pauses with it.
            let above = try StateDirectory.descriptor(path + "/..", O_RDONLY | O_DIRECTORY, "open the directory above")
            defer { Self.closeDescriptor(above) }
            guard fsync(above) == 0 else { throw StateError(path: path, operation: "write the directory above") }
        } else if errno != EEXIST {
            throw StateError(path: path, operation: "make the directory")
        }
        let directory = try StateDirectory.descriptor(path, O_RDONLY | O_DIRECTORY, "open the directory")
        do throws(StateError) {
            let lock = try StateDirectory.lock(in: directory, path: "\(path)/lock")
            descriptors = Mutex(Descriptors(directory: directory, lock: lock))
        } catch {
            Self.closeDescriptor(directory)
            throw error
        }
    }

    deinit {
        close()
    }

    /// Releases the lock. What uses the directory afterwards gets a `StateError`.
    public func close() {
        descriptors.withLock { open in
            guard let descriptors = open else { return }
            Self.closeDescriptor(descriptors.directory)
            Self.closeDescriptor(descriptors.lock)
            open = nil
        }
    }

    /// A child process that was forked and has not yet become another program holds its parent's lock, for an instant that may
    /// be the one after a daemon was killed. So it takes 250 ms until a lock counts as held.
    private static let lockAttemptCountMax = 25

    private static func lock(in directory: Int32, path: String) throws(StateError) -> Int32 {
        let descriptor = openat(directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw StateError(path: path, operation: "open") }
        var code: Int32 = 0
        for attempt in 0...lockAttemptCountMax {
            code = flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : errno
            guard code == EWOULDBLOCK || code == EINTR, attempt < lockAttemptCountMax else { break }
            usleep(10_000)
        }
        guard code == 0 else {
            let holder = code == EWOULDBLOCK ? processID(in: descriptor) : nil
            closeDescriptor(descriptor)
            guard code == EWOULDBLOCK else { throw StateError(path: path, operation: "lock", code: code) }
            throw StateError(
                path: path,
                fault: "held by another daemon\(holder.map { " (process \($0))" } ?? ""); "
                    + "each daemon needs a --state directory of its own")
        }
        // For the message above only: the lock is the kernel's, whatever stands here.
        let text = Array("\(getpid())\n".utf8)
        _ = ftruncate(descriptor, 0)
        _ = text.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        return descriptor
    }

    /// The process id that a lock file names.
    private static func processID(in descriptor: Int32) -> Int? {
        var bytes = [UInt8](repeating: 0, count: 20)
        let count = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
        return Int(String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self).filter { $0 != "\n" })
    }

    // MARK: Files

    /// The path of one of the files, for messages.
    func path(of name: String) -> String { "\(path)/\(name)" }

    /// Lends the directory's descriptor. `close` waits meanwhile.
    func withDescriptor<Result: Sendable>(
        _ body: (Int32) throws(StateError) -> Result
    ) throws(StateError) -> Result {
        try descriptors.withLock { descriptors throws(StateError) in
            guard let descriptors else { throw StateError(path: path, fault: "the state directory is closed") }
            return try body(descriptors.directory)
        }
    }

    /// A file's bytes; nil if it does not exist.
    func read(_ name: String, byteCountMax: Int) throws(StateError) -> [UInt8]? {
        try withDescriptor { directory throws(StateError) in
            let descriptor = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            guard descriptor >= 0 else {
                if errno == ENOENT { return nil }
                throw StateError(path: path(of: name), operation: "open")
            }
            defer { Self.closeDescriptor(descriptor) }
            return try Self.contents(descriptor, path: path(of: name), byteCountMax: byteCountMax)
        }
    }

    /// Replaces a file by these bytes: temporary file, fsync, rename, fsync of the directory. A crash leaves the old file or
    /// the new one.
    func replace(_ name: String, by bytes: [UInt8]) throws(StateError) {
        let path = path(of: name)
        try withDescriptor { directory throws(StateError) in
            let descriptor = try Self.writeTemporary(name, bytes, in: directory, path: path)
            Self.closeDescriptor(descriptor)
            try Self.renameTemporary(name, in: directory, path: path)
            try Self.sync(directory, path: path)
        }
    }

    /// Writes `NAME.tmp` and brings it to disk. The descriptor, for reading and writing, is the caller's to close.
    static func writeTemporary(
        _ name: String, _ bytes: [UInt8], in directory: Int32, path: String
    ) throws(StateError) -> Int32 {
        let temporary = name + ".tmp"
        _ = unlinkat(directory, temporary, 0)
        let descriptor = openat(directory, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw StateError(path: path + ".tmp", operation: "make") }
        let written = write(bytes, to: descriptor, at: 0)
        guard written, fsync(descriptor) == 0 else {
            let code = errno
            closeDescriptor(descriptor)
            _ = unlinkat(directory, temporary, 0)
            throw StateError(path: path + ".tmp", operation: "write", code: code)
        }
        return descriptor
    }

    /// Renames `NAME.tmp` to `NAME`.
    static func renameTemporary(_ name: String, in directory: Int32, path: String) throws(StateError) {
        guard renameat(directory, name + ".tmp", directory, name) == 0 else {
            let code = errno
            _ = unlinkat(directory, name + ".tmp", 0)
            throw StateError(path: path, operation: "rename the temporary file", code: code)
        }
    }

    /// Brings the directory's names to disk.
    static func sync(_ directory: Int32, path: String) throws(StateError) {
        guard fsync(directory) == 0 else { throw StateError(path: path, operation: "write the directory") }
    }

    /// Writes all bytes at an offset; false with the reason in `errno` if the system took only some of them.
    static func write(_ bytes: [UInt8], to descriptor: Int32, at offset: Int) -> Bool {
        bytes.withUnsafeBytes { bytes in
            var done = 0
            while done < bytes.count {
                let count = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
                if count < 0 && errno == EINTR { continue }
                if count == 0 { errno = EIO }
                guard count > 0 else { return false }
                done += count
            }
            return true
        }
    }

    /// All bytes of a regular file.
    static func contents(_ descriptor: Int32, path: String, byteCountMax: Int) throws(StateError) -> [UInt8] {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw StateError(path: path, operation: "stat") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw StateError(path: path, fault: "not a regular file") }
        guard status.st_size <= byteCountMax else {
            throw StateError(path: path, fault: "has \(status.st_size) bytes, the limit is \(byteCountMax)")
        }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeMutableBytes { room in
                pread(descriptor, room.baseAddress! + done, room.count - done, off_t(done))
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw StateError(path: path, operation: "read") }
            guard count > 0 else { throw StateError(path: path, fault: "became shorter while it was read") }
            done += count
        }
        return bytes
    }

    private static func descriptor(_ path: String, _ flags: Int32, _ operation: String) throws(StateError) -> Int32 {
        let descriptor = open(path, flags | O_CLOEXEC)
        guard descriptor >= 0 else { throw StateError(path: path, operation: operation) }
        return descriptor
    }

    /// `close` of the system, which the method of that name hides.
    static func closeDescriptor(_ descriptor: Int32) {
        #if canImport(Glibc)
            _ = Glibc.close(descriptor)
        #elseif canImport(Musl)
            _ = Musl.close(descriptor)
        #endif
    }
}
