public import Histogram

/// Everything a load test found.
public struct LoadTestFindings: Sendable {
    /// The runs that the figures are from: one, several with `--runs`, the three that confirm with `--find-max`, the last of a
    /// sweep.
    public var runs: [RunResult]
    /// What the check of replies found, or nil where none was asked for.
    public var validation: ValidationReport?
    /// How much of the exact answer came, or nil where it was not measured.
    public var recall: RecallReport?
    /// In the order they were given.
    public var thresholds: [ThresholdResult]
    /// Why the runs say nothing; empty if they do.
    public var invalid: [String]
    /// Passed, failed or invalid.
    public var verdict: RunVerdict
    /// 95 % intervals of the latency's percentiles, in microseconds.
    public var latencyIntervals: [String: [Double]]
    /// With `--sweep`.
    public var sweep: [SweepRow]?
    /// With `--find-max`.
    public var findMax: FindMaxReport?
    /// With `--overload`.
    public var overload: OverloadReport?

    /// The latencies of all runs together.
    public var latency: LatencyHistogram {
        runs.reduce(into: .latencies()) { $0.add($1.latency) }
    }
}

extension LoadTest {
    /// Does what was asked for.
    public func run() throws(LoadTestError) -> LoadTestFindings {
        if options.findsMax { return try findMax() }
        if let sweep = options.sweep { return try run(sweep) }
        var results: [RunResult] = []
        for number in 0..<options.runs where !current.isStopped {
            let plan = try plan(seed: options.seed &+ UInt64(number), requests: requests)
            let label = options.runs > 1 ? "run \(number + 1) of \(options.runs)" : "load"
            results.append(try perform(plan, label: label))
        }
        guard !results.isEmpty else { throw .failed("stopped before the first run") }
        var findings = judge(results, requests: requests)
        if let factor = options.overload { findings.overload = OverloadReport(results[0], factor: factor) }
        return findings
    }

    /// Checks the replies of runs and judges the thresholds.
    private func judge(_ results: [RunResult], requests: [LoadRequest], withRecall: Bool = true) -> LoadTestFindings {
        let validation = validate(results, requests: requests)
        let recall = withRecall ? measureRecall(results, requests: requests) : nil
        let measurements = Measurements(runs: results, validation: validation, recall: recall)
        var thresholds = options.thresholds.map { $0.judge(measurements) }
        if let validation, validation.invalid > 0, !options.thresholds.contains(where: { $0.boundsInvalid }) {
            // A wrong answer is never good enough, whether or not anybody thought of saying so.
            thresholds.append(try! Threshold("invalid<=0%").judge(measurements))
        }
        if results.contains(where: { $0.swaps.contains { $0.fault != nil } }),
            !options.thresholds.contains(where: { $0.left.quantity == .swaps(failed: true) })
        {
            thresholds.append(try! Threshold("swaps[failed]<=0").judge(measurements))
        }
        let invalid = results.enumerated().flatMap { number, result in
            Validity.faults(result, sendLagMax: options.sendLagMax).map {
                results.count > 1 ? "run \(number + 1): \($0)" : $0
            }
        }
        return LoadTestFindings(
            runs: results, validation: validation, recall: recall, thresholds: thresholds, invalid: invalid,
            verdict: RunVerdict(thresholds: thresholds, invalidReasons: invalid),
            latencyIntervals: BootstrapIntervals.of(results, seed: options.seed))
    }

    private func run(_ sweep: LoadTestOptions.Sweep) throws(LoadTestError) -> LoadTestFindings {
        var rows: [SweepRow] = []
        var latest: LoadTestFindings?
        for value in sweep.values where !current.isStopped {
            let overrides =
                sweep.parameter == "ef" ? RequestOverrides(ef: value) : RequestOverrides(nprobe: value)
            let requests = try Self.override(requests, overrides)
            let plan = try plan(seed: options.seed, requests: requests)
            let result = try perform(plan, label: "\(sweep.parameter)=\(value)")
            let findings = judge([result], requests: requests)
            let measurements = Measurements(runs: [result], validation: nil, recall: nil)
            rows.append(
                SweepRow(
                    parameter: sweep.parameter, value: value,
                    scheduledRate: result.isOpenLoop ? result.scheduledRate : nil,
                    achievedRate: measurements.successesPerSecond, latency: LatencySummary(result.latency),
                    recall: findings.recall?.estimates ?? [], errorShare: measurements.errorShare,
                    invalid: findings.invalid))
            latest = findings
        }
        guard var findings = latest else { throw .failed("stopped before the first run") }
        findings.sweep = rows
        return findings
    }

    // MARK: The highest rate

