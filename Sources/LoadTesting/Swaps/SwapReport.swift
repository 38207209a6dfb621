/// What publishing snapshots did, all swaps of a load test together. All durations are in milliseconds.
public struct SwapReport: Codable, Sendable, Equatable {
    /// The middle and the largest of several values.
    public struct Spread: Codable, Sendable, Equatable {
        /// How many there are.
        public var count: Int
        /// The one in the middle, the lower of two.
        public var median: Double
        /// The largest.
        public var max: Double

        /// Nil without a value.
        init?(_ values: [Double]) {
            let ascending = values.sorted()
            guard let last = ascending.last else { return nil }
            count = ascending.count
            median = ascending[(ascending.count - 1) / 2]
            max = last
        }
    }

    /// Snapshots that were published, swapped to, and whose predecessor was destroyed.
    public var done: Int
    /// Those of which one of these failed or took too long.
    public var failed: Int
    /// What `publish` took.
    public var publishMillis: Spread?
    /// What it took of the processor.
    public var publishCPUMillis: Spread?
    /// From the daemon's seeing a snapshot to its serving.
    public var servingMillis: Spread?
    /// From the daemon's seeing a snapshot to the destruction of the one before.
    public var windowMillis: Spread?
    /// What the daemon's steps took.
    public var stepMillis: [String: Spread]
    /// What they took of the processor.
    public var stepCPUMillis: [String: Spread]
    /// The daemon's resident memory after the third swap, in bytes.
    public var residentBytesThird: Double?
    /// And after the last one.
    public var residentBytesLast: Double?
    /// The last by the third.
    public var residentRatio: Double?
    /// One by one.
    public var records: [SwapRecord]

    enum CodingKeys: String, CodingKey {
        case done, failed
        case publishMillis = "publish_ms"
        case publishCPUMillis = "publish_cpu_ms"
        case servingMillis = "found_to_serving_ms"
        case windowMillis = "found_to_destroyed_ms"
        case stepMillis = "steps_ms"
        case stepCPUMillis = "steps_cpu_ms"
        case residentBytesThird = "resident_bytes_third"
        case residentBytesLast = "resident_bytes_last"
        case residentRatio = "resident_ratio"
        case records
    }

    /// The steps in the order they are taken.
    public static let steps = ["verify", "load", "warm", "swap", "destroy"]

    /// Sums up; nil where nothing was published.
    public init?(_ records: [SwapRecord]) {
        guard !records.isEmpty else { return nil }
        self.records = records
        let good = records.filter { $0.fault == nil }
        done = good.count
        failed = records.count - good.count
        publishMillis = Spread(good.map(\.publishMillis))
        publishCPUMillis = Spread(good.map(\.publishCPUMillis))
        servingMillis = Spread(good.compactMap(\.servingMillis))
        windowMillis = Spread(good.compactMap(\.windowMillis))
        stepMillis = Self.spreads(good.map(\.stepMillis))
        stepCPUMillis = Self.spreads(good.map(\.stepCPUMillis))
        residentBytesThird = good.dropFirst(2).first?.residentBytes
        residentBytesLast = good.last?.residentBytes
        if let third = residentBytesThird, let last = residentBytesLast, third > 0 { residentRatio = last / third }
    }

    private static func spreads(_ records: [[String: Double]]) -> [String: Spread] {
        var values: [String: [Double]] = [:]
        for record in records { for (name, value) in record { values[name, default: []].append(value) } }
        return values.compactMapValues(Spread.init)
    }
}
