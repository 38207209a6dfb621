import CFaiss
import CKernels
import Memory

/// Item vectors and the structure that finds the best of them for a query. Immutable, shared by all workers.
///
///     let index = try ItemIndex(path: "index.faiss")
///     let scratch = SearchScratch(for: index)  // one per worker
///     let hits = try index.search(query, k: 100, parameters: SearchParameters(ef: 200), scratch: scratch)
///
/// FAISS reads the file into memory; the search is our own, over FAISS's arrays. A score is always computed by the same
/// kernel, so `search` and `score` agree bit for bit however an item was found.
public final class ItemIndex: Sendable {
    /// Where the index was read from.
    public let path: String
    /// How many items there are; rows are `0 ..< count`.
    public let count: Int
    /// The length of a vector.
    public let dimension: Int
    /// What a score is.
    public let metric: Metric
    /// What the index searches by.
    public let kind: IndexKind
    /// What the scores are computed with.
    public let instructionSet: InstructionSet
    /// The parameters that a search takes if it names none.
    public let defaults: SearchParameters
    /// How much memory the index takes, vectors included, in bytes.
    public let byteCount: Int

    // Keeps the arrays alive that the next ones point to.
    private let faiss: FaissIndex
    // Unsafe to share only if somebody wrote: all of these are FAISS's arrays or ours, set in `init` and read-only after.
    private let scorer: belfry_scorer
    // Without values for an inverted file, whose vectors stand list by list.
    private nonisolated(unsafe) let vectors: belfry_vectors
    private nonisolated(unsafe) let graph: belfry_graph
    private nonisolated(unsafe) let lists: InvertedLists?

    /// The most links a row has on one level; sizes the scratch.
    let maximumLinkCount: Int
    /// How many inverted lists there are; sizes the scratch.
    var listCount: Int { lists?.count ?? 0 }

    /// Checks a FAISS file and loads it.
    ///
    /// - path: an IndexFlat, an IndexHNSWFlat or an IndexIVFFlat over a flat quantizer; FAISS 1.7.3 to 1.15 write them.
    /// - externalVectors: for a graph that was written without vectors: (count, dimension), row-major, alive as long as
    ///   the index. Nil if the file holds them.
    /// - instructionSet: what to compute scores with, which this machine must have.
    ///
    /// Throws if the file is damaged, of another kind, or holds a number that is not finite.
    public init(
        path: String, externalVectors: UnsafePointer<Float>? = nil, instructionSet: InstructionSet = .best
    ) throws(ItemIndexError) {
        precondition(instructionSet.isAvailable, "this machine has no \(instructionSet.rawValue)")
        let summary = try IndexFileCheck.check(path: path)
        switch (summary.holdsVectors, externalVectors) {
        case (false, nil): throw .vectorsMissing(path: path)
        case (true, .some): throw .vectorsTwice(path: path)
        default: break
        }
        let loaded = try FaissIndex(reading: path, holdsVectors: summary.holdsVectors)

        self.path = path
        self.instructionSet = instructionSet
        count = summary.count
        dimension = summary.dimension
        metric = summary.metric
        kind = summary.kind
        scorer = belfry_scorer_for(summary.metric.kernelNumber, instructionSet.kernelNumber).pointee

        let scorers = belfry_scorer_for(summary.metric.kernelNumber, instructionSet.kernelNumber)
        vectors = belfry_vectors(
            values: externalVectors ?? belfry_faiss_vectors(loaded.handle), count: summary.count,
            dimension: summary.dimension, scorer: scorers)
        let vectorByteCount = summary.count * summary.dimension * MemoryLayout<Float>.stride
        var bytes = vectorByteCount
        if externalVectors == nil {
            askForLargePages(vectors.values, byteCount: vectorByteCount)
        }
        switch summary.kind {
        case .flat:
            graph = belfry_graph()
            lists = nil
            maximumLinkCount = 0
            defaults = SearchParameters()
        case .hnsw:
            let arrays = try loaded.graph(path: path)
            graph = belfry_graph(
                neighbours: arrays.neighbours, offsets: arrays.offsets, level_ends: arrays.level_ends,
                entry_point: arrays.entry_point, maximum_level: arrays.maximum_level)
            lists = nil
            maximumLinkCount = (1..<arrays.level_end_count).reduce(0) { most, level in
                max(most, Int(arrays.level_ends[level] - arrays.level_ends[level - 1]))
            }
            defaults = SearchParameters(ef: max(Int(arrays.ef), 1))
            askForLargePages(arrays.neighbours, byteCount: arrays.neighbour_count * 4)
            askForLargePages(arrays.offsets, byteCount: summary.count * 8)
            // Links, and per row an offset (8) and a level (4).
            bytes += arrays.neighbour_count * 4 + summary.count * 12
        case .ivfFlat:
            graph = belfry_graph()
            let inverted = try InvertedLists(
                loaded, path: path, summary: summary, scorer: scorers, instructionSet: instructionSet)
            lists = inverted
            maximumLinkCount = 0
            defaults = SearchParameters(nprobe: max(inverted.nprobe, 1))
            bytes += inverted.byteCount
        }
        byteCount = bytes
        faiss = loaded
        try requireFinite()
    }

