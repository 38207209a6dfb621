import Foundation
import TestSupport
import Testing

@testable import LoadTesting

@Suite struct ComparisonTests {
    private func verdicts(_ comparison: Comparison) -> [String: Comparison.Verdict] {
        Dictionary(uniqueKeysWithValues: comparison.rows.map { ($0.metric, $0.verdict) })
    }

    /// Other seeds of the same distribution. The intervals promise 5 % of false alarms at most: of 8 comparisons 2 would be
    /// too many.
    @Test func theSameDistributionIsNoDifference() throws {
        let baseline = SyntheticRun(seed: 1, seconds: 30).report()
        var alarms: [String] = []
        for seed in 11...18 as ClosedRange<UInt64> {
            let comparison = try Comparison(
                baseline: baseline, candidate: SyntheticRun(seed: seed, seconds: 30).report())
            #expect(comparison.warnings.isEmpty)
            #expect(comparison.rows.map(\.metric) == ["p50", "p90", "p99", "achieved rate", "error share"])
            if comparison.verdict != .noDifference { alarms.append(comparison.text) }
        }
        #expect(alarms.count <= 1, "\(alarms.joined(separator: "\n"))")
    }

    @Test func aShiftOfTenPercentIsSeenBothWays() throws {
        let fast = SyntheticRun(seed: 1, seconds: 30).report()
        let slow = SyntheticRun(seed: 2, seconds: 30, factor: 1.1).report()
        let down = try Comparison(baseline: fast, candidate: slow)
        #expect(down.verdict == .slower)
        #expect(verdicts(down)["p50"] == .slower && verdicts(down)["p90"] == .slower)
        #expect(verdicts(down)["achieved rate"] == .noDifference)
        let row = try #require(down.rows.first)
        // 400 us become 440, and 10 us of each are not the server's.
        #expect(abs(try #require(row.effect) - 1.1) < 0.02)
        #expect(try #require(row.low) < 1.1 && #require(row.high) > 1.09)
        #expect(down.text.contains("slower (p50 slower"))
        #expect(try Comparison(baseline: slow, candidate: fast).verdict == .faster)
    }

    /// The interval of a median over n independent samples is known: 1.253 deviations over the root of n; 99 % are 2.576 times that.
    @Test func intervalsHaveTheWidthThatTheoryGives() throws {
        var random = SeededRandom(seed: 8)
        func report() -> Report {
            var run = SyntheticRun(seconds: 100, warmupSeconds: 0, rate: 40).result
            run.latency = .latencies()
            for index in run.outcomes.indices {
                run.outcomes[index].serviceTicks = Outcome.ticks(UInt64(1e6 * exp(0.2 * Double(random.normal()))))
                run.latency.recordClamped(run.outcomes[index].latency)
            }
            return Report(runs: [run], context: .init(target: "http://h/", arrival: "constant"))
        }
        let row = try #require(try Comparison(baseline: report(), candidate: report()).rows.first)
        let width = try #require(row.high) - #require(row.low)
        // Both medians' logarithms vary by 0.2 * 1.253 / sqrt(4000), the ratio by sqrt(2) of it.
        let expected = 2 * 2.576 * 0.2 * 1.253 / 4000.0.squareRoot() * 2.0.squareRoot()
        #expect(width > 0.7 * expected && width < 1.4 * expected, "\(width), expected \(expected)")
    }

    @Test func theSameFilesGiveTheSameVerdict() throws {
        let reports = [SyntheticRun(seed: 1).report(), SyntheticRun(seed: 2).report()]
        let one = try Comparison(baseline: reports[0], candidate: reports[1])
        let two = try Comparison(baseline: reports[0], candidate: reports[1])
        #expect(one.rows == two.rows)
    }

