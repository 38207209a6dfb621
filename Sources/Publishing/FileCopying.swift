internal import Glibc
internal import Memory
internal import Snapshots

/// Copies files with one read: each piece is hashed and written. Neither memory nor the page cache grows with the file.
final class FileCopying {
    private let buffer = UnsafeMutableRawBufferPointer.allocate(
        byteCount: PublishingLimits.pieceByteCount, alignment: 4096)
    private let dropsSource: Bool

    /// - dropsSource: whether what was read leaves the page cache too; not where a daemon may serve from it.
    init(dropsSource: Bool) {
        self.dropsSource = dropsSource
    }

    deinit {
        buffer.deallocate()
    }

    /// Copies a file into a draft, waits until it is on the disk, and refuses other bytes than the manifest's.
    func copy(_ file: SourceSnapshot.File, from source: String, to draft: String) throws(PublishingError) {
        let (byteCount, digest) = try asPublishing { () throws(FileError) in
            let input = try Descriptor(reading: "\(source)/\(file.name)")
            let output = try Descriptor(creating: "\(draft)/\(file.name)")
            return try copy(input, output, byteCountMax: file.byteCount)
        }
        guard byteCount == file.byteCount else {
            throw .source(
                path: source,
                SnapshotError(
                    .integrity, file: file.name, "changed its size from \(file.byteCount) bytes while it was read"))
        }
        guard digest == file.sha256 else {
            throw .source(
                path: source,
                SnapshotError(
                    .integrity, file: file.name, "has sha256 \(digest), the manifest says \(file.sha256)"))
        }
    }

    private func copy(_ input: borrowing Descriptor, _ output: borrowing Descriptor, byteCountMax: Int)
        throws(FileError) -> (byteCount: Int, digest: String)
    {
        posix_fadvise(input.number, 0, 0, Int32(POSIX_FADV_SEQUENTIAL))
        var hash = FileHash()
        var copied = 0
        var window = 0
        // A file that grows while it is read ends the copy, not the disk.
        while copied <= byteCountMax {
            let count = try input.read(into: buffer)
            if count == 0 { break }
            let piece = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            hash.update(piece)
            try output.write(piece)
            copied += count
            if copied - window >= PublishingLimits.windowByteCount {
                guard fdatasync(output.number) == 0 else { throw FileError(path: output.path, operation: "sync") }
                drop(input, output, window, copied)
                window = copied
            }
        }
        try output.sync()
        drop(input, output, window, copied)
        return (copied, hash.digits())
    }

    private func drop(_ input: borrowing Descriptor, _ output: borrowing Descriptor, _ start: Int, _ end: Int) {
        guard end > start else { return }
        output.dropPages(from: start, byteCount: end - start)
        if dropsSource { input.dropPages(from: start, byteCount: end - start) }
    }
}
