internal import Foundation
internal import Histogram

/// What three times the load did: the run's middle third is at a multiple of the rate.
public struct OverloadReport: Codable, Sendable, Equatable {
    /// A third of the run.
    public struct Phase: Codable, Sendable, Equatable {
        /// `before`, `overload` or `after`.
        public var name: String
        /// Requests per second that were due.
        public var scheduledRate: Double
        /// Successes per second.
        public var goodput: Double
        /// The share of requests answered with 429 or 503.
        public var refusedShare: Double
        /// The share of requests that failed in another way.
        public var failedShare: Double
        /// The latency of successes, in microseconds.
        public var p99Micros: Double?

        enum CodingKeys: String, CodingKey {
            case name
            case scheduledRate = "scheduled_rate"
            case goodput
            case refusedShare = "refused_share"
            case failedShare = "failed_share"
            case p99Micros = "p99_us"
        }
    }

    /// How many times the rate.
    public var factor: Double
    /// Before, overload, after.
    public var phases: [Phase]
    /// From the end of the overload to the first of those seconds in which nothing fails and the 99th percentile is back
    /// within 1.2 times what it was before; nil if that never happens.
    public var recoverySeconds: Double?

    enum CodingKeys: String, CodingKey {
        case factor, phases
        case recoverySeconds = "recovery_s"
    }

    /// The width of the window that has to be good again, and the step in which it moves, in nanoseconds.
    private static let window: UInt64 = 1_000_000_000
    private static let step: UInt64 = 100_000_000

    /// Cuts a run in three.
    public init(_ result: RunResult, factor: Double) {
        self.factor = factor
        // A run that was stopped while it warmed up has no thirds.
        let third = (result.end - min(result.end, result.warmupEnd)) / 3
        let bounds = (0...3).map { result.warmupEnd + third * UInt64($0) }
        let outcomes = result.counted
        func slice(_ from: UInt64, _ to: UInt64) -> ArraySlice<Outcome> {
            let start = outcomes.partition(from: from)
            return outcomes[start..<max(start, outcomes.partition(from: to))]
        }
        phases = zip(["before", "overload", "after"], zip(bounds, bounds.dropFirst())).map { name, bounds in
            Phase(name, slice(bounds.0, bounds.1), seconds: Double(bounds.1 - bounds.0) / 1e9)
        }
        // A third or a second may hold too few requests for a percentile with ten samples above it, and then a recovery
        // would pass for none.
        func p99(_ outcomes: ArraySlice<Outcome>) -> Double? {
            let latencies = outcomes.filter { $0.kind == .success }.map(\.latency).sorted()
            return latencies.isEmpty ? nil : Double(latencies[Int(0.99 * Double(latencies.count - 1))])
        }
        guard let before = p99(slice(bounds[0], bounds[1])) else { return }
        var start = bounds[2]
        while start + Self.window <= bounds[3] {
            let second = slice(start, start + Self.window)
            let after = Phase("", second, seconds: 1)
            if after.refusedShare + after.failedShare == 0, let p99 = p99(second), p99 <= 1.2 * before {
                recoverySeconds = Double(start - bounds[2]) / 1e9
                return
            }
            start += Self.step
        }
    }
}

extension OverloadReport.Phase {
    fileprivate init(_ name: String, _ outcomes: ArraySlice<Outcome>, seconds: Double) {
        self.name = name
        var histogram = LatencyHistogram.latencies()
        var refused = 0
        var failed = 0
        var all = 0
        for outcome in outcomes where outcome.kind != .abandoned {
            all += 1
            switch (outcome.kind, outcome.status) {
            case (.success, _): histogram.recordClamped(outcome.latency)
            case (.status, 429), (.status, 503): refused += 1
            default: failed += 1
            }
        }
        scheduledRate = seconds > 0 ? Double(all) / seconds : 0
        goodput = seconds > 0 ? Double(histogram.totalCount) / seconds : 0
        refusedShare = all > 0 ? Double(refused) / Double(all) : 0
        failedShare = all > 0 ? Double(failed) / Double(all) : 0
        p99Micros = LatencySummary.percentile(99, of: histogram)
    }
}

extension ArraySlice<Outcome> {
    /// The first index whose outcome was due at the instant or later; the outcomes are in that order.
    fileprivate func partition(from instant: UInt64) -> Int {
        var low = startIndex
        var high = endIndex
        while low < high {
            let middle = (low + high) / 2
            if self[middle].scheduled < instant { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
