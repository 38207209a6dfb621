import CFaiss
import CKernels

/// What was done about a graph's unreachable rows.
public struct GraphRepair: Sendable, Equatable {
    /// How many rows no walk came to, as FAISS had linked them.
    public let unreachableCount: Int
    /// How many links were put into free slots.
    public let addedLinkCount: Int
    /// How many links took the place of others.
    public let replacedLinkCount: Int
    /// How many rows no walk comes to now.
    public let remainingCount: Int
}

/// Links the rows of a graph that no walk comes to.
///
/// FAISS prunes links row by row, and with few links in clumped data the last one that leads to a row may be among them. Each
/// such row is looked for in the graph as it is; one of the rows that this finds, the nearest first, gets a link to it.
/// A link is replaced only if some other way to its row is known to stay, so that nothing that was reached is lost. The same
/// graph is always mended in the same way.
struct GraphMender {
    /// How many rows are looked for to hold a link.
    private static let candidateCount = 64
    /// Among how many of them a free slot is preferred to a nearer row whose slots are taken.
    private static let nearestCount = 16
    /// How often the rows that were not found are looked for again: each link changes the walks, and rows that were reached
    /// late may hold links of those before.
    private static let roundLimit = 4

    private let index: FaissIndex
    private let graph: belfry_faiss_graph
    private let items: VectorFile
    private let scorer: belfry_scorer
    private let slotCount: Int
    private var reach: GraphReach
    private var addedLinkCount = 0
    private var replacedLinkCount = 0

    /// Mends a graph over `items`, which nobody else may use meanwhile.
    ///
    /// - path: for errors.
    static func mend(_ index: FaissIndex, items: VectorFile, metric: Metric, path: String) throws(ItemIndexError)
        -> GraphRepair
    {
        let graph = try index.graph(path: path)
        var mender = GraphMender(index, graph, items, metric)
        let unreachableCount = items.count - mender.reach.reachedCount
        guard unreachableCount > 0 else {
            return GraphRepair(unreachableCount: 0, addedLinkCount: 0, replacedLinkCount: 0, remainingCount: 0)
        }
        // FAISS's search is no wider than the graph's own ef, which is written to the file.
        guard belfry_faiss_set_ef(index.handle, Int32(candidateCount)) == 0 else {
            throw .library(path: path, message: FaissIndex.message)
        }
        defer { _ = belfry_faiss_set_ef(index.handle, graph.ef) }
        var waiting = (0..<items.count).filter { !mender.reach.isReached[$0] }
        for _ in 0..<roundLimit where !waiting.isEmpty {
            var changed: [Int] = []
            for row in waiting where try !mender.finds(row, path) { changed.append(row) }
            waiting = changed
        }
        // Counted anew: the report rests on the links and not on what was noted on the way.
        return GraphRepair(
            unreachableCount: unreachableCount, addedLinkCount: mender.addedLinkCount,
            replacedLinkCount: mender.replacedLinkCount,
            remainingCount: items.count - GraphReach(graph, count: items.count).reachedCount)
    }

    private init(_ index: FaissIndex, _ graph: belfry_faiss_graph, _ items: VectorFile, _ metric: Metric) {
        self.index = index
        self.graph = graph
        self.items = items
        scorer = belfry_scorer_for(metric.kernelNumber, InstructionSet.best.kernelNumber).pointee
        slotCount = Int(graph.level_ends[1])
        reach = GraphReach(graph, count: items.count)
    }

    /// Whether a walk for its vector comes to a row. If not, a reached row near it gets a link to it, unless none has a place
    /// for one. That some link leads to a row is not enough: it may lie off every walk that looks for it.
    private mutating func finds(_ row: Int, _ path: String) throws(ItemIndexError) -> Bool {
        let candidates = try rowsNear(row, path)
        if candidates.contains(where: { $0 == row || hasLink($0, to: row) }) { return true }
        for candidate in candidates.prefix(GraphMender.nearestCount) {
            guard let slot = freeSlot(candidate) else { continue }
            addedLinkCount += 1
            try setLink(candidate, slot, row, path)
            return false
        }
        for candidate in candidates {
            if let slot = freeSlot(candidate) {
                addedLinkCount += 1
                try setLink(candidate, slot, row, path)
                return false
            }
            if let slot = spareSlot(candidate) {
                replacedLinkCount += 1
                try setLink(candidate, slot, row, path)
                return false
            }
        }
        return false
    }

    private mutating func setLink(_ row: Int, _ slot: Int, _ target: Int, _ path: String) throws(ItemIndexError) {
        guard belfry_faiss_set_link(index.handle, row, slot, target) == 0 else {
            throw .library(path: path, message: FaissIndex.message)
        }
        if !reach.isReached[target] { reach.add(linkFrom: row, to: target) }
    }

    /// What a walk for a row's vector finds, best first: all of it is reached.
    private func rowsNear(_ row: Int, _ path: String) throws(ItemIndexError) -> [Int] {
        var rows = [Int64](repeating: -1, count: GraphMender.candidateCount)
        var scores = [Float](repeating: 0, count: GraphMender.candidateCount)
        guard belfry_faiss_search(index.handle, vector(row), rows.count, rows.count, 0, nil, &rows, &scores) == 0 else {
            throw .library(path: path, message: FaissIndex.message)
        }
        return rows.lazy.map { Int($0) }.filter { $0 >= 0 && reach.isReached[$0] }
    }

    private func links(_ row: Int) -> UnsafePointer<Int32> {
        graph.neighbours + graph.offsets[row]
    }

    private func hasLink(_ row: Int, to target: Int) -> Bool {
        let links = links(row)
        return (0..<slotCount).lazy.map { links[$0] }.prefix { $0 >= 0 }.contains(Int32(target))
    }

    private func freeSlot(_ row: Int) -> Int? {
        let links = links(row)
        return (0..<slotCount).first { links[$0] < 0 }
    }

    /// The slot of a row's worst link to a row that is reached over another link of level 0. One such link always stays, so
    /// that no row comes to hold links to the unreachable ones only.
    private func spareSlot(_ row: Int) -> Int? {
        let links = links(row)
        let spare = (0..<slotCount).filter { slot in
            let linkedFrom = reach.linkedFrom[Int(links[slot])]
            return linkedFrom >= 0 && linkedFrom != Int32(row)
        }
        guard spare.count > 1 else { return nil }
        return spare.min { score(row, Int(links[$0])) < score(row, Int(links[$1])) }
    }

    private func score(_ one: Int, _ other: Int) -> Float {
        scorer.one(vector(one), vector(other), items.dimension)
    }

    private func vector(_ row: Int) -> UnsafePointer<Float> {
        items.values + row * items.dimension
    }
}
