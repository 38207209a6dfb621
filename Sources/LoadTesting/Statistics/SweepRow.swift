/// What one value of a search parameter gave.
public struct SweepRow: Codable, Sendable, Equatable {
    /// `ef` or `nprobe`.
    public var parameter: String
    /// Its value.
    public var value: Int
    /// Requests per second that were due, nil in closed loop.
    public var scheduledRate: Double?
    /// Successes per second.
    public var achievedRate: Double
    /// From the scheduled instant.
    public var latency: LatencySummary
    /// How much of the exact answer came.
    public var recall: [RecallReport.Estimate]
    /// The share of requests that failed.
    public var errorShare: Double
    /// Why the run says nothing; empty if it does.
    public var invalid: [String]

    enum CodingKeys: String, CodingKey {
        case parameter, value
        case scheduledRate = "scheduled_rate"
        case achievedRate = "achieved_rate"
        case latency = "latency_us"
        case recall
        case errorShare = "errors_share"
        case invalid
    }
}
