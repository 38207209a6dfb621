internal import Foundation

extension Report {
    /// What an engineer reads in a terminal.
    public var text: String {
        var lines = headline + [""] + figures + [""] + latencyTable
        let findings = findings
        if !findings.isEmpty { lines += [""] + findings }
        for section in [swapsTable, sweepTable, findMaxTable, overloadTable] where !section.isEmpty {
            lines += [""] + section
        }
        if let warning = machine.stolen?.warning { lines += ["", "WARNING: \(warning)"] }
        if !thresholds.isEmpty { lines += [""] + thresholds.map(\.line) }
        lines += [""] + verdictLines
        return lines.joined(separator: "\n") + "\n"
    }

    private var headline: [String] {
        let threads = threads == 1 ? "1 thread" : "\(threads) threads"
        let connections = connections == 1 ? "1 connection" : "\(connections) connections"
        var lines = [target]
        if mode == .closed {
            lines += [
                "CLOSED LOOP: each connection waits for its reply, so a slow server slows the load and its queue is not in "
                    + "these latencies.",
                "Read the rate; measure latencies in open loop (--rate).",
            ]
        }
        let loop = mode == .open ? "open loop, \(arrival) arrivals, seed \(seed)" : "closed loop, seed \(seed)"
        lines.append("\(loop), \(connections), \(threads)")
        let several = runs.map { " in \($0.count) runs" } ?? ""
        lines.append("\(startedAt), \(short(durationS)) s\(several) after \(short(warmupS)) s of warm-up")
        return lines
    }

