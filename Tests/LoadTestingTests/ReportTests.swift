import Foundation
import Histogram
import Testing

@testable import LoadTesting

@Suite struct ReportTests {
    private func object(_ report: Report) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: try report.json()) as? [String: Any])
    }

    @Test func theJSONHoldsWhatIsPromised() throws {
        let report = SyntheticRun(
            failures: [
                0: (.status, 503), 7: (.status, 503), 8: (.status, 400), 9: (.closed, 0), 10: (.timeout, 0),
                11: (.malformed, 0), 12: (.abandoned, 0),
            ]
        ).report()
        let json = try object(report)
        #expect(json["format"] as? String == "belfry-loadtest/1")
        #expect(json["mode"] as? String == "open")
        #expect(json["scheduled_rate"] as? Double == 200)
        // 2000 requests in 10 s, 7 without success.
        #expect(json["achieved_rate"] as? Double == 199.3)
        #expect(json["requests"] as? Int == 2000)
        #expect(json["abandoned"] as? Int == 1)
        let errors = try #require(json["errors"] as? [String: Any])
        #expect(errors["total"] as? Int == 6)
        #expect(errors["share"] as? Double == 0.003)
        #expect(
            errors["by_kind"] as? [String: Int] == [
                "status 503": 2, "status 400": 1, "closed": 1, "timeout": 1, "malformed": 1,
            ])
        let latency = try #require(json["latency_us"] as? [String: Any])
        #expect(latency["count"] as? Int == 1993)
        #expect(latency["p99"] is Double)
        #expect(latency["p99.9"] is NSNull)
        for name in ["service_us", "send_lag_us", "connection_wait_us", "machine", "histograms"] {
            #expect(json[name] is [String: Any])
        }
        #expect(json["started_at"] as? String == "2027-01-15T08:00:00.250Z")
        #expect(json["duration_s"] as? Double == 10)
        #expect(json["warmup_s"] as? Double == 1)
        #expect(json["runs"] == nil)
        #expect(json["windows"] == nil)
    }

    @Test func percentilesAreThoseOfTheOutcomes() throws {
        let run = SyntheticRun(seconds: 20)
        let report = run.report()
        let sorted = run.result.outcomes.filter { $0.scheduled >= 1_000_000_000 }.map(\.latency).sorted()
        for (value, rank) in [(report.latencyUs.p50, 2000), (report.latencyUs.p90, 3600), (report.latencyUs.p99, 3960)]
        {
            let expected = Double(sorted[rank - 1]) / 1000
            #expect(abs(try #require(value) - expected) <= expected / 1000 + 1)
        }
        #expect(report.latencyUs.max == Double(try #require(sorted.last)) / 1000)
        // 2000 ns and 8000 ns of each are lag and wait.
        let service = try #require(report.serviceUs.p50)
        #expect(abs(try #require(report.latencyUs.p50) - service - 10) <= 1.5)
    }

    @Test func secondsAddUpToTheWhole() throws {
        var run = SyntheticRun(seconds: 4, failures: [250: (.timeout, 0)], snapshots: ["one", "two"])
        run.snapshot = { $0 < 3_000_000_000 ? 0 : 1 }
        let report = run.report()
        #expect(report.intervals.map(\.startS) == [1, 2, 3, 4])
        #expect(report.intervals.map(\.requests) == [200, 200, 200, 200])
        #expect(report.intervals.map(\.errors) == [0, 1, 0, 0])
        #expect(report.intervals.map(\.snapshots) == [["one": 200], ["one": 199], ["two": 200], ["two": 200]])
        var sum = LatencyHistogram.latencies()
        for interval in report.intervals { sum.add(try HistogramCodec.histogram(interval.latency)) }
        let whole = try HistogramCodec.histogram(report.histograms.latency)
        #expect(sum.totalCount == 799)
        #expect(sum.recordedValues().map(\.count) == whole.recordedValues().map(\.count))
        #expect(
            report.snapshots == [
                .init(id: "one", replies: 399, firstS: 1, lastS: 2.995),
                .init(id: "two", replies: 400, firstS: 3, lastS: 4.995),
            ])
        #expect(report.intervals.allSatisfy { $0.p50 != nil && $0.p99 != nil && $0.max != nil })
    }

    @Test func aSwapHasItsWindow() throws {
        let second: UInt64 = 1_000_000_000
        var run = SyntheticRun(seconds: 5)
        run.marks = [.init(kind: "swap", label: "two", start: 2 * second, end: 2 * second + second / 2, fault: nil)]
        let report = run.report()
        // Every 5 ms from 2.000 s to before 2.500 s, and in the last half second before the end at 6 s.
        #expect(report.windows?.swap.count == 100)
        #expect(report.windows?.quiet.count == 100)
        #expect(report.windows?.pairs == 1 && report.windows?.swapS == 0.5 && report.windows?.quietS == 0.5)
        #expect(report.marks == [.init(run: 0, kind: "swap", label: "two", startS: 2, endS: 2.5, fault: nil)])
    }

    @Test func severalRunsAreOneReport() throws {
        var second = SyntheticRun(seed: 2, seconds: 3, rate: 100, factor: 2).result
        second.startedAt += 30
        let runs = [SyntheticRun(seconds: 2, rate: 400).result, second]
        let report = Report(runs: runs, context: .init(target: "http://h/v1/retrieve", arrival: "poisson"))
        #expect(report.requests == 1100)
        #expect(report.durationS == 5)
        #expect(report.scheduledRate == 220)
        #expect(report.intervals.map(\.run) == [0, 0, 1, 1, 1])
        #expect(report.latencyUs.count == 1100)
        #expect(report.runs?.map(\.requests) == [800, 300])
        #expect(report.runs?.map(\.startedAt) == ["2027-01-15T08:00:00.250Z", "2027-01-15T08:00:30.250Z"])
    }

    @Test func itReadsWhatItWrote() throws {
        var run = SyntheticRun(seconds: 3, failures: [1: (.status, 503)])
        run.marks = [.init(kind: "swap", label: "x", start: 1, end: 2_000_000_000, fault: "refused")]
        let report = run.report {
            $0.options = [
                .init(name: "--threshold", value: "p(99)<5ms"), .init(name: "--threshold", value: "errors<1%"),
            ]
            $0.thresholds = [.init(expression: "p(99)<5ms", observed: 700, limit: 5000, verdict: .holds, reason: nil)]
            $0.latencyIntervals = ["p99": [600, 900]]
            $0.recall = RecallReport(
                requests: 9, skipped: [:], estimates: [.init(at: 10, mean: 0.9, low: 0.8, high: 1)])
            $0.invalid = ["because"]
            $0.exit = .invalid
        }
        #expect(try Report(json: try report.json(), name: "x") == report)
    }

    @Test func foreignAndDamagedFilesAreNamed() throws {
        func message(_ text: String) -> String {
            do {
                _ = try Report(json: Data(text.utf8), name: "a.json")
                return ""
            } catch {
                return error.description
            }
        }
        #expect(message("[1]").contains("a.json is no report of a load test"))
        #expect(message("{\"format\": ").contains("no whole JSON document"))
        #expect(message("{}").contains("found none"))
        #expect(message("{\"format\": \"k6\"}").contains("found 'k6'"))
        let text = String(decoding: try SyntheticRun(seconds: 1).report().json(), as: UTF8.self)
        #expect(message(text).isEmpty)
        let renamed = text.replacingOccurrences(of: "\"length_s\"", with: "\"length\"")
        #expect(message(renamed).contains("a.json is damaged: 'intervals[0].length_s' is missing"))
        #expect(
            message(text.replacingOccurrences(of: "\"valid\" : true", with: "\"valid\" : 3")).contains(
                "'valid' is no Bool"))
        #expect(throws: LoadTestError.self) { try Report(path: "/nonexistent/report.json") }
    }

    @Test func theTerminalSaysWhatMatters() {
        var run = SyntheticRun(seconds: 3, failures: [1: (.status, 503)])
        run.marks = [.init(kind: "swap", label: "two", start: 2_000_000_000, end: 2_500_000_000)]
        let report = run.report {
            $0.thresholds = [
                .init(expression: "p(99)<5ms", observed: 700.5, limit: 5000, verdict: .holds, reason: nil),
                .init(
                    expression: "errors<0.1%", unit: .fraction, observed: 0.00167, limit: 0.001, verdict: .fails,
                    reason: nil),
                .init(expression: "p(99.9)<9ms", observed: nil, limit: 9000, verdict: .unmeasured, reason: "too few"),
            ]
            $0.exit = .failed
            $0.latencyIntervals = ["p50": [390, 420]]
        }
        var changed = report
        changed.errorBodies = ["503": "{\"title\":\n\"no\u{1B}snapshot\"}"]
        let text = changed.text
        let lines = text.split(separator: "\n").map(String.init)
        #expect(lines.contains { $0.hasPrefix("open loop, constant arrivals, seed 1") })
        #expect(lines.contains("errors            0.1667 % (1): status 503 1"))
        #expect(lines.contains { $0.contains("503: {\"title\": \"no snapshot\"}") })
        #expect(lines.contains("  ✓ p(99)<5ms   observed 700.5 us, limit 5 ms"))
        #expect(lines.contains("  ✗ errors<0.1%   observed 0.167 %, limit 0.1 %"))
        #expect(lines.contains("  ? p(99.9)<9ms   observed -, limit 9 ms (too few)"))
        #expect(lines.last == "FAILED: 1 of 3 thresholds does not hold")
        #expect(!text.contains("CLOSED LOOP"))
        // 599 samples: p90 has 59 above it, p99 5. The columns are 10 wide.
        let latency = lines.first { $0.hasPrefix("latency ") }?.split(separator: " ") ?? []
        #expect(latency.count == 9)
        #expect(latency[4...6] == ["-", "-", "-"])
        let header = lines.first { $0.hasPrefix("microseconds") }
        #expect(header?.count == lines.first { $0.hasPrefix("latency ") }?.count)
    }

    @Test func closedLoopIsLoud() {
        var run = SyntheticRun(seconds: 2)
        run.isOpenLoop = false
        let report = run.report { $0.arrival = "closed" }
        #expect(report.mode == .closed)
        #expect(report.text.contains("CLOSED LOOP"))
        #expect(!report.text.contains("scheduled"))
    }

    @Test func theMachineIsThisOne() throws {
        let machine = Machine.current()
        #expect(machine.cores == ProcessInfo.processInfo.processorCount)
        #expect(machine.allowedCores >= 1 && machine.allowedCores <= machine.cores)
        #expect(abs(machine.memoryGiB - Double(ProcessInfo.processInfo.physicalMemory) / Double(1 << 30)) < 0.2)
        #expect(machine.cpu != "unknown" && machine.system != "unknown" && !machine.kernel.isEmpty)
    }
}
