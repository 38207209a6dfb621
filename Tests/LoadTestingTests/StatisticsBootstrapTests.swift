import Foundation
import Testing

@testable import LoadTesting

@Suite struct StatisticsBootstrapTests {
    /// Exponential latencies with a mean of 1 ms, times `factor`, evenly spread over the seconds.
    private func run(seconds: Int, perSecond: Int, seed: UInt64, factor: Double = 1) -> RunResult {
        var random = SplitMix64(seed: seed)
        let gap = 1_000_000_000 / UInt64(perSecond)
        let outcomes = (0..<seconds * perSecond).map {
            KnownRun.outcome(due: UInt64($0) * gap, service: UInt64(-log(random.unit()) * 1e6 * factor))
        }
        return KnownRun.result(outcomes, seconds: Double(seconds))
    }

    /// Of 300 intervals of 95 % between 272 and 297 hold the truth with a chance of .999, were they exact; percentile
    /// intervals of 20 blocks are known to be a little short, so that the lower bound is 265 (88 %).
    @Test func intervalsCoverTheTruth() {
        var covered = (median: 0, ninetieth: 0)
        for seed in 1...300 {
            let intervals = BootstrapIntervals.of(
                [run(seconds: 20, perSecond: 20, seed: UInt64(seed) * 7919)], resamples: 200, seed: UInt64(seed))
            // The quantiles of the exponential distribution are ln 2 and ln 10.
            if let ends = intervals["p50"], ends[0] <= 1000 * log(2), 1000 * log(2) <= ends[1] { covered.median += 1 }
            if let ends = intervals["p90"], ends[0] <= 1000 * log(10), 1000 * log(10) <= ends[1] {
                covered.ninetieth += 1
            }
        }
        #expect((265...297).contains(covered.median), "\(covered)")
        #expect((265...297).contains(covered.ninetieth), "\(covered)")
    }

    @Test func runsThatDifferWidenTheInterval() throws {
        let like = (1...3).map { run(seconds: 10, perSecond: 100, seed: $0) }
        let unlike = zip([1.0, 1.3, 1.6], 1...3).map { run(seconds: 10, perSecond: 100, seed: $1, factor: $0) }
        func relativeWidth(_ runs: [RunResult]) throws -> Double {
            let ends = try #require(BootstrapIntervals.of(runs, resamples: 300, seed: 1)["p50"])
            return (ends[1] - ends[0]) / ends[0]
        }
        #expect(try relativeWidth(unlike) > 2 * relativeWidth(like))
    }

    @Test func theSeedDecides() {
        let runs = [run(seconds: 6, perSecond: 200, seed: 1)]
        let intervals = BootstrapIntervals.of(runs, resamples: 100, seed: 1)
        #expect(intervals == BootstrapIntervals.of(runs, resamples: 100, seed: 1))
        #expect(intervals != BootstrapIntervals.of(runs, resamples: 100, seed: 2))
        // 1200 samples: 12 lie above p99 and 1 above p99.9.
        #expect(Set(intervals.keys) == ["p50", "p90", "p99"])
    }

    @Test func fewSecondsGiveNoInterval() {
        #expect(BootstrapIntervals.of([run(seconds: 4, perSecond: 500, seed: 1)], resamples: 10, seed: 1).isEmpty)
        #expect(BootstrapIntervals.of([], seed: 1).isEmpty)
    }
}