    private var figures: [String] {
        var lines: [String] = []
        if mode == .open { lines.append(row("scheduled", "\(fixed(scheduledRate, 1)) requests/s")) }
        lines.append(row("achieved", "\(fixed(achievedRate, 1)) requests/s"))
        lines.append(row("requests", abandoned == 0 ? "\(requests)" : "\(requests), \(abandoned) hung up on purpose"))
        let kinds = errors.byKind.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key) \($0.value)" }
        let share = "\(percent(errors.share)) (\(errors.total))"
        lines.append(row("errors", kinds.isEmpty ? "0" : "\(share): \(kinds.joined(separator: ", "))"))
        for (status, body) in errorBodies.sorted(by: { $0.key < $1.key }) {
            // A server's text must not steer the terminal.
            let line = String(
                body.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) })
            lines.append(row("", "\(status): \(line.count > 160 ? line.prefix(160) + "..." : line)"))
        }
        if let degraded, degraded > 0 {
            lines.append(
                row("degraded", "\(degraded) replies (\(percent(Double(degraded) / Double(max(1, succeeded)))))"))
        }
        if reconnections > 0 { lines.append(row("reconnections", "\(reconnections)")) }
        return lines
    }

    private var latencyTable: [String] {
        let names = ["p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"]
        var lines = [cells("microseconds", ["count"] + names)]
        func append(_ name: String, _ summary: LatencySummary) {
            lines.append(cells(name, ["\(summary.count)"] + summary.values.map(micros)))
        }
        append(mode == .open ? "latency" : "latency (closed)", latencyUs)
        if let latencyIntervals, !latencyIntervals.isEmpty {
            for (end, name) in ["  95 % from", "       to"].enumerated() {
                let ends = names.map { latencyIntervals[$0].flatMap { $0.count == 2 ? $0[end] : nil } }
                lines.append(cells(name, [""] + ends.map { $0 == nil ? "" : micros($0) }))
            }
        }
        append("service", serviceUs)
        append("send lag", sendLagUs)
        append("connection wait", connectionWaitUs)
        if let windows {
            append("during swaps", windows.swap)
            append("between swaps", windows.quiet)
            for ratio in windows.ratios ?? [] {
                let interval = "95 %: \(fixed(ratio.low, 3)) to \(fixed(ratio.high, 3))"
                let name = "p\(short(ratio.percentile)) ratio"
                lines.append(row(name, "\(fixed(ratio.ratio, 3)) (\(interval)), \(windows.pairs ?? 0) swaps"))
            }
        }
        return lines
    }

    /// A run of two hundred swaps has as many snapshots, which the JSON lists.
    private static let snapshotLineCountMax = 8

    private var findings: [String] {
        var lines = snapshots.prefix(Self.snapshotLineCountMax).map {
            row("snapshot", "\($0.id): \($0.replies) replies, \(fixed($0.firstS, 1)) s to \(fixed($0.lastS, 1)) s")
        }
        if snapshots.count > lines.count { lines.append(row("", "and \(snapshots.count - lines.count) more")) }
        for mark in marks where mark.fault != nil || swaps == nil {
            let run = runs == nil ? "" : " of run \(mark.run + 1)"
            let label = mark.label.isEmpty ? "" : " \(mark.label)"
            let fault = mark.fault.map { ": \($0)" } ?? ""
            lines.append(
                row(
                    mark.kind,
                    "at \(fixed(mark.startS, 1)) s\(run) for \(fixed(mark.endS - mark.startS, 3)) s\(label)\(fault)"))
        }
        if let validation {
            let share = "\(validation.checked) replies (\(percent(validation.share))) checked"
            lines.append(row("validation", "\(share), \(validation.invalid) invalid"))
            for (fault, count) in validation.faults.sorted(by: { $0.key < $1.key }) {
                lines.append(row("", "\(fault) \(count)"))
            }
            for example in validation.examples { lines.append(row("", example)) }
            if validation.compared > 0 {
                let worst = validation.worstScoreDifference.map { ", scores differ by at most \($0)" } ?? ""
                lines.append(row("", "\(validation.compared) held against the expected ones\(worst)"))
            }
            if let belonging = validation.belonging {
                lines.append(
                    row(
                        "recomputed",
                        "\(belonging.recomputed) replies with \(belonging.scores) scores, \(belonging.mixed) mixed; worst "
                            + "difference \(short(belonging.worstDifference * 1e6))e-6 of |u||v|, "
                            + "recall \(fixed(belonging.recall, 4))"))
            }
        }
        if let recall {
            for estimate in recall.estimates {
                let interval = "\(fixed(estimate.low, 4)) to \(fixed(estimate.high, 4))"
                lines.append(
                    row(
                        "recall@\(estimate.at)",
                        "\(fixed(estimate.mean, 4)) (95 %: \(interval)), \(recall.requests) replies"))
            }
            for (reason, count) in recall.skipped.sorted(by: { $0.key < $1.key }) {
                lines.append(row("", "\(count) skipped: \(reason)"))
            }
        }
        return lines
    }

    private var swapsTable: [String] {
        guard let swaps else { return [] }
        var lines = [row("swaps", "\(swaps.done) done\(swaps.failed > 0 ? ", \(swaps.failed) FAILED" : "")")]
        lines.append(cells("milliseconds", ["median", "max", "CPU median", "CPU max"]))
        func append(_ name: String, _ time: SwapReport.Spread?, _ cpu: SwapReport.Spread? = nil) {
            guard let time else { return }
            lines.append(cells(name, [time.median, time.max, cpu?.median, cpu?.max].map { $0.map(short) ?? "" }))
        }
        append("publish", swaps.publishMillis, swaps.publishCPUMillis)
        for step in SwapReport.steps { append(step, swaps.stepMillis[step], swaps.stepCPUMillis[step]) }
        append("found to serving", swaps.servingMillis)
        append("found to destroyed", swaps.windowMillis)
        if let third = swaps.residentBytesThird, let last = swaps.residentBytesLast, let ratio = swaps.residentRatio {
            let mebibytes = [third, last].map { fixed($0 / 1_048_576, 1) }
            lines.append(
                row(
                    "resident memory",
                    "\(mebibytes[0]) MiB after the third, \(mebibytes[1]) MiB after the last: \(fixed(ratio, 4)) times")
            )
        }
        return lines
    }

    private var sweepTable: [String] {
        guard let sweep, let first = sweep.first else { return [] }
        let depths = Array(Set(sweep.flatMap { $0.recall.map(\.at) })).sorted()
        var lines = [
            cells(first.parameter, ["rate", "p50", "p90", "p99", "errors"] + depths.map { "recall@\($0)" })
        ]
        for row in sweep {
            let recall = depths.map { depth in
                row.recall.first { $0.at == depth }.map { fixed($0.mean, 4) } ?? "-"
            }
            let values = [
                fixed(row.achievedRate, 1), micros(row.latency.p50), micros(row.latency.p90), micros(row.latency.p99),
                percent(row.errorShare),
            ]
            lines.append(cells("\(row.value)", values + recall) + (row.invalid.isEmpty ? "" : "  INVALID"))
        }
        return lines
    }

    private var findMaxTable: [String] {
        guard let findMax else { return [] }
        let titles = ["rate", "achieved", "p99", "errors", "send lag", "stolen", "seconds"]
        var lines = [cells("probe", titles) + "  verdict"]
        let named = findMax.probes.map { ("", $0) } + findMax.confirmations.map { ("confirmation", $0) }
        for (name, probe) in named {
            let values = [
                fixed(probe.rate, 0), fixed(probe.achievedRate, 0), micros(probe.p99Micros), percent(probe.errorShare),
                micros(probe.sendLagP99Micros), probe.stolenShare.map(percent) ?? "-", fixed(probe.seconds, 1),
            ]
            let reasons = probe.reasons.isEmpty ? "" : ": \(probe.reasons.joined(separator: "; "))"
            lines.append(cells(name, values) + "  \(probe.verdict.rawValue)\(probe.isEarly ? " early" : "")\(reasons)")
        }
        let rate = findMax.rate.map { "\(fixed($0, 0)) requests/s" } ?? "none"
        lines.append(row("highest rate", "\(rate): \(findMax.ended)"))
        return lines
    }

    private var overloadTable: [String] {
        guard let overload else { return [] }
        var lines = [cells("overload \(short(overload.factor))x", ["due/s", "goodput/s", "refused", "failed", "p99"])]
        for phase in overload.phases {
            let values = [
                fixed(phase.scheduledRate, 0), fixed(phase.goodput, 0), percent(phase.refusedShare),
                percent(phase.failedShare), micros(phase.p99Micros),
            ]
            lines.append(cells(phase.name, values))
        }
        let unknown =
            overload.phases.first?.p99Micros == nil ? "unknown: too few replies before it" : "not within the run"
        lines.append(row("recovery", overload.recoverySeconds.map { "\(fixed($0, 1)) s" } ?? unknown))
        return lines
    }

    private var verdictLines: [String] {
        let reasons = invalid.map { "  \($0)" }
        switch exit {
        case .invalid: return ["INVALID: do not use these figures"] + reasons
        case .failed:
            let failed = thresholds.filter { $0.verdict == .fails }.count
            return ["FAILED: \(failed) of \(thresholds.count) thresholds \(failed == 1 ? "does" : "do") not hold"]
                + reasons
        case .passed:
            let held = thresholds.count == 1 ? "the threshold holds" : "all \(thresholds.count) thresholds hold"
            return [thresholds.isEmpty ? "done, no thresholds" : "passed: \(held)"] + reasons
        }
    }
}

