import Foundation
import Testing

@testable import LoadTesting

/// Which requests are of a swap and which of the quiet time between, and how much slower the former are.
@Suite struct SwapWindowsTests {
    private static let second: UInt64 = 1_000_000_000

    private func mark(_ start: Double, _ end: Double, kind: String = "swap") -> RunResult.Mark {
        RunResult.Mark(kind: kind, label: "", start: UInt64(start * 1e9), end: UInt64(end * 1e9))
    }

    private func pairs(_ marks: [RunResult.Mark], seconds: Double = 20, warmup: UInt64 = 0) -> [[Double]] {
        SwapWindows(KnownRun.result([], seconds: seconds, scheduledRate: 1, warmupEnd: warmup, marks: marks)).pairs.map
        {
            [$0.swap.lowerBound, $0.swap.upperBound, $0.quiet.lowerBound, $0.quiet.upperBound].map { Double($0) / 1e9 }
        }
    }

    @Test func quietIsAsLongAndAsLateAsCanBe() {
        #expect(pairs([mark(2, 3), mark(8, 10)]) == [[2, 3, 7, 8], [8, 10, 18, 20]])
        // The publishing of the next is no quiet time.
        #expect(pairs([mark(2, 3), mark(6, 8, kind: "publish"), mark(7, 9)]) == [[2, 3, 5, 6], [7, 9, 18, 20]])
        // Its own publishing may end after its window has begun.
        #expect(pairs([mark(1, 2.5, kind: "publish"), mark(2, 3)]) == [[2, 3, 19, 20]])
        // Other disturbances lie under all of it.
        #expect(pairs([mark(0, 20, kind: "slow clients"), mark(2, 3)]) == [[2, 3, 19, 20]])
    }

    @Test func whereThereIsNoRoomThereIsLess() {
        #expect(pairs([mark(2, 4), mark(5, 6)]) == [[2, 4, 4, 5], [5, 6, 19, 20]])
        #expect(pairs([mark(2, 4), mark(4, 6)]) == [[2, 4, 4, 4], [4, 6, 18, 20]])
        // Overlapping ones share nothing.
        #expect(pairs([mark(2, 5), mark(4, 6)]) == [[2, 5, 5, 5], [5, 6, 18, 20]])
        #expect(pairs([mark(2, 8), mark(3, 4)]) == [[2, 8, 8, 8], [8, 8, 19, 20]])
        // Beyond the end, and before the end of the warm-up.
        #expect(pairs([mark(15, 30)]) == [[15, 20, 20, 20]])
        #expect(pairs([mark(1, 3)], seconds: 10, warmup: 2 * Self.second) == [[2, 3, 10, 12]])
        #expect(pairs([mark(0, 1)], seconds: 10, warmup: 2 * Self.second) == [[2, 2, 11, 12]])
    }

    /// At 1000 requests per second, each outcome visited belongs to the window it was due in.
    @Test func outcomesAreVisitedOnce() {
        let outcomes = (0..<20_000).map { KnownRun.outcome(due: UInt64($0) * 1_000_000) }
        let marks = [mark(2, 3), mark(8, 10), mark(10, 10.5)]
        let run = KnownRun.result(outcomes, seconds: 20, marks: marks)
        var seen: [String: Int] = [:]
        var latest: UInt64 = 0
        SwapWindows(run).visit(run) { outcome, window, pair in
            seen["\(window) \(pair)", default: 0] += 1
            #expect(outcome.scheduled >= latest)
            latest = outcome.scheduled
        }
        // The quiet window of the second is empty: the third follows at once.
        #expect(seen == ["swap 0": 1000, "quiet 0": 1000, "swap 1": 2000, "swap 2": 500, "quiet 2": 500])
    }

    /// Swaps of one second every four, in which each request takes `factor` times as long; windows differ by up to a tenth.
    private func run(swaps: Int, factor: Double, seed: UInt64 = 1) -> RunResult {
        var random = SplitMix64(seed: seed)
        let marks = (0..<swaps).map { mark(Double(4 * $0) + 2, Double(4 * $0) + 3) }
        var outcomes: [Outcome] = []
        for quarter in 0..<(swaps * 4) {
            let pace = 1 + 0.1 * random.unit()
            for number in 0..<500 {
                let due = UInt64(quarter) * Self.second + UInt64(number) * 2_000_000
                // A tail that is known: 2 % take four times as long.
                let base = number % 50 == 7 ? 800_000.0 : 200_000
                let service = base * pace * (quarter % 4 == 2 ? factor : 1)
                outcomes.append(KnownRun.outcome(due: due, service: UInt64(service)))
            }
        }
        return KnownRun.result(outcomes, seconds: Double(swaps * 4), marks: marks)
    }

    @Test func ratiosAndTheirIntervalsHoldTheTruth() throws {
        for (factor, seed) in [(1.0, UInt64(1)), (1.0, 2), (1.5, 3), (0.8, 4)] {
            let ratios = SwapRatio.of([run(swaps: 40, factor: factor, seed: seed)], seed: 7)
            #expect(ratios.map(\.percentile) == [50, 90, 99, 99.9])
            for ratio in ratios {
                #expect(abs(ratio.ratio / factor - 1) < 0.03, "\(ratio)")
                #expect(ratio.low <= ratio.ratio && ratio.ratio <= ratio.high)
                #expect(ratio.low < factor * 1.01 && factor * 0.99 < ratio.high, "\(ratio) of \(factor)")
                // Paces differ by 3 % from window to window; over 40 of them there is less left.
                #expect(ratio.high - ratio.low < 0.1 * factor)
            }
        }
    }

    /// One bad swap of forty moves the tail of the pooled windows, and the interval says that it hangs on few.
    @Test func oneBadSwapWidensTheInterval() throws {
        var bad = run(swaps: 40, factor: 1)
        for index in bad.outcomes.indices where (2..<3).contains(Double(bad.outcomes[index].scheduled) / 1e9) {
            bad.outcomes[index].serviceTicks *= 20
        }
        let p99 = try #require(SwapRatio.of([bad], seed: 7).first { $0.percentile == 99 })
        let calm = try #require(SwapRatio.of([run(swaps: 40, factor: 1)], seed: 7).first { $0.percentile == 99 })
        #expect(p99.ratio > 3)
        #expect(p99.high > 3 && p99.low < 1.1)
        #expect(calm.high - calm.low < 0.1)
    }

    @Test func fewSwapsHaveNoInterval() {
        #expect(SwapRatio.of([run(swaps: 4, factor: 1)], seed: 7) == [])
        #expect(SwapRatio.of([KnownRun.result([], seconds: 1, scheduledRate: 1)], seed: 7) == [])
    }
}
