/// What the check of sampled replies found.
public struct ValidationReport: Codable, Sendable, Equatable {
    /// The share of replies that was kept to be checked.
    public var share: Double
    /// How many replies were checked.
    public var checked: Int
    /// How many of them have at least one fault.
    public var invalid: Int
    /// How many replies have which fault: `unsorted`, `duplicate`, `excluded`, `count`, `snapshot`, `malformed`, `score`.
    public var faults: [String: Int]
    /// The first few faults in words, with what was expected and what came.
    public var examples: [String]
    /// How many replies were held against PyTorch's (`--expect`).
    public var compared: Int
    /// The largest difference of a score from PyTorch's, or nil without `--expect`.
    public var worstScoreDifference: Double?
    /// Replies recomputed from the snapshots they name (`--swap-expect`), or nil where none were.
    public var belonging: BelongingReport?

    enum CodingKeys: String, CodingKey {
        case share, checked, invalid, faults, examples, compared, belonging
        case worstScoreDifference = "worst_score_difference"
    }
}

/// Whether replies' items, scores and snapshot belong together, each score recomputed from what the named snapshot was
/// published from.
public struct BelongingReport: Codable, Sendable, Equatable {
    /// How many replies were recomputed.
    public var recomputed = 0
    /// How many of them are mixed: an id, a score or a space that is not the named snapshot's.
    public var mixed = 0
    /// How many could not be, because nothing is expected of their request; each is a fault.
    public var unknownRequests = 0
    /// How many scores were recomputed.
    public var scores = 0
    /// The largest difference of a score, relative to the product of both vectors' lengths.
    public var worstDifference = 0.0
    /// Replies by the source they come from, in the order of `--swap-publish`.
    public var bySource: [Int] = []
    /// The share of the expected best items that was found.
    public var recall: Double { wanted > 0 ? Double(found) / Double(wanted) : 0 }
    /// Items of replies that are among the expected best.
    public var found = 0
    /// How many there might have been.
    public var wanted = 0

    enum CodingKeys: String, CodingKey {
        case recomputed, mixed
        case unknownRequests = "unknown_requests"
        case scores
        case worstDifference = "worst_difference"
        case bySource = "by_source"
        case found, wanted
    }

    mutating func add(source: Int, scoreCount: Int, worst: Double, found: Int, wanted: Int) {
        recomputed += 1
        scores += scoreCount
        worstDifference = max(worstDifference, worst)
        while bySource.count <= source { bySource.append(0) }
        bySource[source] += 1
        self.found += found
        self.wanted += wanted
    }
}

/// How much of the exact answer the timed replies had.
public struct RecallReport: Codable, Sendable, Equatable {
    /// Recall at one depth: the mean over requests, with a 95 % confidence interval.
    public struct Estimate: Codable, Sendable, Equatable {
        /// The depth n of recall@n.
        public var at: Int
        /// The mean over requests.
        public var mean: Double
        /// The interval's lower end.
        public var low: Double
        /// The interval's upper end.
        public var high: Double
    }

    /// How many timed replies were held against a repetition with exact search.
    public var requests: Int
    /// How many could not be, with the reason: another snapshot serves, the repetition failed.
    public var skipped: [String: Int]
    /// Recall at 10, at 100 and at k, as far as k reaches.
    public var estimates: [Estimate]
}
