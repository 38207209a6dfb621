#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Shows on standard error how far a run is: one line that is written over on a terminal, a line every ten seconds in a log.
struct ProgressLine: Disturbance {
    let label: String
    let progress: LoadProgress
    /// Of the whole run.
    let seconds: Double

    private static let isTerminal = isatty(2) == 1

    func act(clock: () -> UInt64, isOver: () -> Bool) -> [RunResult.Mark] {
        let stepMillis = Self.isTerminal ? 1000 : 10_000
        var latest = (sent: 0, done: 0, instant: 0.0)
        while true {
            for _ in 0..<stepMillis / 50 where !isOver() { usleep(50_000) }
            if isOver() { break }
            let instant = Double(clock()) / 1e9
            let now = (sent: progress.sent, done: progress.done, instant: instant)
            let rate = Double(now.done - latest.done) / max(0.001, now.instant - latest.instant)
            // What timed out before it could be sent is done without having been under way.
            let underWay = max(0, now.sent - now.done)
            write(
                "\(label): \(Int(instant)) of \(Int(seconds.rounded())) s, \(Int(rate.rounded()))/s, "
                    + "\(now.done) done, \(underWay) under way, \(progress.errors) errors")
            latest = now
        }
        if Self.isTerminal { write("") }
        return []
    }

    private func write(_ text: String) {
        var line = Self.isTerminal ? "\r\(text)\u{1B}[K" : "\(text)\n"
        _ = line.withUTF8 { Glibc.write(2, $0.baseAddress, $0.count) }
    }
}
