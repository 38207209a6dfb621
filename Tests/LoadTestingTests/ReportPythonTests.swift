import Foundation
import Histogram
import Testing

@testable import LoadTesting

/// Holds the histogram's forms to another implementation, `hdrhistogram` of PyPI.
@Suite struct ReportPythonTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    private static let isInstalled = (try? python("import hdrh.histogram")) != nil

    private struct Failed: Error {
        var status: Int32
    }

    private static func python(_ script: String, _ arguments: [String] = []) throws -> String {
        let process = Process()
        process.executableURL = root.appendingPathComponent(".venv/bin/python")
        process.arguments = ["-c", script] + arguments
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failed(status: process.terminationStatus) }
        return String(decoding: data, as: UTF8.self)
    }

    private static let hint: Comment = ".venv/bin/python -m pip install -r Tests/requirements.txt"

    @Test(.enabled(if: isInstalled, hint)) func pythonReadsTheCounts() throws {
        let run = SyntheticRun(seconds: 5).result
        let script = """
            import sys
            from hdrh.histogram import HdrHistogram
            h = HdrHistogram.decode(open(sys.argv[1]).read())
            print(h.get_total_count(), *[int(h.get_value_at_percentile(p)) for p in (50, 90, 99)])
            for i in h.get_recorded_iterator():
                print(h.get_lowest_equivalent_value(i.value_iterated_to), i.count_at_value_iterated_to)
            """
        let lines = try withTemporaryFile(Data(HistogramCodec.text(run.latency).utf8)) { try Self.python(script, [$0]) }
            .split(separator: "\n")
        // 1000 samples: the ranks are whole numbers, so that the two ways to round them agree.
        let expected = [50.0, 90, 99].map { run.latency.valueAtPercentile($0) }
        #expect(lines[0] == "1000 " + expected.map { "\($0)" }.joined(separator: " "))
        let cells = run.latency.recordedValues().map { "\(run.latency.lowestEquivalentForValue($0.value)) \($0.count)" }
        #expect(lines.dropFirst() == cells[...].map { Substring($0) }[...])
    }

    @Test(.enabled(if: isInstalled, hint)) func pythonReadsTheIntervalLog() throws {
        let first = SyntheticRun(seed: 3, seconds: 3).result
        var second = SyntheticRun(seed: 4, seconds: 2, rate: 100).result
        second.startedAt += 60
        second.end -= 500_000_000
        let script = """
            import sys
            from hdrh.histogram import HdrHistogram
            from hdrh.log import HistogramLogReader
            r = HistogramLogReader(sys.argv[1], HdrHistogram(1000, 60000000000, 3))
            while True:
                h = r.get_next_interval_histogram()
                if h is None: break
                print(round(h.get_start_time_stamp()), round(h.get_end_time_stamp()), h.get_total_count(), \
            int(h.get_max_value()))
            """
        let text = IntervalLog.text([first, second])
        #expect(text.hasPrefix("#[Histogram log format version 1.3]\n"))
        let lines = try withTemporaryFile(Data(text.utf8)) { try Self.python(script, [$0]) }.split(separator: "\n")
        // From the outcomes themselves. The start is in milliseconds of the epoch.
        func line(_ run: RunResult, _ from: Double, _ to: Double, at offset: Double) -> String {
            let latencies = run.outcomes.filter {
                Double($0.scheduled) >= from * 1e9 && (Double($0.scheduled) < to * 1e9 || to == Double(run.end) / 1e9)
            }.map(\.latency)
            let start = 1_800_000_000_250 + offset * 1000
            let maximum = run.latency.highestEquivalentForValue(latencies.max() ?? 0)
            return "\(Int(start + from * 1000)) \(Int(start + to * 1000)) \(latencies.count) \(maximum)"
        }
        #expect(
            lines.map(String.init) == [
                line(first, 1, 2, at: 0), line(first, 2, 3, at: 0), line(first, 3, 4, at: 0),
                line(second, 1, 2, at: 60),
                line(second, 2, 2.5, at: 60),
            ])
    }

    /// The package's own table halves its steps at another pace than HdrHistogram, so Python makes the table here from the
    /// cells: ten steps to 50 %, five more for each halving of what is left to 100 %.
    @Test(.enabled(if: isInstalled, hint)) func pythonMakesTheSameDistribution() throws {
        let run = SyntheticRun(seconds: 5).result
        let script = """
            import math, sys
            from hdrh.histogram import HdrHistogram
            h = HdrHistogram.decode(open(sys.argv[1]).read())
            total = h.get_total_count()
            cells, below = [], 0
            for i in h.get_recorded_iterator():
                below += i.count_at_value_iterated_to
                cells.append((i.value_iterated_to / 1e6, below))
            print("%12s %14s %10s %14s" % ("Value", "Percentile", "TotalCount", "1/(1-Percentile)"))
            level = 0.0
            while True:
                value, count = next(c for c in cells if 100.0 * c[1] / total >= level)
                print("%12.3f %2.12f %10d %14.2f" % (value, level / 100, count, 1 / (1 - level / 100)))
                if count == total: break
                level += 100 / (5 * 2 ** (math.floor(math.log2(100 / (100 - level))) + 1))
            print("%12.3f %2.12f %10d" % (cells[-1][0], 1, total))
            """
        func table(_ text: String) -> [Substring] { text.split(separator: "\n").filter { !$0.hasPrefix("#") } }
        let expected = try withTemporaryFile(Data(HistogramCodec.text(run.latency).utf8)) {
            try Self.python(script, [$0])
        }
        let text = PercentileDistribution.text(run.latency)
        #expect(table(text).count > 20)
        #expect(table(text) == table(expected))
        let maximum = Double(run.latency.highestEquivalentForValue(run.latency.maxRecorded)) / 1e6
        #expect(text.contains(String(format: "#[Max     = %12.3f, Total count    =         1000]", maximum)))
    }
}
