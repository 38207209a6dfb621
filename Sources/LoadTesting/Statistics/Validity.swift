internal import Foundation
internal import Histogram

/// Whether a run's figures are the server's, and not the generator's.
public enum Validity {
    /// A send lag below this never makes a run invalid, in microseconds.
    public static let sendLagMicrosFloor = 100.0
    /// Nor does one below this share of the median latency.
    public static let sendLagShare = 0.05

    /// Why the run says nothing; empty if it does.
    ///
    /// - sendLagMax: the limit for the send lag's p99, in nanoseconds; nil for the rule, the larger of the two above.
    public static func faults(_ result: RunResult, sendLagMax: UInt64? = nil) -> [String] {
        var faults: [String] = []
        if result.isCut { faults.append("the run was stopped before its end") }
        if result.latency.totalCount == 0 {
            // Nothing was measured: a server that is not there must not pass a test for speed.
            faults.append("no request succeeded")
        }
        if let lateness = lateness(result, sendLagMax: sendLagMax) { faults.append(lateness) }
        return faults
    }

    /// That the generator was late, or nil if it was not.
    static func lateness(_ result: RunResult, sendLagMax: UInt64?) -> String? {
        guard result.isOpenLoop, result.sendLag.totalCount > 0 else { return nil }
        let lag = Double(result.sendLag.valueAtPercentile(99)) / 1000
        let median = Double(result.latency.valueAtPercentile(50)) / 1000
        let limit = sendLagMax.map { Double($0) / 1000 } ?? max(sendLagMicrosFloor, sendLagShare * median)
        guard lag > limit else { return nil }
        return String(format: "the generator was late: send lag p99 is %.1f us, the limit is %.1f us; ", lag, limit)
            + "give it a core of its own (taskset), more --threads, or a lower rate"
    }
}