    /// The stored vector of a row, which must be in `0 ..< count`; `dimension` numbers, alive as long as the index.
    public func vector(_ row: Int) -> UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: address(row), count: dimension)
    }

    /// The score of one row, in `0 ..< count`, for a query of `dimension` finite numbers.
    public func score(_ query: UnsafePointer<Float>, _ row: Int) -> Float {
        scorer.one(query, address(row), dimension)
    }

    /// The best `k` items that are not excluded, best first, ties by row.
    ///
    /// - query: `dimension` finite numbers; that they are finite is the caller's to ensure.
    /// - k: at least 1; if fewer items are eligible, all of them are found.
    /// - parameters: `ef` for graphs, `nprobe` for inverted files, or `exact`.
    /// - excluding: rows that must not be found, of a set for `count` rows.
    /// - scratch: of this index, and of this thread. It holds the hits until its next search.
    ///
    /// If an approximate search finds fewer than k although more are eligible, every eligible item is compared. So it is
    /// from the start where a walk through a graph would cost more than that: when few items are eligible, or ef is a
    /// good part of the catalogue.
    public func search(
        _ query: UnsafePointer<Float>, k: Int, parameters: SearchParameters = SearchParameters(),
        excluding excluded: RowSet? = nil, scratch: SearchScratch
    ) throws(SearchError) -> Hits {
        guard k >= 1 else { throw .tooSmall(.k, got: k) }
        if let ef = parameters.ef {
            guard kind == .hnsw else { throw .notForKind(.ef, kind: kind) }
            guard ef >= 1 else { throw .tooSmall(.ef, got: ef) }
        }
        if let nprobe = parameters.nprobe {
            guard kind == .ivfFlat else { throw .notForKind(.nprobe, kind: kind) }
            guard nprobe >= 1 else { throw .tooSmall(.nprobe, got: nprobe) }
        }
        precondition(scratch.fits(self), "the scratch is of another index")
        precondition(excluded.map { $0.rowCount == count } ?? true, "the excluded rows are of another catalogue")

        let eligible = count - (excluded?.count ?? 0)
        let wanted = min(k, eligible)
        guard wanted > 0 else { return hits(0, scratch) }
        let words = excluded.flatMap { $0.isEmpty ? nil : UnsafePointer($0.words.baseAddress) }

        var found = 0
        scratch.state.scored = 0
        switch kind {
        case .flat:
            break
        case .hnsw:
            let ef = max(parameters.ef ?? defaults.ef ?? 1, wanted)
            if !parameters.exact && !isScanCheaper(eligible: eligible, ef: ef) {
                scratch.reserve(ef)
                found = search(graphFor: query, wanted, ef: ef, words, scratch)
            }
        case .ivfFlat:
            let nprobe = min(parameters.nprobe ?? defaults.nprobe ?? 1, listCount)
            if !parameters.exact {
                scratch.reserve(wanted)
                found = search(listsFor: query, wanted, nprobe: nprobe, words, scratch)
            }
        }
        if found < wanted {
            let scored = scratch.state.scored
            scratch.reserve(wanted)
            found = search(allFor: query, wanted, words, scratch)
            scratch.state.scored += scored
        }
        return hits(found, scratch)
    }

    /// A walk meets `count / eligible` rows for each that it may collect, and scores several more (20 and more in a
    /// large graph) before it has collected `ef`. Eight is on the careful side, and keeps a walk from losing itself
    /// where nearly everything is excluded.
    private func isScanCheaper(eligible: Int, ef: Int) -> Bool {
        Double(eligible) * Double(eligible) <= 8 * Double(ef) * Double(count)
    }

    private func search(
        graphFor query: UnsafePointer<Float>, _ k: Int, ef: Int, _ excluded: UnsafePointer<UInt64>?,
        _ scratch: SearchScratch
    ) -> Int {
        withUnsafePointer(to: vectors) { vectors in
            withUnsafePointer(to: graph) { graph in
                belfry_search_graph(vectors, graph, query, k, ef, excluded, &scratch.state)
            }
        }
    }

    private func search(
        listsFor query: UnsafePointer<Float>, _ k: Int, nprobe: Int, _ excluded: UnsafePointer<UInt64>?,
        _ scratch: SearchScratch
    ) -> Int {
        guard var arrays = lists?.arrays else { return 0 }
        return belfry_search_lists(&arrays, query, k, nprobe, excluded, &scratch.state)
    }

    private func search(
        allFor query: UnsafePointer<Float>, _ k: Int, _ excluded: UnsafePointer<UInt64>?, _ scratch: SearchScratch
    ) -> Int {
        guard lists == nil else {
            return search(listsFor: query, k, nprobe: listCount, excluded, scratch)
        }
        return withUnsafePointer(to: vectors) { belfry_search_all($0, query, k, excluded, &scratch.state) }
    }

    private func hits(_ count: Int, _ scratch: SearchScratch) -> Hits {
        Hits(
            rows: UnsafeBufferPointer(start: scratch.state.rows, count: count),
            scores: UnsafeBufferPointer(start: scratch.state.scores, count: count),
            scoredCount: count == 0 ? 0 : scratch.state.scored, isComplete: true)
    }

    private func address(_ row: Int) -> UnsafePointer<Float> {
        precondition(row >= 0 && row < count, "row \(row) of \(count)")
        return lists?.addresses[row] ?? vectors.values + row * dimension
    }

    private func requireFinite() throws(ItemIndexError) {
        if let lists {
            // A list whose centroid is not a number would never be visited, or always.
            let first = belfry_first_not_finite(lists.arrays.centroids, lists.count * dimension)
            guard first == lists.count * dimension else {
                throw .centroidNotFinite(path: path, list: first / dimension, component: first % dimension)
            }
            for row in 0..<count {
                let component = belfry_first_not_finite(lists.addresses[row], dimension)
                guard component == dimension else {
                    throw .notFinite(path: path, row: row, component: component)
                }
            }
        } else if count > 0 {
            let first = belfry_first_not_finite(vectors.values, count * dimension)
            guard first == count * dimension else {
                throw .notFinite(path: path, row: first / dimension, component: first % dimension)
            }
        }
    }
}
