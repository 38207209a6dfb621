/// Percentiles in microseconds, as in the report. A percentile with fewer than 10 samples above it is nil: it would be the
/// opinion of a handful of requests.
public struct LatencySummary: Codable, Sendable, Equatable {
    /// How many samples there are.
    public var count: Int
    /// The median.
    public var p50: Double?
    /// The 90th percentile.
    public var p90: Double?
    /// The 99th percentile.
    public var p99: Double?
    /// The 99.9th percentile.
    public var p999: Double?
    /// The 99.99th percentile.
    public var p9999: Double?
    /// The largest sample; nil if there is none.
    public var max: Double?
    /// The mean; nil if there is no sample.
    public var mean: Double?

    enum CodingKeys: String, CodingKey {
        case count, p50, p90, p99
        case p999 = "p99.9"
        case p9999 = "p99.99"
        case max, mean
    }
}
