internal import Histogram

/// How far percentiles would move in another run: 95 % intervals by the percentile bootstrap (Efron and Tibshirani, 1993).
/// What is drawn again is whole seconds, because the latencies within a second depend on each other; of several runs, first
/// the runs and then their seconds.
public enum BootstrapIntervals {
    /// With fewer seconds than this there is no interval.
    public static let blockCountMin = 5

    /// The percentiles that get an interval, by their names in the report.
    static let percentiles: [(name: String, value: Double)] = [
        ("p50", 50), ("p90", 90), ("p99", 99), ("p99.9", 99.9),
    ]

    /// The latencies of one second, which value how often.
    struct Block {
        let run: Int
        var counts: [UInt64: Int] = [:]
        var count = 0
    }

    /// Lower and upper end in microseconds, by percentile name; percentiles with fewer than 10 samples above them are left
    /// out, and without enough seconds all are.
    public static func of(_ runs: [RunResult], resamples: Int = 1000, seed: UInt64) -> [String: [Double]] {
        let sample = WeightedSample(blocks: runs.enumerated().flatMap { blocks($1, run: $0) }, runCount: runs.count)
        var pooled = LatencyHistogram.latencies()
        for run in runs { pooled.add(run.latency) }
        let wanted = percentiles.filter { LatencySummary.percentile($0.value, of: pooled) != nil }
        guard sample.blockCount >= blockCountMin, !wanted.isEmpty else { return [:] }
        var random = SplitMix64(seed: seed)
        var drawn = [[Double]](repeating: [], count: wanted.count)
        for _ in 0..<resamples {
            let values = sample.quantiles(wanted.map { $0.value / 100 }, weights: sample.draw(&random))
            for (index, value) in values.enumerated() { drawn[index].append(value) }
        }
        var intervals: [String: [Double]] = [:]
        for (index, percentile) in wanted.enumerated() {
            let ascending = drawn[index].sorted()
            intervals[percentile.name] = [
                ascending[Int(0.025 * Double(resamples))], ascending[Int(0.975 * Double(resamples))],
            ]
        }
        return intervals
    }

    static func blocks(_ result: RunResult, run: Int) -> [Block] {
        var blocks: [UInt64: Block] = [:]
        for outcome in result.counted where outcome.kind == .success {
            let second = (outcome.scheduled - result.warmupEnd) / 1_000_000_000
            let value = result.latency.highestEquivalentForValue(min(outcome.latency, 60_000_000_000))
            blocks[second, default: Block(run: run)].counts[value, default: 0] += 1
            blocks[second]!.count += 1
        }
        return blocks.sorted { $0.key < $1.key }.map(\.value)
    }
}

/// Values in ascending order with the block each belongs to, so that a resample is a walk and not a sort.
struct WeightedSample {
    private struct Entry {
        let value: UInt64
        let block: Int
        let count: Int
    }

    private let entries: [Entry]
    private let counts: [Int]  // by block
    private let blocksOfRuns: [[Int]]

    var blockCount: Int { counts.count }

    init(blocks: [BootstrapIntervals.Block], runCount: Int) {
        entries = blocks.enumerated().flatMap { number, block in
            block.counts.map { Entry(value: $0.key, block: number, count: $0.value) }
        }.sorted { ($0.value, $0.block) < ($1.value, $1.block) }
        counts = blocks.map(\.count)
        blocksOfRuns = (0..<runCount).map { run in blocks.indices.filter { blocks[$0].run == run } }
            .filter { !$0.isEmpty }
    }

    /// How often each block is in a resample.
    func draw(_ random: inout SplitMix64) -> [Int] {
        var weights = [Int](repeating: 0, count: counts.count)
        for _ in blocksOfRuns.indices {
            let run = blocksOfRuns[Int(random.next() % UInt64(blocksOfRuns.count))]
            for _ in run.indices { weights[run[Int(random.next() % UInt64(run.count))]] += 1 }
        }
        return weights
    }

    /// Quantiles in microseconds; `quantiles` ascend, 0 to 1.
    func quantiles(_ quantiles: [Double], weights: [Int]) -> [Double] {
        let total = zip(weights, counts).reduce(0) { $0 + $1.0 * $1.1 }
        var results: [Double] = []
        var seen = 0
        var next = 0
        for entry in entries where weights[entry.block] > 0 {
            seen += entry.count * weights[entry.block]
            while next < quantiles.count, Double(seen) >= quantiles[next] * Double(total) {
                results.append(Double(entry.value) / 1000)
                next += 1
            }
            if next == quantiles.count { break }
        }
        while results.count < quantiles.count { results.append(Double(entries.last?.value ?? 0) / 1000) }
        return results
    }
}
