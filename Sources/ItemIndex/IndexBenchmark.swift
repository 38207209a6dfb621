/// Why an index was not measured.
public enum IndexBenchmarkError: Error, Equatable, CustomStringConvertible {
    /// The queries have another dimension than the index.
    case dimension(queries: Int, index: Int)
    /// There is no query, or truth for another number of queries.
    case queryCount(queries: Int, truth: Int)
    /// The truth holds fewer items for a query than are wanted.
    case truthTooNarrow(k: Int, width: Int)
    /// The truth names a row that the index does not have.
    case truthRow(query: Int, row: Int, count: Int)
    /// Not even an exact search finds what the truth says: it belongs to other items or queries.
    case truthOfOtherItems(k: Int, recall: Double)
    /// An exact search finds better items than the truth has: it belongs to other items, queries or another metric.
    case truthNotBest(query: Int, k: Int)
    /// The settings are of another kind of index.
    case settings(of: IndexKind, index: IndexKind)
    /// A k below 1.
    case k(Int)
    /// A recall outside of 0...1.
    case targetRecall(Double)

    /// One sentence.
    public var description: String {
        switch self {
        case .dimension(let queries, let index): "the queries have dimension \(queries), the index has \(index)"
        case .queryCount(let queries, let truth): "there are \(queries) queries, and truth for \(truth)"
        case .truthTooNarrow(let k, let width): "the truth has \(width) items for a query, and k is \(k)"
        case .truthRow(let query, let row, let count):
            "the truth of query \(query) names row \(row), and the index has \(count)"
        case .truthOfOtherItems(let k, let recall):
            "an exact search for \(k) items has a recall of \(recall): the truth is of other items or queries"
        case .truthNotBest(let query, let k):
            "an exact search for \(k) items finds better ones for query \(query) than the truth, so every recall would "
                + "look too high: the truth is of other items, other queries or another metric"
        case .settings(let kind, let index):
            "the settings are of a \(kind.rawValue) index, and this one is \(index.rawValue)"
        case .k(let k): "k is \(k) and must be at least 1"
        case .targetRecall(let recall): "the recall is \(recall) and must be in 0...1"
        }
    }
}

/// Finds, for each k, the cheapest parameters that reach a recall, and what they cost. One thread, one query at a time.
///
///     let report = try IndexBenchmark(index: index, queries: queries, truth: truth).run(ks: [100, 500], recall: 0.99)
///
/// * Recall is the share of the k hits that score no less than the worst of the truth's first k. So a hit that ties with
///   an item of the truth counts, whichever of the two the truth names.
/// * ef is tried at k, 2k, 4k, ...; nprobe at 1, 2, 4, ...; then between the last that missed and the first that reached
///   the recall by bisection, until they are no further apart than a sixteenth of the lower (or 1).
/// * Each setting has been run over all queries once, for its recall, before it is timed over all of them.
/// * Where comparing with every item is cheaper than the parameters that were found, that is the setting.
public struct IndexBenchmark {
    private let index: ItemIndex
    private let queries: VectorFile
    private let truth: Truth

    /// Takes what is measured, and checks that it belongs together.
    public init(index: ItemIndex, queries: VectorFile, truth: Truth) throws(IndexBenchmarkError) {
        guard queries.dimension == index.dimension else {
            throw .dimension(queries: queries.dimension, index: index.dimension)
        }
        guard queries.count == truth.queryCount && queries.count > 0 else {
            throw .queryCount(queries: queries.count, truth: truth.queryCount)
        }
        if let place = truth.rows.firstIndex(where: { $0 >= index.count }) {
            throw .truthRow(query: place / truth.width, row: Int(truth.rows[place]), count: index.count)
        }
        self.index = index
        self.queries = queries
        self.truth = truth
    }

    /// The best `k` rows of each query by comparing it with every item; `k` must be in 1...index.count.
    public static func exactTruth(index: ItemIndex, queries: VectorFile, k: Int) throws(IndexBenchmarkError) -> Truth {
        guard queries.dimension == index.dimension else {
            throw .dimension(queries: queries.dimension, index: index.dimension)
        }
        guard k >= 1 else { throw .k(k) }
        guard k <= index.count else { throw .truthTooNarrow(k: k, width: index.count) }
        let scratch = SearchScratch(for: index, capacity: k)
        var rows: [Int32] = []
        rows.reserveCapacity(queries.count * k)
        for query in 0..<queries.count {
            for row in found(index, queries, query, k, SearchParameters(exact: true), scratch).rows {
                rows.append(Int32(row))
            }
        }
        return Truth(width: k, rows: rows)
    }

    /// Measures each k.
    public func run(ks: [Int], recall target: Double) throws(IndexBenchmarkError) -> IndexBenchmarkReport {
        guard target >= 0 && target <= 1 else { throw .targetRecall(target) }
        return try report(ks, target) { (k, worst, scratch) throws(IndexBenchmarkError) in
            try cheapest(k, worst, target, scratch)
        }
    }

