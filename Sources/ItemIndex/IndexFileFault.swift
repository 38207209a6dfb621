/// Why an index file's bytes are refused. Offsets and sizes are in bytes.
public enum IndexFileFault: Error, Equatable, CustomStringConvertible {
    /// An index, or a part of one, of a kind that is not searched here; FAISS's four letters.
    case unsupportedKind(String)
    /// The file ends before the field does.
    case truncated(field: String, offset: Int, needed: UInt64, available: Int)
    /// The index ends before the file does.
    case trailing(offset: Int, byteCount: Int)
    /// A number is not what it has to be, or is outside the range it has to be in.
    case value(field: String, got: Int64, allowed: ClosedRange<Int64>)
    /// The number of one row, list or link is not in the range it has to be in.
    case entry(field: String, index: Int, got: Int64, allowed: ClosedRange<Int64>)
    /// A link leads to a row that is not on the link's level.
    case link(row: Int, level: Int, to: Int)
    /// A row stands in two inverted lists, or twice in one.
    case repeatedRow(Int, list: Int)

    /// One line with the field and the numbers.
    public var description: String {
        switch self {
        case .unsupportedKind(let fourcc):
            "unsupported index kind \(fourcc); flat, HNSW over flat and IVF over flat are searched"
        case .truncated(let field, let offset, let needed, let available):
            "\(field) at byte \(offset) needs \(needed) bytes, and the file has \(available) more"
        case .trailing(let offset, let byteCount):
            "the index ends at byte \(offset), and \(byteCount) more bytes follow"
        case .value(let field, let got, let allowed):
            "\(field) is \(got) and must be \(Self.words(allowed))"
        case .entry(let field, let index, let got, let allowed):
            "\(field)[\(index)] is \(got) and must be \(Self.words(allowed))"
        case .link(let row, let level, let to):
            "row \(row) links on level \(level) to row \(to), which is not on that level"
        case .repeatedRow(let row, let list):
            "row \(row) stands in list \(list) and once before"
        }
    }

    private static func words(_ allowed: ClosedRange<Int64>) -> String {
        allowed.lowerBound == allowed.upperBound
            ? "\(allowed.lowerBound)" : "in \(allowed.lowerBound)...\(allowed.upperBound)"
    }
}