extension LatencySummary {
    /// In the order of the table.
    fileprivate var values: [Double?] { [p50, p90, p99, p999, p9999, max, mean] }
}

extension ThresholdResult {
    fileprivate var line: String {
        let sign = verdict == .holds ? "✓" : verdict == .fails ? "✗" : "?"
        var line = "  \(sign) \(expression)   observed \(quantity(observed)), limit \(quantity(limit))"
        if let reason { line += " (\(reason))" }
        return line
    }

    private func quantity(_ value: Double?) -> String {
        guard let value else { return "-" }
        switch unit {
        case .fraction: return percent(value)
        case .perSecond: return "\(short(value))/s"
        case .count: return short(value)
        case .bytes: return "\(fixed(value / 1_048_576, 1)) MiB"
        case .micros where value < 1000: return "\(short(value)) us"
        case .micros where value < 1e6: return "\(short(value / 1e3)) ms"
        case .micros: return "\(short(value / 1e6)) s"
        }
    }
}

private func row(_ name: String, _ value: String) -> String {
    name.padded(to: 18) + value
}

private func cells(_ name: String, _ values: [String]) -> String {
    let line = name.padded(to: 18) + values.map { $0.leftPadded(to: 10) }.joined()
    return String(line.reversed().drop { $0 == " " }.reversed())
}

/// Microseconds with as many digits as the histogram resolves.
func micros(_ value: Double?) -> String {
    value.map { fixed($0, $0 < 100 ? 1 : 0) } ?? "-"
}

func percent(_ share: Double) -> String { "\(short(share * 100)) %" }

/// Up to four digits, without zeros at the end.
func short(_ value: Double) -> String {
    String(format: abs(value) >= 1_000 ? "%.0f" : "%.4g", value)
}

extension String {
    func padded(to width: Int) -> String { self + String(repeating: " ", count: Swift.max(1, width - count)) }
    func leftPadded(to width: Int) -> String { String(repeating: " ", count: Swift.max(1, width - count)) + self }
}