    /// Measures the settings that an earlier report found, over these queries: those that settings are chosen by should
    /// not be those that they are judged by.
    public func run(settingsOf earlier: IndexBenchmarkReport) throws(IndexBenchmarkError) -> IndexBenchmarkReport {
        guard earlier.kind == index.kind else { throw .settings(of: earlier.kind, index: index.kind) }
        let parameters = Dictionary(
            earlier.rows.map { ($0.k, $0.parameters.searchParameters) }, uniquingKeysWith: { first, _ in first })
        return try report(earlier.rows.map(\.k), earlier.targetRecall) { k, worst, scratch in
            let setting = parameters[k] ?? SearchParameters()
            return Setting(parameters: setting, recall: recall(k, worst, setting, scratch))
        }
    }

    /// Measures a report's settings again with only a share of the rows eligible, drawn from a seed. What is best among them is
    /// found by an exact search, so a row that is found counts if it scores no less than the k-th best eligible one.
    public func run(settingsOf report: IndexBenchmarkReport, eligibleShare share: Double) -> [EligibilityRow] {
        let eligible = EligibleRows(rowCount: index.count)
        var state = UInt64(2_026)
        for row in 0..<index.count {
            // A linear congruential generator's upper bits (Knuth's MMIX constants) are random enough for this.
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            if Double(state >> 11) * 0x1p-53 >= share { eligible.exclude(row) }
        }
        let scratch = SearchScratch(for: index)
        let clock = ContinuousClock()
        return report.rows.map { row in
            let wanted = min(row.k, eligible.count)
            var reached = 0
            var ineligible = 0
            var times: [Double] = []
            // Before the others: a scan of everything leaves nothing else in the caches.
            let worst = (0..<queries.count).map {
                Self.found(index, queries, $0, row.k, SearchParameters(exact: true), scratch, eligible).scores.last
                    ?? -.infinity
            }
            for query in 0..<queries.count {
                let elapsed = clock.measure {
                    _ = Self.found(index, queries, query, row.k, row.parameters.searchParameters, scratch, eligible)
                }
                times.append(Double(elapsed.components.seconds) * 1e6 + Double(elapsed.components.attoseconds) * 1e-12)
                let hits = Self.found(index, queries, query, row.k, row.parameters.searchParameters, scratch, eligible)
                reached += hits.scores.count { $0 >= worst[query] }
                ineligible += hits.rows.count { !eligible.contains(Int($0)) }
            }
            times.sort()
            return EligibilityRow(
                k: row.k, eligibleShare: share, eligibleCount: eligible.count,
                recall: wanted == 0 ? 1 : Double(reached) / Double(queries.count * wanted), ineligibleCount: ineligible,
                usP50: times[times.count / 2])
        }
    }

    /// What a setting gives where not all rows are eligible.
    public struct EligibilityRow: Sendable {
        /// How many hits a query wanted.
        public let k: Int
        /// The share of rows that were eligible, as asked for.
        public let eligibleShare: Double
        /// How many that were.
        public let eligibleCount: Int
        /// The recall among them, 0...1.
        public let recall: Double
        /// How many hits were not eligible: 0.
        public let ineligibleCount: Int
        /// The median time of a query in microseconds.
        public let usP50: Double
    }

    private func report(
        _ ks: [Int], _ target: Double,
        choosing choose: (Int, [Float], SearchScratch) throws(IndexBenchmarkError) -> Setting
    ) throws(IndexBenchmarkError) -> IndexBenchmarkReport {
        let scratch = SearchScratch(for: index)
        var rows: [IndexBenchmarkReport.Row] = []
        for k in ks {
            guard k >= 1 else { throw .k(k) }
            guard k <= truth.width else { throw .truthTooNarrow(k: k, width: truth.width) }
            let worst = worstScores(k)
            try requireBest(worst, k, scratch)
            rows.append(timed(k, worst, try choose(k, worst, scratch), scratch))
        }
        return IndexBenchmarkReport(
            rows: rows, items: index.count, dimension: index.dimension, queries: queries.count,
            metric: index.metric == .innerProduct ? "ip" : "l2", kind: index.kind, instructionSet: index.instructionSet,
            targetRecall: target)
    }

    private static func found(
        _ index: ItemIndex, _ queries: VectorFile, _ query: Int, _ k: Int, _ parameters: SearchParameters,
        _ scratch: SearchScratch, _ eligible: EligibleRows? = nil
    ) -> Hits {
        do {
            return try index.search(
                queries.values + query * queries.dimension, k: k, parameters: parameters, eligible: eligible,
                scratch: scratch)
        } catch {
            // Every caller gives parameters of the index's own kind, and a k of at least 1.
            preconditionFailure("\(error)")
        }
    }

    // MARK: Recall

