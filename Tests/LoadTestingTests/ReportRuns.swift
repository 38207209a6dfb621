import Foundation
import Histogram
import TestSupport

@testable import LoadTesting

/// Runs that never happened: outcomes are drawn, and everything a result holds is counted from them.
struct SyntheticRun {
    var seed: UInt64 = 1
    var seconds = 10
    var warmupSeconds: UInt64 = 1
    /// Requests in each second.
    var rate = 200
    /// All latencies are longer by this factor.
    var factor = 1.0
    /// Request i fails as this says.
    var failures: [Int: (kind: OutcomeKind, status: UInt16)] = [:]
    var snapshots = ["one"]
    /// Which snapshot answers, by nanoseconds from the start of the run.
    var snapshot: (UInt64) -> UInt8 = { _ in 0 }
    var marks: [RunResult.Mark] = []
    var isOpenLoop = true

    /// Latencies are log-normal around 400 us, and each second is faster or slower as a whole, as on a real machine.
    var result: RunResult {
        var random = SeededRandom(seed: seed)
        let warmupEnd = warmupSeconds * 1_000_000_000
        let end = warmupEnd + UInt64(seconds) * 1_000_000_000
        var result = RunResult(
            isOpenLoop: isOpenLoop, scheduledRate: isOpenLoop ? Double(rate) : 0, warmupEnd: warmupEnd, end: end,
            startedAt: 1_800_000_000.25, outcomes: [], latency: .latencies(), service: .latencies(),
            sendLag: .latencies(), connectionWait: .latencies(), snapshots: snapshots, marks: marks, kept: [],
            keptShare: 0.01, errorBodies: [:], reconnections: 2)
        let gap = 1_000_000_000 / UInt64(rate)
        var pace = 1.0
        for number in 0..<(Int(warmupSeconds) + seconds) * rate {
            if number % rate == 0 { pace = exp(0.02 * Double(random.normal())) }
            var outcome = Outcome(scheduled: UInt64(number) * gap)
            let nanoseconds = 400_000 * factor * pace * exp(0.3 * Double(random.normal()))
            outcome.lagTicks = Outcome.ticks(2_000)
            outcome.waitTicks = Outcome.ticks(8_000)
            outcome.serviceTicks = Outcome.ticks(UInt64(nanoseconds))
            outcome.kind = .success
            outcome.status = 200
            let counted = number - Int(warmupSeconds) * rate
            if let failure = failures[counted] {
                outcome.kind = failure.kind
                outcome.status = failure.status
            }
            if outcome.status != 0 { outcome.snapshot = snapshot(outcome.scheduled) }
            result.outcomes.append(outcome)
            guard counted >= 0 else { continue }
            result.sendLag.recordClamped(outcome.lag)
            result.connectionWait.recordClamped(outcome.wait)
            guard outcome.kind == .success else { continue }
            result.latency.recordClamped(outcome.latency)
            result.service.recordClamped(outcome.service)
        }
        return result
    }

    /// A report of it, on a machine that is the same wherever the test runs.
    func report(_ change: (inout Report.Context) -> Void = { _ in }) -> Report {
        var context = Report.Context(target: "http://127.0.0.1:8080/v1/retrieve", arrival: "constant")
        context.machine = Machine(
            cpu: "Z80", cores: 2, allowedCores: 2, kernel: "6.1 x86_64", memoryGiB: 16, system: "Debian", loadAverage: 0
        )
        change(&context)
        return Report(runs: [result], context: context)
    }
}

/// A file that is gone at the end of the test.
@discardableResult
func withTemporaryFile<Value>(_ data: Data, _ body: (String) throws -> Value) throws -> Value {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID()).json").path
    try data.write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
}
