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

    enum CodingKeys: String, CodingKey {
        case share, checked, invalid, faults, examples, compared
        case worstScoreDifference = "worst_score_difference"
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
