import CFaiss

/// Which rows of a graph a walk can come to, and over which links.
///
/// A search descends from the entry point level by level and then follows the links of level 0, so that the rows of a level are
/// those that the level above leads to and those that their links lead to. A row that is not among them on level 0 is found by
/// no walk, whatever its query and ef. Takes O(rows + links) and nine bytes a row.
struct GraphReach {
    private let graph: belfry_faiss_graph
    /// Whether a walk can come to a row, by row.
    private(set) var isReached: [Bool]
    /// How many rows a walk can come to.
    private(set) var reachedCount = 0
    /// The row over whose link of level 0 a row was first reached; -1 for rows that an upper level leads to, and for unreached
    /// ones. By row. As long as these links stay, everything that is reached stays so.
    private(set) var linkedFrom: [Int32]
    // Rows whose links have not been followed yet; every row is here at most once a level.
    private var waiting: [Int32] = []

    /// Follows all links. The arrays must outlive this, and `count` is how many rows they are of.
    init(_ graph: belfry_faiss_graph, count: Int) {
        self.graph = graph
        isReached = [Bool](repeating: false, count: count)
        linkedFrom = [Int32](repeating: -1, count: count)
        guard graph.entry_point >= 0 else { return }
        isReached[Int(graph.entry_point)] = true
        var reached = [graph.entry_point]
        for level in stride(from: Int(graph.maximum_level), through: 0, by: -1) {
            waiting = reached
            // `reached` is no longer needed below level 1, where it would be as long as the catalogue.
            follow(level: level) { if level > 0 { reached.append($0) } }
        }
        reachedCount = isReached.count { $0 }
    }

    /// Tells of a new link of level 0 from a reached row to an unreached one.
    mutating func add(linkFrom row: Int, to target: Int) {
        precondition(isReached[row] && !isReached[target], "from row \(row) to row \(target)")
        isReached[target] = true
        linkedFrom[target] = Int32(row)
        waiting = [Int32(target)]
        var found = 1
        follow(level: 0) { _ in found += 1 }
        reachedCount += found
    }

    private mutating func follow(level: Int, found: (Int32) -> Void) {
        let first = Int(graph.level_ends[level])
        let limit = Int(graph.level_ends[level + 1]) - first
        while let row = waiting.popLast() {
            let links = graph.neighbours + graph.offsets[Int(row)] + first
            for slot in 0..<limit {
                let link = links[slot]
                guard link >= 0 else { break }
                guard !isReached[Int(link)] else { continue }
                isReached[Int(link)] = true
                if level == 0 { linkedFrom[Int(link)] = row }
                waiting.append(link)
                found(link)
            }
        }
    }
}

/// Rows that no walk comes to.
public struct UnreachableRows: Sendable, Equatable {
    /// How many there are.
    public let count: Int
    /// The first of them, in ascending order.
    public let first: [Int]
}

extension ItemIndex {
    /// The rows of a graph that a search cannot come to over links, however large its ef: it finds them only where it compares
    /// everything. None for the other kinds, which have no links.
    ///
    /// Reads the index's file once more, because links are looked at as a whole only when a snapshot is checked, and takes as
    /// much memory again until it returns.
    ///
    /// - limit: how many rows to name.
    public func unreachableRows(limit: Int) throws(ItemIndexError) -> UnreachableRows {
        guard kind == .hnsw else { return UnreachableRows(count: 0, first: []) }
        let summary = try IndexFileCheck.check(path: path)
        let loaded = try FaissIndex(reading: path, holdsVectors: summary.holdsVectors)
        let reach = GraphReach(try loaded.graph(path: path), count: summary.count)
        defer { withExtendedLifetime(loaded) {} }
        return UnreachableRows(
            count: summary.count - reach.reachedCount,
            first: Array(reach.isReached.indices.lazy.filter { !reach.isReached[$0] }.prefix(limit)))
    }
}