    @Test func errorsAndRecallCount() throws {
        func recall(_ mean: Double) -> RecallReport {
            RecallReport(
                requests: 100, skipped: [:],
                estimates: [.init(at: 10, mean: mean, low: mean - 0.002, high: mean + 0.002)])
        }
        var failures: [Int: (kind: OutcomeKind, status: UInt16)] = [:]
        for index in stride(from: 0, to: 4000, by: 20) { failures[index] = (.status, 503) }
        let good = SyntheticRun(seed: 1, seconds: 20).report { $0.recall = recall(0.99) }
        let bad = SyntheticRun(seed: 1, seconds: 20, failures: failures).report { $0.recall = recall(0.98) }
        let comparison = try Comparison(baseline: good, candidate: bad)
        #expect(verdicts(comparison)["error share"] == .slower)
        #expect(verdicts(comparison)["achieved rate"] == .slower)
        #expect(verdicts(comparison)["recall@10"] == .slower)
        #expect(comparison.text.contains("error share worse"))
        // One error in 4000 may come and go.
        let one = SyntheticRun(seed: 1, seconds: 20, failures: [77: (.closed, 0)]).report { $0.recall = recall(0.9905) }
        let noise = try Comparison(baseline: good, candidate: one)
        #expect(verdicts(noise)["error share"] == .noDifference)
        #expect(verdicts(noise)["recall@10"] == .noDifference)
    }

    @Test func whatCannotBeComparedIsSaid() throws {
        let run = SyntheticRun(seed: 1, seconds: 12)
        let baseline = run.report()
        func warnings(_ candidate: Report) throws -> [String] {
            try Comparison(baseline: baseline, candidate: candidate).warnings
        }
        #expect(
            try warnings(run.report { $0.machine.cpu = "6502" }) == ["the machine's processor differs: Z80, then 6502"])
        #expect(try warnings(run.report { $0.arrival = "poisson" }).count == 1)
        #expect(try warnings(run.report { $0.target = "http://127.0.0.1:8080/v1/embed" }).count == 1)
        #expect(try warnings(run.report { $0.target = "http://elsewhere:9/v1/retrieve" }).isEmpty)
        #expect(try warnings(run.report { $0.machine.loadAverage = 1 }).isEmpty)
        #expect(
            try warnings(run.report { ($0.invalid, $0.exit) = (["late"], .invalid) })
                == ["the candidate's run is invalid: late"])
        var closed = run
        closed.isOpenLoop = false
        #expect(try warnings(closed.report()).contains { $0.hasPrefix("the loop differs: open, then closed") })
        var faster = run
        faster.rate = 250
        #expect(try warnings(faster.report()) == ["the scheduled rate differs: 200.0, then 250.0 requests/s"])
        var short = run
        short.seconds = 4
        #expect(try warnings(short.report()).contains { $0.hasPrefix("the candidate has 4 seconds") })
        let text = try Comparison(baseline: baseline, candidate: run.report { $0.machine.cores = 9 }).text
        #expect(text.contains("WARNING: the machine's number of cores differs: 2, then 9"))
    }

    @Test func optionsThatDifferAreNoted() throws {
        let run = SyntheticRun(seed: 1)
        let comparison = try Comparison(
            baseline: run.report {
                $0.options = [.init(name: "--k", value: "100"), .init(name: "--json", value: "a")]
            },
            candidate: run.report { $0.options = [.init(name: "--k", value: "10"), .init(name: "--json", value: "b")] })
        #expect(comparison.notes == ["--k: 100, then 10"])
    }

    @Test func damagedFilesAreNamed() throws {
        var report = SyntheticRun(seconds: 3).report()
        try withTemporaryFile(try report.json()) { whole in
            #expect(try Comparison(baseline: whole, candidate: whole).verdict == .noDifference)
            report.intervals[2].succeeded -= 1
            try withTemporaryFile(try report.json()) { damaged in
                #expect(
                    throws: LoadTestError.failed(
                        "\(damaged) is damaged: intervals[2] has 199 successes and 200 latencies")
                ) { try Comparison(baseline: damaged, candidate: whole) }
            }
            report.intervals[1].latency = "AAAA"
            try withTemporaryFile(try report.json()) { damaged in
                #expect(
                    throws: LoadTestError.failed(
                        "\(damaged) is damaged: intervals[1].latency: a histogram ends within its header")
                ) { try Comparison(baseline: whole, candidate: damaged) }
            }
            try withTemporaryFile(Data("{}".utf8)) { foreign in
                #expect(throws: LoadTestError.self) { try Comparison(baseline: foreign, candidate: whole) }
            }
        }
    }
}
