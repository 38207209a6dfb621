internal import Histogram

/// What thresholds are judged by: one or several runs together, and what was found about their replies.
public struct Measurements {
    /// Why a value is not known.
    struct Unmeasured: Error {
        let reason: String
    }

    private let runs: [RunResult]
    private let validation: ValidationReport?
    private let recall: RecallReport?

    /// Puts together what a threshold may ask for.
    public init(runs: [RunResult], validation: ValidationReport?, recall: RecallReport?) {
        self.runs = runs
        self.validation = validation
        self.recall = recall
    }

    /// Requests per second that were due, the mean of the runs.
    var scheduledRate: Double { runs.reduce(0) { $0 + $1.scheduledRate } / Double(max(1, runs.count)) }

    /// Successes per second of counted time, of all runs together.
    var successesPerSecond: Double {
        let seconds = runs.reduce(0.0) { $0 + Double($1.end - min($1.end, $1.warmupEnd)) / 1e9 }
        let successes = runs.reduce(0) { $0 + $1.counted.count { $0.kind == .success } }
        return seconds > 0 ? Double(successes) / seconds : 0
    }

    private var swaps: [SwapRecord] { runs.flatMap(\.swaps) }

    /// The share of requests that failed, 0 where there is no request.
    var errorShare: Double { (try? share { Self.isError($0, nil) }) ?? 0 }

    /// Kinds that `errors[...]` may name.
    static func isErrorKind(_ text: String) -> Bool {
        if ["closed", "timeout", "malformed", "status"].contains(text) { return true }
        guard text.hasPrefix("status "), let status = Int(text.dropFirst(7)) else { return false }
        // As it is compared later on: '+503' would never be seen.
        return (100...599).contains(status) && text == "status \(status)"
    }

    func value(_ metric: Metric) throws(Unmeasured) -> Double {
        switch metric.quantity {
        case .percentile(let percentile):
            let histogram = try histogram(metric)
            guard let value = LatencySummary.percentile(percentile, of: histogram) else {
                throw Unmeasured(reason: "fewer than 10 of \(histogram.totalCount) samples lie above it")
            }
            return value
        case .max: return Double(try histogram(metric).maxRecorded) / 1000
        case .mean: return try histogram(metric).mean / 1000
        case .errors(let kind): return try share { Self.isError($0, kind) }
        case .refused: return try share { $0.kind == .status && ($0.status == 429 || $0.status == 503) }
        case .invalid:
            guard let validation, validation.checked > 0 else { throw Unmeasured(reason: "no reply was checked") }
            return Double(validation.invalid) / Double(validation.checked)
        case .mixed:
            guard let belonging = validation?.belonging, belonging.recomputed > 0 else {
                throw Unmeasured(reason: "no reply was recomputed")
            }
            return Double(belonging.mixed) / Double(belonging.recomputed)
        case .swaps(let failed): return Double(swaps.count { ($0.fault != nil) == failed })
        case .memory(let instant):
            let done = swaps.filter { $0.fault == nil }
            let swap = instant == .third ? done.dropFirst(2).first : done.last
            guard let bytes = swap?.residentBytes else {
                throw Unmeasured(
                    reason: swap == nil ? "\(done.count) snapshots were swapped to" : "/metrics did not say")
            }
            return bytes
        case .recall(let depth):
            guard let estimate = recall?.estimates.first(where: { $0.at == depth }) else {
                throw Unmeasured(reason: "recall@\(depth) was not measured")
            }
            return estimate.mean
        case .rate: return successesPerSecond
        }
    }

    private static func isError(_ outcome: Outcome, _ kind: String?) -> Bool {
        switch (outcome.kind, kind) {
        case (.success, _), (.abandoned, _), (.pending, _): false
        case (_, nil): true
        case (.closed, "closed"), (.timeout, "timeout"), (.malformed, "malformed"), (.status, "status"): true
        case (.status, let kind?): kind == "status \(outcome.status)"
        default: false
        }
    }

    private func share(_ isMeant: (Outcome) -> Bool) throws(Unmeasured) -> Double {
        var all = 0
        var meant = 0
        for run in runs {
            for outcome in run.counted where outcome.kind != .abandoned {
                all += 1
                if isMeant(outcome) { meant += 1 }
            }
        }
        guard all > 0 else { throw Unmeasured(reason: "no request was counted") }
        return Double(meant) / Double(all)
    }

    private func histogram(_ metric: Metric) throws(Unmeasured) -> LatencyHistogram {
        var sum = LatencyHistogram.latencies()
        for run in runs {
            if let window = metric.window {
                sum.add(run.histogram(metric.clock, in: window))
            } else {
                switch metric.clock {
                case .latency: sum.add(run.latency)
                case .service: sum.add(run.service)
                case .lag: sum.add(run.sendLag)
                case .wait: sum.add(run.connectionWait)
                }
            }
        }
        guard sum.totalCount > 0 else { throw Unmeasured(reason: "there is no sample") }
        return sum
    }
}

extension RunResult {
    /// Samples of the requests that were due within swaps, or in the quiet windows between them.
    func histogram(_ clock: Metric.Clock, in window: Metric.Window) -> LatencyHistogram {
        var histogram = LatencyHistogram.latencies()
        SwapWindows(self).visit(self) { outcome, kind, _ in
            guard kind == window else { return }
            switch clock {
            case .latency where outcome.kind == .success: histogram.recordClamped(outcome.latency)
            case .service where outcome.kind == .success: histogram.recordClamped(outcome.service)
            case .lag: histogram.recordClamped(outcome.lag)
            case .wait: histogram.recordClamped(outcome.wait)
            default: break
            }
        }
        return histogram
    }
}