    private func findMax() throws(LoadTestError) -> LoadTestFindings {
        var confirmed: [RunResult] = []  // the whole runs of the highest rate that they confirm
        var attempt: [Int: RunResult] = [:]  // the whole runs of the rate that is tried
        var latest: RunResult?
        // What ends a probe early: the first bound on a percentile, and the first on errors.
        let latency = options.thresholds.lazy.compactMap(\.latencyBound).first
        let errors = options.thresholds.lazy.compactMap(\.errorBound).first
        let others = options.thresholds.filter { $0.latencyBound == nil && $0.errorBound == nil && !$0.isAboutAnswers }
        let bounds = options.thresholds.compactMap(\.latencyBound).count
        let mayHoldEarly = others.isEmpty && bounds <= 1 && (bounds == 1 || errors != nil)
        let latencyStopping = latency.map { EarlyStopping(allowedShare: 1 - $0.percentile / 100) }
        let errorStopping = errors.map { EarlyStopping(allowedShare: $0) }

        let search = FindMax { rate, confirmation throws(LoadTestError) in
            guard !self.current.isStopped else { throw .failed("stopped before a rate was found") }
            if confirmation == 0 { attempt = [:] }
            let progress = LoadProgress(latencyMax: latency?.nanoseconds ?? .max)
            let seed = self.options.seed &+ UInt64(confirmation.map { $0 + 1 } ?? 0)
            let plan = try self.plan(
                rate: rate, duration: self.options.probeDurationMax, seed: seed, requests: self.requests)
            let early = EarlyEnd(
                progress: progress, latency: latencyStopping, errors: errorStopping, mayHoldEarly: mayHoldEarly,
                warmup: self.options.warmup, duration: self.options.probeDurationMax)
            let label = "\(confirmation.map { "confirming \($0 + 1) of 3" } ?? "probing") \(Int(rate))/s"
            let result = try self.perform(
                plan, label: label, progress: progress, disturbances: confirmation == nil ? [early] : [])
            if self.current.isStopped { throw .failed("stopped before a rate was found") }
            if let confirmation { attempt[confirmation] = result }
            latest = result
            let isBroken = result.isCut && early.decision == .broken
            let probe = try self.probe(
                result, rate: rate, isBroken: isBroken, isHopeless: early.isHopeless,
                isConfirmation: confirmation != nil)
            if attempt.count == FindMax.confirmationCount, probe.verdict == .holds {
                confirmed = attempt.sorted { $0.key < $1.key }.map(\.value)
            }
            return probe
        }
        let report = try search.search(from: options.rate ?? 0)
        guard report.rate != nil else {
            // Some threshold cannot be met at all, or the generator is in the way: the figures are the last run's.
            var findings = judge([latest!], requests: requests)
            findings.findMax = report
            if findings.verdict == .passed { findings.verdict = .failed }
            return findings
        }
        var findings = judge(confirmed, requests: requests)
        findings.findMax = report
        return findings
    }

    /// Judges one probe.
    ///
    /// - isBroken: it was ended because too many requests were late or failed.
    /// - isHopeless: most were, which no pause of the machine explains.
    private func probe(
        _ result: RunResult, rate: Double, isBroken: Bool, isHopeless: Bool, isConfirmation: Bool
    ) throws(LoadTestError) -> FindMaxReport.Probe {
        // Answers are checked where the search ends; they do not depend on the rate.
        let validation = isConfirmation ? validate([result], requests: requests) : nil
        let recall = isConfirmation ? measureRecall([result], requests: requests) : nil
        let measurements = Measurements(runs: [result], validation: validation, recall: recall)
        let judged = options.thresholds.filter { isConfirmation || !$0.isAboutAnswers }.map { $0.judge(measurements) }
        var reasons = Validity.lateness(result, sendLagMax: options.sendLagMax).map { [$0] } ?? []
        var verdict = FindMaxReport.Probe.Verdict.holds
        if !reasons.isEmpty {
            verdict = .invalid
        } else {
            reasons = judged.filter { $0.verdict == .fails }.map(\.expression)
            if reasons.isEmpty, isBroken { reasons = ["too many requests are late"] }
            if reasons.isEmpty, !result.isCut, let unmeasured = judged.first(where: { $0.verdict == .unmeasured }) {
                throw .failed(
                    "at \(short(rate))/s a probe cannot judge '\(unmeasured.expression)': "
                        + "\(unmeasured.reason ?? ""); a longer --probe-duration or a higher --rate to start from helps"
                )
            }
            if !reasons.isEmpty {
                verdict = FindMax.verdict(failedWith: result.stolen, isHopeless: isHopeless)
                if verdict == .disturbed, let stolen = result.stolen {
                    reasons.append("the hypervisor took \(percent(stolen.all)) of the cores' time")
                }
            }
        }
        return FindMaxReport.Probe(
            rate: rate, achievedRate: measurements.successesPerSecond,
            seconds: Double(result.end - min(result.end, result.warmupEnd)) / 1e9, requests: result.counted.count,
            p99Micros: LatencySummary.percentile(99, of: result.latency), errorShare: measurements.errorShare,
            sendLagP99Micros: LatencySummary.percentile(99, of: result.sendLag), stolenShare: result.stolen?.all,
            verdict: verdict, isEarly: result.isCut, reasons: reasons)
    }
}

extension Threshold {
    /// Whether it bounds the share of replies with a fault.
    var boundsInvalid: Bool { left.quantity == .invalid }

    /// Whether it is about what replies say and not about when they come.
    var isAboutAnswers: Bool {
        switch left.quantity {
        case .recall, .invalid: true
        default: false
        }
    }

    /// The percentile and its limit, of `p(99)<5ms` and its like.
    var latencyBound: (percentile: Double, nanoseconds: UInt64)? {
        guard case .percentile(let percentile) = left.quantity, left.clock == .latency, left.window == nil,
            case .constant(let micros) = right, comparison == .below || comparison == .atMost
        else { return nil }
        return (percentile, UInt64(micros * 1000))
    }

    /// The share, of `errors<0.1%` and its like.
    var errorBound: Double? {
        guard left.quantity == .errors(kind: nil), case .constant(let share) = right,
            comparison == .below || comparison == .atMost
        else { return nil }
        return share
    }
}
