import Histogram

@testable import LoadTesting

/// Runs whose figures are known beforehand.
enum KnownRun {
    /// One request, in nanoseconds.
    static func outcome(
        due: UInt64, service: UInt64 = 1_000_000, lag: UInt64 = 0, wait: UInt64 = 0, kind: OutcomeKind = .success,
        status: UInt16 = 200
    ) -> Outcome {
        var outcome = Outcome(scheduled: due)
        outcome.serviceTicks = Outcome.ticks(service)
        outcome.lagTicks = Outcome.ticks(lag)
        outcome.waitTicks = Outcome.ticks(wait)
        outcome.kind = kind
        outcome.status = kind == .success || kind == .status ? status : 0
        return outcome
    }

    /// A run of these outcomes, which have to be in the order they are due.
    static func result(
        _ outcomes: [Outcome], seconds: Double, scheduledRate: Double? = nil, warmupEnd: UInt64 = 0,
        marks: [RunResult.Mark] = [], isOpenLoop: Bool = true
    ) -> RunResult {
        var result = RunResult(
            isOpenLoop: isOpenLoop, scheduledRate: 0, warmupEnd: warmupEnd, end: warmupEnd + UInt64(seconds * 1e9),
            startedAt: 0, outcomes: outcomes, latency: .latencies(), service: .latencies(), sendLag: .latencies(),
            connectionWait: .latencies(), snapshots: [], marks: marks, kept: [], keptShare: 0, errorBodies: [:],
            isCut: false, reconnections: 0)
        result.scheduledRate = scheduledRate ?? Double(result.counted.count) / seconds
        for outcome in result.counted {
            result.sendLag.recordClamped(outcome.lag)
            result.connectionWait.recordClamped(outcome.wait)
            guard outcome.kind == .success else { continue }
            result.latency.recordClamped(outcome.latency)
            result.service.recordClamped(outcome.service)
        }
        return result
    }
}
