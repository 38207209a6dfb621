internal import Foundation
internal import Histogram

/// HdrHistogram's interval log, format 1.3: a line per second with its histogram of latencies in nanoseconds. Its own
/// tools read and plot it (HistogramLogAnalyzer, HistogramLogProcessor).
public enum IntervalLog {
    /// The log of runs in the order they ran, warm-ups left out. The column of maxima is in milliseconds, as its tools expect.
    public static func text(_ runs: [RunResult]) -> String {
        guard let origin = runs.first?.startedAt else { return "" }
        let startTime = fixed(origin, 3)
        var lines = [
            "#[Histogram log format version 1.3]",
            "#[StartTime: \(startTime) (seconds since epoch), \(Report.instant(origin))]",
            "#[BaseTime: \(startTime) (seconds since epoch)]",
            #""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#,
        ]
        for run in runs {
            let offset = run.startedAt - origin
            lines += run.mapIntervals { interval in
                let start = fixed(offset + Double(interval.start) / 1e9, 3)
                let length = fixed(Double(interval.end - interval.start) / 1e9, 3)
                let maximum = fixed(Double(interval.latency.maxRecorded) / 1e6, 3)
                return "\(start),\(length),\(maximum),\(HistogramCodec.text(interval.latency))"
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// A number with as many digits behind the point.
func fixed(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
}
