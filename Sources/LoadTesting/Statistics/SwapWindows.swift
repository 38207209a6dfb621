internal import Histogram

/// The stretches of a run in which snapshots were swapped, and for each an equally long quiet one.
///
/// A swap's quiet window is the last part of the time from its end to whatever is done to the server next, or to the end of
/// the run: as far as can be from what the swap may have left behind. Where that time is shorter than the swap was it is all
/// of it.
struct SwapWindows {
    /// One swap, in nanoseconds from the start of the run.
    struct Pair: Equatable {
        /// What follows another swap's end while this one lasts; empty if it lies within another.
        var swap: Range<UInt64>
        /// Empty if nothing was quiet after it.
        var quiet: Range<UInt64>
    }

    private(set) var pairs: [Pair] = []

    init(_ run: RunResult) {
        let disturbing = run.marks.filter { $0.kind == "swap" || $0.kind == "publish" }.sorted { $0.start < $1.start }
        var latestEnd = run.warmupEnd
        for (number, mark) in disturbing.enumerated() where mark.kind == "swap" {
            let end = min(max(mark.end, latestEnd), run.end)
            let swap = min(max(mark.start, latestEnd), end)..<end
            latestEnd = max(latestEnd, end)
            let next = disturbing[(number + 1)...].first?.start ?? run.end
            let gapEnd = min(max(next, latestEnd), run.end)
            let length = min(mark.end - min(mark.start, mark.end), gapEnd - min(latestEnd, gapEnd))
            pairs.append(Pair(swap: swap, quiet: gapEnd - length..<gapEnd))
        }
    }

    /// Hands over each outcome that counts and lies in a window, in the order they were due, with the number of its pair.
    func visit(_ run: RunResult, _ body: (Outcome, Metric.Window, Int) -> Void) {
        // They follow each other: swap, quiet, swap, quiet.
        let stretches = pairs.enumerated().flatMap { number, pair in
            [(pair.swap, Metric.Window.swap, number), (pair.quiet, .quiet, number)]
        }.filter { !$0.0.isEmpty }
        var next = 0
        for outcome in run.counted {
            while next < stretches.count, stretches[next].0.upperBound <= outcome.scheduled { next += 1 }
            guard next < stretches.count else { return }
            if stretches[next].0.contains(outcome.scheduled) { body(outcome, stretches[next].1, stretches[next].2) }
        }
    }
}

/// How many times slower requests are while a snapshot is swapped than otherwise, with 95 % intervals by the bootstrap: drawn
/// again are the swaps, each with its quiet window, because what happens within one is not independent.
public struct SwapRatio: Codable, Sendable, Equatable {
    /// 50, 90, 99 or 99.9.
    public var percentile: Double
    /// The percentile in the swaps' windows by that in the quiet ones.
    public var ratio: Double
    /// The interval's lower end.
    public var low: Double
    /// The interval's upper end.
    public var high: Double

    /// Fewer swaps than this give no interval.
    static let pairCountMin = 5

    /// The ratios of all percentiles with enough samples above them in both kinds of window.
    static func of(_ runs: [RunResult], resamples: Int = 2000, seed: UInt64) -> [SwapRatio] {
        var blocks: [Metric.Window: [BootstrapIntervals.Block]] = [.swap: [], .quiet: []]
        var histograms: [Metric.Window: LatencyHistogram] = [.swap: .latencies(), .quiet: .latencies()]
        for run in runs {
            let windows = SwapWindows(run)
            let first = blocks[.swap]!.count
            for window in [Metric.Window.swap, .quiet] {
                blocks[window]! += windows.pairs.map { _ in BootstrapIntervals.Block(run: 0) }
            }
            windows.visit(run) { outcome, window, pair in
                guard outcome.kind == .success else { return }
                let value = run.latency.highestEquivalentForValue(min(outcome.latency, 60_000_000_000))
                blocks[window]![first + pair].counts[value, default: 0] += 1
                blocks[window]![first + pair].count += 1
                histograms[window]!.recordClamped(outcome.latency)
            }
        }
        let wanted = [50.0, 90, 99, 99.9].filter { percentile in
            histograms.values.allSatisfy { LatencySummary.percentile(percentile, of: $0) != nil }
        }
        let swap = WeightedSample(blocks: blocks[.swap]!, runCount: 1)
        let quiet = WeightedSample(blocks: blocks[.quiet]!, runCount: 1)
        guard swap.blockCount >= pairCountMin, !wanted.isEmpty else { return [] }
        let quantiles = wanted.map { $0 / 100 }
        func ratios(_ weights: [Int]) -> [Double] {
            zip(swap.quantiles(quantiles, weights: weights), quiet.quantiles(quantiles, weights: weights)).map {
                $1 > 0 ? $0 / $1 : .infinity
            }
        }
        let observed = ratios([Int](repeating: 1, count: swap.blockCount))
        var random = SplitMix64(seed: seed)
        let drawn = (0..<resamples).map { _ in ratios(swap.draw(&random)) }
        return wanted.indices.map { index in
            let ascending = drawn.map { $0[index] }.sorted()
            return SwapRatio(
                percentile: wanted[index], ratio: observed[index], low: ascending[Int(0.025 * Double(resamples))],
                high: ascending[Int(0.975 * Double(resamples))])
        }
    }
}
