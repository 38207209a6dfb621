/// How thoroughly one search looks.
public struct SearchParameters: Sendable, Equatable {
    /// For graphs: how many of the best rows the walk keeps. At least 1; less than k counts as k. Nil takes the
    /// index's own.
    public var ef: Int?
    /// For inverted files: how many lists are read. At least 1; more than there are count as all. Nil takes the
    /// index's own.
    public var nprobe: Int?
    /// Compares the query with every item, whatever the kind.
    public var exact: Bool
    /// When the search ends with what it has found by then, in nanoseconds of CLOCK_MONOTONIC; nil is never.
    public var deadline: UInt64?
    /// Takes ef and nprobe as they stand: no exact search because it is cheaper, no more lists because few rows are
    /// eligible, unless the lists hold fewer than k. For comparisons with searches that know neither.
    var isLiteral = false

    /// Creates parameters; by default the index's own.
    public init(ef: Int? = nil, nprobe: Int? = nil, exact: Bool = false, deadline: UInt64? = nil) {
        self.ef = ef
        self.nprobe = nprobe
        self.exact = exact
        self.deadline = deadline
    }
}

/// A parameter of a search.
public enum SearchParameter: String, Sendable {
    /// How many hits are wanted.
    case k
    /// The width of a graph walk.
    case ef
    /// How many inverted lists are read.
    case nprobe
}

/// Why a search was refused.
public enum SearchError: Error, Equatable, CustomStringConvertible {
    /// The parameter belongs to another kind of index: `nprobe` to inverted files, `ef` to graphs.
    case notForKind(SearchParameter, kind: IndexKind)
    /// The parameter is below 1.
    case tooSmall(SearchParameter, got: Int)

    /// One sentence.
    public var description: String {
        switch self {
        case .notForKind(let parameter, let kind): "\(parameter.rawValue) does nothing for a \(kind.rawValue) index"
        case .tooSmall(let parameter, let got): "\(parameter.rawValue) is \(got) and must be at least 1"
        }
    }
}

/// What a search found, best first, ties by row. It stands in the `SearchScratch` and is overwritten by its next
/// search.
public struct Hits {
    /// The items' rows.
    public let rows: UnsafeBufferPointer<UInt32>
    /// Their scores: inner products, or minus squared distances.
    public let scores: UnsafeBufferPointer<Float>
    /// How many items were compared with the query.
    public let scoredCount: Int
    /// Whether the search ran to its end. If not, the deadline cut it short.
    public let isComplete: Bool
    /// How wide the walk through the graph was; nil if there was none, because everything was compared or the index is of another
    /// kind. No less than was asked for, and than what is wanted.
    public let ef: Int?
    /// How many lists were read; nil likewise.
    public let nprobe: Int?

    /// How many hits there are.
    public var count: Int { rows.count }
}
