public import Histogram

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

    /// Fewer samples above a percentile than this say nothing about it.
    public static let samplesAboveMin = 10

    /// Creates a summary of percentiles that are known.
    public init(
        count: Int, p50: Double? = nil, p90: Double? = nil, p99: Double? = nil, p999: Double? = nil,
        p9999: Double? = nil,
        max: Double? = nil, mean: Double? = nil
    ) {
        self.count = count
        self.p50 = p50
        self.p90 = p90
        self.p99 = p99
        self.p999 = p999
        self.p9999 = p9999
        self.max = max
        self.mean = mean
    }

    /// Sums up a histogram of nanoseconds.
    public init(_ histogram: LatencyHistogram) {
        self.init(
            count: Int(histogram.totalCount), p50: Self.percentile(50, of: histogram),
            p90: Self.percentile(90, of: histogram), p99: Self.percentile(99, of: histogram),
            p999: Self.percentile(99.9, of: histogram), p9999: Self.percentile(99.99, of: histogram),
            max: histogram.totalCount == 0 ? nil : Double(histogram.maxRecorded) / 1_000,
            mean: histogram.totalCount == 0 ? nil : histogram.mean / 1_000)
    }

    /// A percentile in microseconds, or nil with fewer than `samplesAbove` samples behind its rank, which is the share of the
    /// samples rounded up: of 1000 samples p(99) is the 990th and has 10 above it.
    ///
    /// - percentile: 0 ... 100
    public static func percentile(
        _ percentile: Double, of histogram: LatencyHistogram, samplesAbove: Int = samplesAboveMin
    ) -> Double? {
        let count = histogram.totalCount
        // One unit in the last place less, so that 99.9 % of 1000 is rank 999; the library computes the same.
        let rank = Swift.max(1, (percentile.nextDown * Double(count) / 100).rounded(.up))
        guard count > 0, Double(count) - rank >= Double(samplesAbove) else { return nil }
        return Double(histogram.valueAtPercentile(percentile)) / 1_000
    }

    /// Writes null where there is no value, so that a reader sees that it was left out on purpose.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(count, forKey: .count)
        try container.encode(p50, forKey: .p50)
        try container.encode(p90, forKey: .p90)
        try container.encode(p99, forKey: .p99)
        try container.encode(p999, forKey: .p999)
        try container.encode(p9999, forKey: .p9999)
        try container.encode(max, forKey: .max)
        try container.encode(mean, forKey: .mean)
    }
}
