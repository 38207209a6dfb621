import CFaiss
import CKernels
import Memory

/// Item vectors and the structure that finds the best of them for a query. Immutable, shared by all workers.
///
///     let index = try ItemIndex(path: "index.faiss")
///     let scratch = SearchScratch(for: index)  // one per worker
///     let hits = try index.search(query, k: 100, parameters: SearchParameters(ef: 200), scratch: scratch)
///
/// FAISS reads graphs and flat files into memory, and the search is our own, over its vectors and, of a graph, links in a table
/// of ours; inverted files we read ourselves. A score is always computed by the same kernel, so `search` and `score` agree bit
/// for bit however an item was found.
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

    // Keep the arrays alive that the next ones point to; nil for an inverted file, or what is no graph.
    private let faiss: FaissIndex?
    private let links: GraphLinks?
    // Unsafe to share only if somebody wrote: all of these are FAISS's arrays or ours, set in `init` and read-only after.
    private let scorer: belfry_scorer
    // By row, or for an inverted file by position.
    private nonisolated(unsafe) let vectors: belfry_vectors
    private nonisolated(unsafe) let graph: belfry_graph
    private nonisolated(unsafe) let structure: Structure
    // Keeps alive what the structure points to: `CodedRuns`, `RowCodes` or `InvertedLists`.
    private let structureOwner: (any AnyObject & Sendable)?
    // FAISS's large arrays.
    private nonisolated(unsafe) let largeArrays: [UnsafeRawBufferPointer]
    // What share of the rows codes may leave to be scored by their vectors in an exact search. Written at the end of `init`.
    private nonisolated(unsafe) var rescoredShare = 0.0

    /// What finds the best items: addresses and not their owner, whose references workers would count.
    private enum Structure: BitwiseCopyable {
        case runs(UnsafePointer<belfry_runs>)
        case graph(UnsafePointer<belfry_row_codes>?)  // nil where codes are too coarse for these vectors
        case lists(UnsafePointer<belfry_runs>, positions: UnsafePointer<UInt32>)
    }

    /// The most links a row has on one level; sizes the scratch.
    let maximumLinkCount: Int
    /// How many inverted lists there are; sizes the scratch.
    var listCount: Int {
        if case .lists(let runs, _) = structure { runs.pointee.run_count } else { 0 }
    }

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
        let file = try IndexFileCheck.open(path: path)
        let summary = try IndexFileCheck.check(file)
        switch (summary.holdsVectors, externalVectors) {
        case (false, nil): throw .vectorsMissing(path: path)
        case (true, .some): throw .vectorsTwice(path: path)
        default: break
        }
        func read() throws(ItemIndexError) -> FaissIndex {
            try FaissIndex(reading: path, holdsVectors: summary.holdsVectors)
        }

        self.path = path
        self.instructionSet = instructionSet
        count = summary.count
        dimension = summary.dimension
        metric = summary.metric
        kind = summary.kind
        scorer = belfry_scorer_for(summary.metric.kernelNumber, instructionSet.kernelNumber).pointee

        let metricNumber = summary.metric.kernelNumber
        let scorers = belfry_scorer_for(metricNumber, instructionSet.kernelNumber)
        let vectorByteCount = summary.count * summary.dimension * MemoryLayout<Float>.stride
        var largeArrays: [UnsafeRawBufferPointer] = []
        func rows(_ loaded: FaissIndex) throws(ItemIndexError) -> belfry_vectors {
            let values = externalVectors ?? belfry_faiss_vectors(loaded.handle)
            if summary.count > 0 {
                let first = belfry_first_not_finite(values, summary.count * summary.dimension)
                guard first == summary.count * summary.dimension else {
                    throw .notFinite(
                        path: path, row: first / summary.dimension, component: first % summary.dimension)
                }
            }
            if externalVectors == nil {
                askForLargePages(values, byteCount: vectorByteCount)
                largeArrays.append(UnsafeRawBufferPointer(start: values, count: vectorByteCount))
            }
            return belfry_vectors(
                values: values, count: summary.count, dimension: summary.dimension, scorer: scorers,
                metric: metricNumber)
        }
        switch summary.kind {
        case .flat:
            let loaded = try read()
            faiss = loaded
            links = nil
            vectors = try rows(loaded)
            graph = belfry_graph()
            let runs = CodedRuns(
                vectors: vectors, sizes: CodedRuns.flatSizes(count: summary.count), instructionSet: instructionSet)
            structure = .runs(runs.kernel)
            structureOwner = runs
            maximumLinkCount = 0
            defaults = SearchParameters()
            byteCount = vectorByteCount + runs.byteCount
        case .hnsw:
            let loaded = try read()
            faiss = loaded
            vectors = try rows(loaded)
            let arrays = try loaded.graph(path: path)
            let links = GraphLinks(takingOver: arrays, count: summary.count)
            self.links = links
            graph = links.kernel
            let coded = RowCodes(vectors: vectors, instructionSet: instructionSet)
            let tellApart = coded.tellApart(neighbours: { links.neighbours($0) }, vectors: vectors)
            let codes = tellApart ? coded : nil
            structure = .graph(codes?.kernel)
            structureOwner = codes
            maximumLinkCount = (1..<arrays.level_end_count).reduce(0) { most, level in
                max(most, Int(arrays.level_ends[level] - arrays.level_ends[level - 1]))
            }
            defaults = SearchParameters(ef: max(Int(arrays.ef), 1))
            // Per row also an offset (8) and a level (4).
            byteCount = vectorByteCount + (codes?.byteCount ?? 0) + links.byteCount + summary.count * 12
        case .ivfFlat:
            graph = belfry_graph()
            guard let layout = summary.lists else { preconditionFailure("an inverted file has lists") }
            faiss = nil
            links = nil
            let inverted = try file.withBytes { bytes throws(ItemIndexError) in
                try InvertedLists(bytes, layout, path: path, summary: summary, instructionSet: instructionSet)
            }
            structure = .lists(inverted.runs.kernel, positions: UnsafePointer(inverted.positions.base))
            structureOwner = inverted
            vectors = inverted.runs.kernel.pointee.vectors
            maximumLinkCount = 0
            defaults = SearchParameters(nprobe: layout.probeCount)
            byteCount = vectorByteCount + inverted.runs.byteCount
        }
        self.largeArrays = largeArrays
        rescoredShare = measureRescoredShare()
    }

    /// The mean of a few exact searches, for queries in directions that have nothing to do with the items: users' embeddings may
    /// lie anywhere, and the further off they are the closer the items' scores are together and the less codes exclude.
    private func measureRescoredShare() -> Double {
        let (trialCount, k) = (4, 100)
        guard count >= 64 * k else { return 0 }
        let scratch = SearchScratch(for: self)
        var bits: UInt64 = 0x9E37_79B9_7F4A_7C15
        let shares = (0..<trialCount).map { _ in
            let query = (0..<dimension).map { _ -> Float in
                // xorshift64 (Marsaglia, 2003).
                bits ^= bits << 13
                bits ^= bits >> 7
                bits ^= bits << 17
                return bits >> 63 == 0 ? 1 : -1
            }
            _ = exact(query, k, nil, count, 0, scratch)
            return Double(scratch.state.rescored) / Double(count)
        }
        return shares.reduce(0, +) / Double(trialCount)
    }

    deinit {
        for array in largeArrays { releaseGradually(array.baseAddress, byteCount: array.count) }
    }

    /// The stored vector of a row, which must be in `0 ..< count`; `dimension` numbers, alive as long as the index.
    public func vector(_ row: Int) -> UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: address(row), count: dimension)
    }

    /// The score of one row, in `0 ..< count`, for a query of `dimension` finite numbers.
    public func score(_ query: UnsafePointer<Float>, _ row: Int) -> Float {
        scorer.one(query, address(row), dimension)
    }

    /// The best `k` eligible items, best first, ties by row.
    ///
    /// - query: `dimension` finite numbers; that they are finite is the caller's to ensure.
    /// - k: at least 1; if fewer items are eligible, all of them are found.
    /// - parameters: `ef` for graphs, `nprobe` for inverted files, or `exact`.
    /// - eligible: the rows that may be found, of a catalogue of `count` rows; nil is all of them.
    /// - scratch: of this index, and of this thread. It holds the hits until its next search.
    ///
    /// If an approximate search finds fewer than k although more are eligible, more lists are read, and at last every eligible
    /// item is compared. So it is from the start where that is cheaper: when few items are eligible, or ef is a good part
    /// of the catalogue. Fewer than wanted are found only if the deadline passes.
    public func search(
        _ query: UnsafePointer<Float>, k: Int, parameters: SearchParameters = SearchParameters(),
        eligible: EligibleRows? = nil, scratch: SearchScratch
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
        precondition(eligible.map { $0.rowCount == count } ?? true, "the eligible rows are of another catalogue")

        let eligibleCount = eligible?.count ?? count
        let wanted = min(k, eligibleCount)
        guard wanted > 0 else {
            scratch.state.is_complete = 1  // nothing is missing, whatever the search before this one left
            return hits(0, .everything, scratch)
        }
        let words = eligible.flatMap { $0.isEverything ? nil : UnsafePointer($0.words.baseAddress) }
        let deadline = parameters.deadline ?? 0

        var (found, way) = (0, Way.everything)
        var scored = 0
        if !parameters.exact {
            (found, way) = approximate(query, wanted, parameters, words, eligibleCount, deadline, scratch)
            scored = found > 0 ? scratch.state.scored : 0
        }
        if found < wanted && (scored == 0 || scratch.state.is_complete != 0) {
            scratch.reserve(wanted)
            found = exact(query, wanted, words, eligibleCount, deadline, scratch)
            way = .everything
            scratch.state.scored += scored
        }
        return hits(found, way, scratch)
    }

    /// How long a search may take among all items, in nanoseconds, about: to tell long ones from others. Of an exact one that depends on
    /// the query; many take less.
    public func mayTakeNanoseconds(k: Int, parameters: SearchParameters) -> Double {
        guard count > 0 else { return 0 }
        let wanted = min(k, count)
        let perWanted = SearchCost.perWanted * Double(wanted)
        let exact = Double(count) * (scanNanosecondsPerRow + rescoredShare * gatherNanosecondsPerRow) + perWanted
        switch structure {
        case .graph where !parameters.exact:
            let ef = max(parameters.ef ?? defaults.ef ?? 1, wanted)
            return min(SearchCost.walkPerKept * Double(ef), exact)
        case .lists where !parameters.exact:
            let nprobe = probeCount(wanted, parameters, eligibleCount: count)
            return min(Double(nprobe) * nanosecondsPerList + perWanted, exact)
        default:
            return exact
        }
    }

    /// How a search went about it.
    private enum Way {
        case everything
        case walk(ef: Int)
        case lists(nprobe: Int)
    }

    /// A walk or the chosen lists; nothing if it is cheaper to compare everything.
    private func approximate(
        _ query: UnsafePointer<Float>, _ wanted: Int, _ parameters: SearchParameters, _ words: UnsafePointer<UInt64>?,
        _ eligibleCount: Int, _ deadline: UInt64, _ scratch: SearchScratch
    ) -> (found: Int, way: Way) {
        switch structure {
        case .runs:
            return (0, .everything)
        case .graph(let codes):
            let ef = max(parameters.ef ?? defaults.ef ?? 1, wanted)
            let share = Double(eligibleCount) / Double(count)
            // A walk meets 1 / share rows for each that it may collect.
            let walkNanoseconds = SearchCost.walkPerKept * Double(ef) / share
            guard parameters.isLiteral || walkNanoseconds < exactNanoseconds(eligibleCount) else {
                return (0, .everything)
            }
            // Codes may put one of the best a few places too low.
            let kept = codes == nil ? ef : max(ef, wanted + wanted / 8 + 8)
            scratch.reserve(kept)
            let found = withUnsafePointer(to: vectors) { vectors in
                withUnsafePointer(to: graph) { graph in
                    belfry_search_graph(
                        vectors, codes, graph, query, wanted, kept, words, deadline, &scratch.state)
                }
            }
            return (found, .walk(ef: kept))
        case .lists(let runs, _):
            let nprobe = probeCount(wanted, parameters, eligibleCount: eligibleCount)
            guard parameters.isLiteral || Double(nprobe) * nanosecondsPerList < exactNanoseconds(eligibleCount) else {
                return (0, .everything)
            }
            return read(runs, nprobe, query, wanted, words, eligibleCount, deadline, scratch)
        }
    }

    /// How many lists are read: where few rows are eligible, the best of them lie in more lists; and no fewer than hold twice what is
    /// wanted.
    private func probeCount(_ wanted: Int, _ parameters: SearchParameters, eligibleCount: Int) -> Int {
        let share = Double(eligibleCount) / Double(count)
        let asked = Double(parameters.nprobe ?? defaults.nprobe ?? 1)
        let holding = 2 * Double(wanted) * Double(listCount) / Double(eligibleCount)
        let needed = parameters.isLiteral ? asked : max(asked / share.squareRoot(), holding).rounded(.up)
        return Int(min(needed, Double(listCount)))
    }

    /// Reads the best `nprobe` lists; while they hold too few eligible items, four times as many, as long as that is cheaper than
    /// to compare everything. If the deadline cuts a second reading short, that one's hits are what was found.
    private func read(
        _ runs: UnsafePointer<belfry_runs>, _ nprobe: Int, _ query: UnsafePointer<Float>, _ wanted: Int,
        _ words: UnsafePointer<UInt64>?, _ eligibleCount: Int, _ deadline: UInt64, _ scratch: SearchScratch
    ) -> (found: Int, way: Way) {
        let affordable = exactNanoseconds(eligibleCount) / nanosecondsPerList
        var nprobe = nprobe
        var scored = 0
        while true {
            scratch.reserve(max(wanted, nprobe))
            let found = belfry_search_lists(runs, query, wanted, nprobe, words, deadline, &scratch.state)
            scored += scratch.state.scored
            scratch.state.scored = scored
            guard found < wanted, scratch.state.is_complete != 0, Double(4 * nprobe) < affordable else {
                return (found, .lists(nprobe: nprobe))
            }
            nprobe *= 4
        }
    }

    private var nanosecondsPerList: Double { Double(count) / Double(max(listCount, 1)) * scanNanosecondsPerRow }

    /// What the measured cheaper way of comparing everything costs.
    private func exactNanoseconds(_ eligibleCount: Int) -> Double {
        min(Double(eligibleCount) * gatherNanosecondsPerRow, Double(count) * scanNanosecondsPerRow)
    }

    /// Rows here and there scored by their vectors.
    private var gatherNanosecondsPerRow: Double {
        max(SearchCost.gatheredRow, Double(dimension * MemoryLayout<Float>.stride) * SearchCost.gatheredByte)
    }

    /// A scan is as fast as what it reads comes out of memory, or out of the caches if it fits there.
    private var scanNanosecondsPerRow: Double {
        let byteCount = Double(scannedByteCount)
        let isCached = byteCount * Double(count) < SearchCost.cachedByteCount
        return byteCount * (isCached ? SearchCost.cachedByte : SearchCost.byte)
    }

    /// What a scan reads of a row: 4-bit codes in lines of eight, 8-bit codes, or the vector where it has none.
    private var scannedByteCount: Int {
        switch structure {
        case .runs, .lists: (dimension + 7) / 8 * 4
        case .graph(.some): (dimension + 63) / 64 * 64
        case .graph(nil): dimension * MemoryLayout<Float>.stride
        }
    }

    private func exact(
        _ query: UnsafePointer<Float>, _ wanted: Int, _ words: UnsafePointer<UInt64>?, _ eligibleCount: Int,
        _ deadline: UInt64, _ scratch: SearchScratch
    ) -> Int {
        withUnsafePointer(to: vectors) { vectors in
            if let words,
                Double(eligibleCount) * gatherNanosecondsPerRow < Double(count) * scanNanosecondsPerRow
            {
                let positions: UnsafePointer<UInt32>? =
                    if case .lists(_, let positions) = structure { positions } else { nil }
                return belfry_search_eligible(vectors, positions, query, wanted, words, deadline, &scratch.state)
            }
            return switch structure {
            case .runs(let runs), .lists(let runs, _):
                belfry_search_all_runs(runs, query, wanted, words, deadline, &scratch.state)
            case .graph(let codes):
                belfry_search_all_rows(vectors, codes, query, wanted, words, deadline, &scratch.state)
            }
        }
    }

    private func hits(_ count: Int, _ way: Way, _ scratch: SearchScratch) -> Hits {
        let ef: Int? = if case .walk(let ef) = way { ef } else { nil }
        let nprobe: Int? = if case .lists(let nprobe) = way { min(nprobe, listCount) } else { nil }
        return Hits(
            rows: UnsafeBufferPointer(start: scratch.state.rows, count: count),
            scores: UnsafeBufferPointer(start: scratch.state.scores, count: count),
            scoredCount: count == 0 ? 0 : scratch.state.scored, isComplete: scratch.state.is_complete != 0, ef: ef,
            nprobe: nprobe)
    }

    private func address(_ row: Int) -> UnsafePointer<Float> {
        precondition(row >= 0 && row < count, "row \(row) of \(count)")
        guard case .lists(_, let positions) = structure else { return vectors.values + row * dimension }
        return vectors.values + Int(positions[row]) * dimension
    }
}

/// What searches cost in nanoseconds, by which the cheaper of two is chosen. Measured at 64 dimensions over a million items
/// (`docs/PERFORMANCE.md`); they need to be right within a factor of two.
private enum SearchCost {
    /// A graph walk, for each row that it keeps.
    static let walkPerKept = 600.0
    /// A scan, for each byte of codes that comes out of memory: 16 GB/s.
    static let byte = 0.0625
    /// The same out of a cache.
    static let cachedByte = 0.016
    /// Codes that a core's share of the caches may hold.
    static let cachedByteCount = 8e6
    /// Rows here and there scored by their vectors, for each byte of them: 12 ns at 64 dimensions.
    static let gatheredByte = 0.047
    /// The same at least, for each row.
    static let gatheredRow = 4.0
    /// What is found, for each: scored by its vector, put in order, written into a reply.
    static let perWanted = 50.0
}
