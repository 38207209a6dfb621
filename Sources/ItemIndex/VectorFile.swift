import CKernels
public import Memory

/// Why a file of vectors or of truth was not taken.
public enum VectorFileError: Error, CustomStringConvertible {
    /// The operating system refused.
    case file(FileError)
    /// The file is shorter than its two counts.
    case noHeader(path: String, byteCount: Int)
    /// The dimension, or the width of a truth file, is 0 or more than `maximum`.
    case dimension(path: String, got: Int, maximum: Int)
    /// The file's size is none that its counts allow.
    case size(path: String, count: Int, dimension: Int, allowed: [Int], got: Int)
    /// A component is NaN or infinite.
    case notFinite(path: String, row: Int, component: Int)
    /// A truth file names a row that no item can have.
    case row(path: String, query: Int, rank: Int, got: Int)

    /// One sentence.
    public var description: String {
        switch self {
        case .file(let error): error.description
        case .noHeader(let path, let byteCount): "\(path): \(byteCount) bytes are too few for the two counts of 8 bytes"
        case .dimension(let path, let got, let maximum):
            "\(path): the dimension is \(got) and must be in 1...\(maximum)"
        case .size(let path, let count, let dimension, let allowed, let got):
            "\(path): \(count) rows of \(dimension) make \(allowed.map(String.init).joined(separator: " or ")) bytes, "
                + "and the file has \(got)"
        case .notFinite(let path, let row, let component):
            "\(path): component \(component) of row \(row) is not finite"
        case .row(let path, let query, let rank, let got):
            "\(path): rank \(rank) of query \(query) is row \(got)"
        }
    }
}

/// A mapped `.fbin` file of the big-ann-benchmarks (https://big-ann-benchmarks.com): the number of rows and the
/// dimension, each a little-endian uint32, then float32 rows.
///
///     let items = try VectorFile(path: "items.fbin")
///     let first = items.row(0)  // items.dimension floats
public final class VectorFile: Sendable {
    /// Where the file was opened.
    public let path: String
    /// How many rows there are.
    public let count: Int
    /// The length of a row, 1...4096.
    public let dimension: Int
    // Keeps the mapping alive.
    private let file: MappedFile
    // Unsafe to share only if somebody wrote to it: the mapping is read-only.
    /// (count, dimension), row-major; alive as long as the object.
    public nonisolated(unsafe) let values: UnsafePointer<Float>

    /// Maps a file and checks its size and that every number is finite.
    public init(path: String) throws(VectorFileError) {
        self.path = path
        file = try mapped(path)
        let header = try BinaryHeader(file, maximumDimension: 4096, elementSizes: [4])
        count = header.count
        dimension = header.dimension
        // The header's 8 bytes keep the floats aligned. An empty file is shorter than a page and mapped all the same.
        values = (file.bytes.baseAddress! + BinaryHeader.byteCount).assumingMemoryBound(to: Float.self)
        let first = belfry_first_not_finite(values, count * dimension)
        guard first == count * dimension else {
            throw .notFinite(path: path, row: first / dimension, component: first % dimension)
        }
    }

    /// One row, which must be in `0 ..< count`; alive as long as the object.
    public func row(_ row: Int) -> UnsafeBufferPointer<Float> {
        precondition(row >= 0 && row < count, "row \(row) of \(count)")
        return UnsafeBufferPointer(start: values + row * dimension, count: dimension)
    }
}

/// The two counts that `.fbin` and `.ibin` files begin with.
struct BinaryHeader {
    static let byteCount = 8
    let count: Int
    let dimension: Int

    /// - elementSizes: how many bytes an element may take in all parts of the file together.
    init(_ file: MappedFile, maximumDimension: Int, elementSizes: [Int]) throws(VectorFileError) {
        let bytes = file.bytes
        guard bytes.count >= BinaryHeader.byteCount else {
            throw .noHeader(path: file.path, byteCount: bytes.count)
        }
        count = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self)))
        dimension = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
        guard dimension >= 1 && dimension <= maximumDimension else {
            throw .dimension(path: file.path, got: dimension, maximum: maximumDimension)
        }
        // Below 2^32 x 2^20 x 8: no overflow.
        let elements = count * dimension
        let allowed = elementSizes.map { BinaryHeader.byteCount + elements * $0 }
        guard allowed.contains(bytes.count) else {
            throw .size(path: file.path, count: count, dimension: dimension, allowed: allowed, got: bytes.count)
        }
    }
}

/// Maps a file for this module's readers.
func mapped(_ path: String) throws(VectorFileError) -> MappedFile {
    do {
        return try MappedFile(path: path)
    } catch {
        throw .file(error)
    }
}
