import Histogram

@testable import LoadTesting

/// Runs made by hand: each request is spelled out, and the histograms are recorded from the requests alone.
enum HandMade {
    static let second: UInt64 = 1_000_000_000

    /// One request; times in nanoseconds, of which outcomes keep multiples of 16.
    static func outcome(
        at scheduled: UInt64, _ kind: OutcomeKind = .success, status: UInt16? = nil, lag: UInt64 = 0, wait: UInt64 = 0,
        service: UInt64 = 160_000
    ) -> Outcome {
        var outcome = Outcome(scheduled: scheduled)
        outcome.kind = kind
        outcome.status = status ?? (kind == .success ? 200 : 0)
        outcome.lagTicks = UInt32(lag / 16)
        outcome.waitTicks = UInt32(wait / 16)
        outcome.serviceTicks = UInt32(service / 16)
        return outcome
    }

    static func run(
        _ outcomes: [Outcome], warmupEnd: UInt64 = 0, end: UInt64 = 10 * second, marks: [RunResult.Mark] = [],
        isOpenLoop: Bool = true, scheduledRate: Double = 100, isCut: Bool = false
    ) -> RunResult {
        var result = RunResult(
            isOpenLoop: isOpenLoop, scheduledRate: scheduledRate, warmupEnd: warmupEnd, end: end, startedAt: 0,
            outcomes: outcomes, latency: .latencies(), service: .latencies(), sendLag: .latencies(),
            connectionWait: .latencies(), snapshots: [], marks: marks, kept: [], keptShare: 0, errorBodies: [:],
            isCut: isCut, reconnections: 0)
        for outcome in outcomes where outcome.scheduled >= warmupEnd {
            let lag = UInt64(outcome.lagTicks) * 16
            let wait = UInt64(outcome.waitTicks) * 16
            let service = UInt64(outcome.serviceTicks) * 16
            result.sendLag.record(lag)
            result.connectionWait.record(wait)
            guard outcome.kind == .success else { continue }
            result.latency.record(lag + wait + service)
            result.service.record(service)
        }
        return result
    }

    /// Successes at even distances with these latencies.
    static func run(latencies: [UInt64], end: UInt64 = 10 * second) -> RunResult {
        let gap = end / UInt64(max(1, latencies.count))
        return run(latencies.enumerated().map { outcome(at: UInt64($0) * gap, service: $1) }, end: end)
    }

    static func measurements(
        _ runs: RunResult..., validation: ValidationReport? = nil, recall: RecallReport? = nil
    ) -> Measurements {
        Measurements(runs: runs, validation: validation, recall: recall)
    }

    /// The upper end of the histogram's bucket that holds a value: 512 ns wide below 2^20 ns, twice as wide for each doubling.
    static func bucketEnd(_ nanoseconds: UInt64) -> UInt64 {
        var width: UInt64 = 512
        while nanoseconds >= width << 11 { width *= 2 }
        return nanoseconds / width * width + width - 1
    }
}
