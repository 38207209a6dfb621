/// One second of a run's counted part, by scheduled instants; the last one may be shorter.
struct RunInterval {
    /// In nanoseconds from the start of the run.
    var start: UInt64
    var end: UInt64
    var requests = 0
    var succeeded = 0
    var errors = 0
    var latency = LatencyHistogram.latencies()
    /// Replies by index into `RunResult.snapshots`.
    var snapshots: [Int: Int] = [:]

    init(start: UInt64, end: UInt64) {
        self.start = start
        self.end = end
    }
}

extension RunResult {
    /// What each second of the counted part becomes. One at a time, as a histogram takes 150 KB.
    func mapIntervals<Element>(_ transform: (RunInterval) -> Element) -> [Element] {
        var elements: [Element] = []
        let counted = counted
        var next = counted.startIndex
        var start = warmupEnd
        while start < end {
            var interval = RunInterval(start: start, end: Swift.min(start + 1_000_000_000, end))
            // In closed loop a request may be sent right at the end.
            while next < counted.endIndex, interval.end == end || counted[next].scheduled < interval.end {
                interval.count(counted[next])
                next += 1
            }
            elements.append(transform(interval))
            start = interval.end
        }
        return elements
    }
}

extension RunInterval {
    fileprivate mutating func count(_ outcome: Outcome) {
        guard outcome.kind != .pending else { return }
        requests += 1
        if outcome.kind == .success {
            succeeded += 1
            latency.recordClamped(outcome.latency)
        } else if outcome.kind != .abandoned {
            errors += 1
        }
        if outcome.snapshot != 255 { snapshots[Int(outcome.snapshot), default: 0] += 1 }
    }
}
