internal import JSON
internal import Memory

/// Every request of the runs that was sent or given up, the warm-up's too, in the order they were due, as CSV: for those who want to see more than
/// percentiles. Times in nanoseconds; see `Outcome` for what each is. `unix_ns` is `scheduled_ns` by the wall clock, to about a
/// microsecond, for those who look for the instant in another log.
///
///     run,unix_ns,scheduled_ns,lag_ns,wait_ns,service_ns,server_ns,status,outcome
///     1,1796049600001200016,1200016,2096,0,183040,151008,200,success
public enum RequestRecords {
    /// The file's bytes. `server_ns` and `status` are empty where the server did not say.
    public static func csv(_ runs: [RunResult]) -> [UInt8] {
        var writer = ByteWriter(capacity: 1 << 16)
        writer.append("run,unix_ns,scheduled_ns,lag_ns,wait_ns,service_ns,server_ns,status,outcome\n")
        for (number, run) in runs.enumerated() {
            // A Double of today holds half a microsecond.
            let start = UInt64((run.startedAt * 1e6).rounded()) * 1000
            for outcome in run.outcomes {
                writer.appendJSON(number + 1)
                for value in [start + outcome.scheduled, outcome.scheduled, outcome.lag, outcome.wait, outcome.service]
                {
                    writer.append(",")
                    writer.appendJSON(value)
                }
                for value in [Int(outcome.server), Int(outcome.status)] {
                    writer.append(",")
                    if value > 0 { writer.appendJSON(value) }
                }
                writer.append(",")
                writer.append(text: "\(outcome.kind)")
                writer.append("\n")
            }
        }
        return writer.withUnsafeBytes { Array($0) }
    }
}
