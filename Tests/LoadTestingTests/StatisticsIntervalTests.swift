import Foundation
import Testing

@testable import LoadTesting

@Suite struct StatisticsIntervalTests {
    /// Exponential latencies with a mean of 1 ms, of which the quantile q is -log(1 - q) ms; `pace` is a factor by second.
    private func run(seconds: Int, rate: Int, random: inout SplitMix64, pace: (Int) -> Double = { _ in 1 }) -> RunResult
    {
        let gap = HandMade.second / UInt64(rate)
        return HandMade.run(
            (0..<seconds * rate).map { number in
                let nanoseconds = -log(random.unit()) * 1e6 * pace(number / rate)
                return HandMade.outcome(at: UInt64(number) * gap, service: UInt64(nanoseconds))
            }, end: UInt64(seconds) * HandMade.second)
    }

    /// How many of 200 intervals hold the true value. With a coverage of 95 % fewer than 171 have a chance below 1e-5, and the
    /// bootstrap of 40 blocks is known to cover a little less, 93 to 95 %: at 93 % fewer than 171 have one below 2e-4.
    /// An interval that always covers would be too wide: 200 of 200 has a chance of 4e-5.
    @Test func intervalsOfIndependentLatenciesCoverTheTruth() {
        var random = SplitMix64(seed: 5)
        let truths = [("p50", -log(0.5) * 1000), ("p90", -log(0.1) * 1000), ("p99", -log(0.01) * 1000)]
        var covered = [String: Int]()
        for repetition in 0..<200 {
            let result = run(seconds: 40, rate: 40, random: &random)
            let intervals = BootstrapIntervals.of([result], resamples: 300, seed: UInt64(repetition))
            #expect(intervals["p99.9"] == nil)  // 1600 samples have 1 above it
            for (name, truth) in truths {
                guard let interval = intervals[name], interval.count == 2, interval[0] < interval[1] else {
                    Issue.record("no interval of \(name)")
                    continue
                }
                // Values are reported as the ends of their buckets, which are at most 0.1 % wide.
                if interval[0] <= truth * 1.001, truth <= interval[1] { covered[name, default: 0] += 1 }
            }
        }
        for (name, _) in truths { #expect((171...199).contains(covered[name, default: 0]), "\(name): \(covered)") }
    }

    /// Were seconds drawn as if their requests were independent, seconds that differ by a quarter would not show.
    @Test func intervalsAreWiderWhereSecondsDiffer() throws {
        var random = SplitMix64(seed: 6)
        let even = run(seconds: 30, rate: 200, random: &random)
        let uneven = run(seconds: 30, rate: 200, random: &random) { $0 % 2 == 0 ? 0.75 : 1.25 }
        let narrow = try #require(BootstrapIntervals.of([even], seed: 1)["p50"])
        let wide = try #require(BootstrapIntervals.of([uneven], seed: 1)["p50"])
        #expect(wide[1] - wide[0] > 1.8 * (narrow[1] - narrow[0]))
    }

    /// Three runs that differ by a third: no resample of seconds alone would reach from one to the other.
    @Test func severalRunsAreDrawnAsWholes() throws {
        var random = SplitMix64(seed: 7)
        let runs = [0.8, 1.0, 1.2].map { factor in run(seconds: 20, rate: 200, random: &random) { _ in factor } }
        let intervals = BootstrapIntervals.of(runs, seed: 1)
        let interval = try #require(intervals["p50"])
        // All three draws are the same run in one of nine resamples, more than the 2.5 % that an end leaves out.
        #expect(interval[0] < -log(0.5) * 1000 * 0.83)
        #expect(interval[1] > -log(0.5) * 1000 * 1.17)
        let alone = try #require(BootstrapIntervals.of([runs[1]], seed: 1)["p50"])
        #expect(interval[1] - interval[0] > 2 * (alone[1] - alone[0]))
    }

    @Test func fewerThanFiveSecondsHaveNone() {
        var random = SplitMix64(seed: 8)
        #expect(BootstrapIntervals.of([run(seconds: 4, rate: 500, random: &random)], seed: 1).isEmpty)
        let five = BootstrapIntervals.of([run(seconds: 5, rate: 500, random: &random)], seed: 1)
        #expect(Set(five.keys) == ["p50", "p90", "p99"])
        #expect(BootstrapIntervals.of([], seed: 1).isEmpty)
        #expect(BootstrapIntervals.of([HandMade.run([])], seed: 1).isEmpty)
        // 50 seconds of one request: the median has ten above it, the 90th percentile does not.
        let sparse = BootstrapIntervals.of([run(seconds: 50, rate: 1, random: &random)], seed: 1)
        #expect(Set(sparse.keys) == ["p50"])
    }

    @Test func theSeedDecides() {
        var random = SplitMix64(seed: 9)
        let result = run(seconds: 20, rate: 100, random: &random)
        #expect(BootstrapIntervals.of([result], seed: 3) == BootstrapIntervals.of([result], seed: 3))
        #expect(BootstrapIntervals.of([result], seed: 3) != BootstrapIntervals.of([result], seed: 4))
    }

    /// All latencies equal: nothing can move. What failed or warmed up has no part in it.
    @Test func onlyCountedSuccessesAreDrawn() {
        let outcomes = (0..<20_000).map { number in
            let isWarmup = number < 5000
            return HandMade.outcome(
                at: UInt64(number) * 1_000_000, number % 7 == 0 ? .timeout : .success,
                service: isWarmup || number % 7 == 0 ? 48_000_000 : 1_600_000)
        }
        let result = HandMade.run(outcomes, warmupEnd: 5 * HandMade.second, end: 20 * HandMade.second)
        let end = Double(HandMade.bucketEnd(1_600_000)) / 1000
        for (name, interval) in BootstrapIntervals.of([result], seed: 1) {
            #expect(interval == [end, end], "\(name)")
        }
        #expect(BootstrapIntervals.of([result], seed: 1).count == 4)
    }
}
