public import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The best items of each query, best first: what a search is measured against.
public struct Truth: Sendable {
    /// How many queries there are.
    public let queryCount: Int
    /// How many items each query has.
    public let width: Int
    /// (queryCount, width), row-major: rows of items, best first.
    public let rows: [Int32]

    /// Takes rows that are known, (queryCount, width), row-major.
    public init(width: Int, rows: [Int32]) {
        precondition(width > 0 && rows.count % width == 0, "\(rows.count) rows are no multiple of \(width)")
        self.width = width
        self.rows = rows
        queryCount = rows.count / width
    }

    /// Reads an `.ibin` file of the big-ann-benchmarks: the number of queries and of items for each, little-endian
    /// uint32, then int32 rows. Distances may follow, float32 for each row; they are not used.
    public init(path: String) throws(VectorFileError) {
        let file = try mapped(path)
        let header = try BinaryHeader(file, maximumDimension: 1 << 20, elementSizes: [4, 8])
        var rows: [Int32] = []
        rows.reserveCapacity(header.count * header.dimension)
        for element in 0..<header.count * header.dimension {
            let row = Int32(
                littleEndian: file.bytes.loadUnaligned(
                    fromByteOffset: BinaryHeader.byteCount + element * 4, as: Int32.self))
            guard row >= 0 else {
                throw .row(
                    path: path, query: element / header.dimension, rank: element % header.dimension, got: Int(row))
            }
            rows.append(row)
        }
        width = header.dimension
        queryCount = header.count
        self.rows = rows
    }

    /// Writes an `.ibin` file without distances, by way of a new file beside it: written, synchronised, renamed.
    public func write(to path: String) throws(FileError) {
        var words = [UInt32(queryCount).littleEndian, UInt32(width).littleEndian]
        words += rows.map { UInt32(bitPattern: $0).littleEndian }
        let partial = "\(path).partial-\(getpid())"
        let descriptor = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError(path: partial, operation: "create") }
        var failure: FileError?
        words.withUnsafeBytes { bytes in
            var written = 0
            while written < bytes.count {
                let result = Glibc.write(descriptor, bytes.baseAddress! + written, bytes.count - written)
                if result < 0 && errno == EINTR { continue }
                guard result > 0 else {
                    failure = FileError(path: partial, operation: "write")
                    return
                }
                written += result
            }
        }
        if failure == nil && fsync(descriptor) != 0 {
            failure = FileError(path: partial, operation: "synchronise")
        }
        close(descriptor)
        if failure == nil && rename(partial, path) != 0 {
            failure = FileError(path: path, operation: "replace")
        }
        if let failure {
            unlink(partial)
            throw failure
        }
    }
}