    /// For each query the worst score among the truth's first k. Recomputed, because the truth's own order may come
    /// from other rounding.
    private func worstScores(_ k: Int) -> [Float] {
        (0..<queries.count).map { query in
            truth.rows[query * truth.width..<query * truth.width + k].reduce(Float.infinity) { worst, row in
                min(worst, index.score(queries.values + query * queries.dimension, Int(row)))
            }
        }
    }

    /// Holds the truth of a few queries against an exact search. A truth that is not the best is easily reached: rows
    /// drawn at random give almost every setting a recall of 1.
    private func requireBest(_ worst: [Float], _ k: Int, _ scratch: SearchScratch) throws(IndexBenchmarkError) {
        for query in 0..<min(queries.count, 16) {
            let hits = Self.found(index, queries, query, k, SearchParameters(exact: true), scratch)
            guard let last = hits.scores.last else { continue }
            // Items that tie but for rounding may have been chosen otherwise.
            let tolerance = 1e-3 * max(abs(last), abs(worst[query]))
            guard last - worst[query] <= tolerance else { throw .truthNotBest(query: query, k: k) }
        }
    }

    private func recall(
        _ k: Int, _ worst: [Float], _ parameters: SearchParameters, _ scratch: SearchScratch
    ) -> Double {
        var reached = 0
        for query in 0..<queries.count {
            for score in Self.found(index, queries, query, k, parameters, scratch).scores where score >= worst[query] {
                reached += 1
            }
        }
        return Double(reached) / Double(queries.count * k)
    }

    private struct Setting {
        var parameters: SearchParameters
        var recall: Double
    }

    private func cheapest(
        _ k: Int, _ worst: [Float], _ target: Double, _ scratch: SearchScratch
    ) throws(IndexBenchmarkError) -> Setting {
        let exact = SearchParameters(exact: true)
        var first = 1
        var most = index.listCount
        let make: (Int) -> SearchParameters
        switch index.kind {
        case .flat:
            let recall = recall(k, worst, SearchParameters(), scratch)
            guard recall >= target else { throw .truthOfOtherItems(k: k, recall: recall) }
            return Setting(parameters: SearchParameters(), recall: recall)
        case .hnsw:
            (first, most) = (k, max(index.count, k))
            make = { SearchParameters(ef: $0) }
        case .ivfFlat:
            make = { SearchParameters(nprobe: $0) }
        }

        var missed = first - 1
        var reached = first
        var setting = Setting(parameters: make(first), recall: recall(k, worst, make(first), scratch))
        while setting.recall < target {
            // At the most there is, the search compares every item.
            guard reached < most else { throw .truthOfOtherItems(k: k, recall: setting.recall) }
            missed = reached
            reached = min(reached * 2, most)
            setting = Setting(parameters: make(reached), recall: recall(k, worst, make(reached), scratch))
        }
        while missed >= first && reached - missed > max(1, missed / 16) {
            let middle = missed + (reached - missed) / 2
            let recall = recall(k, worst, make(middle), scratch)
            if recall >= target {
                reached = middle
                setting = Setting(parameters: make(middle), recall: recall)
            } else {
                missed = middle
            }
        }

        // A few queries tell which is cheaper: small catalogues are scanned faster than a graph of them is walked.
        let few = min(queries.count, 16)
        let approximateTime = times(k, setting.parameters, few, scratch).reduce(0, +)
        if times(k, exact, few, scratch).reduce(0, +) < approximateTime {
            setting = Setting(parameters: exact, recall: recall(k, worst, exact, scratch))
        }
        return setting
    }

    // MARK: Time

    /// Microseconds of each of the first queries.
    private func times(_ k: Int, _ parameters: SearchParameters, _ count: Int, _ scratch: SearchScratch) -> [Double] {
        let clock = ContinuousClock()
        return (0..<count).map { query in
            let elapsed = clock.measure {
                _ = Self.found(index, queries, query, k, parameters, scratch)
            }
            return Double(elapsed.components.seconds) * 1e6 + Double(elapsed.components.attoseconds) * 1e-12
        }
    }

    private func timed(
        _ k: Int, _ worst: [Float], _ setting: Setting, _ scratch: SearchScratch
    ) -> IndexBenchmarkReport.Row {
        let times = times(k, setting.parameters, queries.count, scratch)
        let sorted = times.sorted()
        func percentile(_ share: Double) -> Double {
            sorted[min(Int((share * Double(sorted.count)).rounded(.up)), sorted.count) - 1]
        }
        let total = times.reduce(0, +)
        return IndexBenchmarkReport.Row(
            k: k, parameters: IndexBenchmarkReport.Parameters(setting.parameters), recall: setting.recall,
            usP50: percentile(0.5), usP99: percentile(0.99), usMean: total / Double(times.count),
            queriesPerSecond: Double(times.count) / total * 1e6,
            bytesPerItem: Double(index.byteCount) / Double(max(index.count, 1)))
    }
}
