internal import Glibc
internal import Memory

/// An open file or directory, closed at the end of its life. Closing reports nothing: what has to be on the disk was
/// synced before.
struct Descriptor: ~Copyable {
    let path: String
    let number: Int32

    /// Opens for reading.
    init(reading path: String) throws(FileError) {
        // Without O_NONBLOCK, opening a pipe would wait for somebody to write to it.
        let number = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard number >= 0 else { throw FileError(path: path, operation: "open") }
        self.path = path
        self.number = number
    }

    /// Makes a file that was not there. Others may read it, whatever the umask: the daemon is another user, and who gets
    /// into the directory is its owner's decision.
    init(creating path: String) throws(FileError) {
        let number = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
        guard number >= 0 else { throw FileError(path: path, operation: "create") }
        guard fchmod(number, 0o644) == 0 else {
            let error = FileError(path: path, operation: "set the mode of")
            close(number)
            throw error
        }
        self.path = path
        self.number = number
    }

    deinit {
        close(number)
    }

    /// What the file is.
    func status() throws(FileError) -> stat {
        var status = stat()
        guard fstat(number, &status) == 0 else { throw FileError(path: path, operation: "stat") }
        return status
    }

    /// Reads up to so many bytes; 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        while true {
            let count = Glibc.read(number, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            guard errno == EINTR else { throw FileError(path: path, operation: "read") }
        }
    }

    /// Writes all bytes.
    func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.write(number, rest.baseAddress, rest.count)
            if count < 0 {
                guard errno == EINTR else { throw FileError(path: path, operation: "write") }
            } else {
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
            }
        }
    }

    /// Waits until the bytes are on the disk.
    func sync() throws(FileError) {
        guard fsync(number) == 0 else { throw FileError(path: path, operation: "sync") }
    }

    /// Waits until a directory's entries are on the disk. Some file systems have nothing to sync there and say EINVAL.
    static func syncDirectory(_ path: String) throws(FileError) {
        let directory = try Descriptor(reading: path)
        guard fsync(directory.number) == 0 || errno == EINVAL else { throw FileError(path: path, operation: "sync") }
    }

    /// Drops what the page cache holds of a range, as far as it is clean and nobody has it mapped.
    func dropPages(from offset: Int, byteCount: Int) {
        posix_fadvise(number, off_t(offset), off_t(byteCount), Int32(POSIX_FADV_DONTNEED))
    }

    /// A whole small file; nil if it has more than so many bytes.
    static func contents(of path: String, byteCountMax: Int) throws(FileError) -> [UInt8]? {
        let file = try Descriptor(reading: path)
        guard try file.status().st_mode & S_IFMT == S_IFREG else {
            throw FileError(path: path, operation: "read, not a regular file", code: EINVAL)
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
        defer { buffer.deallocate() }
        var bytes: [UInt8] = []
        while true {
            let count = try file.read(into: buffer)
            if count == 0 { return bytes }
            bytes.append(contentsOf: buffer[..<count])
            if bytes.count > byteCountMax { return nil }
        }
    }

    /// Makes a file of these bytes and waits until they are on the disk.
    static func create(_ path: String, _ bytes: [UInt8]) throws(FileError) {
        let file = try Descriptor(creating: path)
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
        defer { copy.deallocate() }
        copy.copyBytes(from: bytes)
        try file.write(UnsafeRawBufferPointer(copy))
        try file.sync()
        file.dropPages(from: 0, byteCount: 0)
    }
}
