internal import Foundation
internal import Histogram

extension Report {
    /// Sums up runs of the same load; with several the figures on top are of all together.
    ///
    /// - runs: at least one, all with the same mode.
    public init(runs: [RunResult], context: Context) {
        precondition(!runs.isEmpty, "a report is of at least one run")
        let total = Tally(runs)
        format = Self.currentFormat
        tool = context.tool
        exit = context.exit
        valid = context.invalid.isEmpty
        invalid = context.invalid
        startedAt = Self.instant(runs[0].startedAt)
        machine = context.machine
        machine.stolen = Self.stolen(runs) ?? machine.stolen
        target = context.target
        mode = runs.allSatisfy(\.isOpenLoop) ? .open : .closed
        arrival = context.arrival
        options = context.options
        seed = context.seed
        connections = context.connections
        threads = context.threads
        durationS = total.seconds
        warmupS = seconds(runs[0].warmupEnd)
        scheduledRate = total.scheduledRate
        achievedRate = total.achievedRate
        requests = total.requests
        succeeded = total.succeeded
        abandoned = total.abandoned
        errors = total.errors
        latencyIntervals = context.latencyIntervals
        snapshots = Self.snapshots(runs)
        marks = runs.enumerated().flatMap { number, run in
            run.marks.map {
                Mark(
                    run: number, kind: $0.kind, label: $0.label, startS: seconds($0.start), endS: seconds($0.end),
                    fault: $0.fault)
            }
        }
        windows = Self.windows(runs, seed: context.seed)
        swaps = SwapReport(runs.flatMap(\.swaps))
        intervals = runs.enumerated().flatMap { number, run in
            run.mapIntervals { Interval($0, run: number, ids: run.snapshots) }
        }
        let latency = merged(runs, \.latency)
        let service = merged(runs, \.service)
        let sendLag = merged(runs, \.sendLag)
        let connectionWait = merged(runs, \.connectionWait)
        latencyUs = LatencySummary(latency)
        serviceUs = LatencySummary(service)
        sendLagUs = LatencySummary(sendLag)
        connectionWaitUs = LatencySummary(connectionWait)
        histograms = Histograms(
            latency: HistogramCodec.text(latency), service: HistogramCodec.text(service),
            sendLag: HistogramCodec.text(sendLag), connectionWait: HistogramCodec.text(connectionWait))
        self.runs = runs.count == 1 ? nil : runs.map(Run.init)
        errorBodies = [:]
        for (status, body) in runs.flatMap(\.errorBodies) where errorBodies[String(status)] == nil {
            errorBodies[String(status)] = body
        }
        keptShare = runs.map(\.keptShare).min() ?? 0
        reconnections = runs.reduce(0) { $0 + $1.reconnections }
        degraded = runs.reduce(0) { $0 + $1.degraded }
        validation = context.validation
        recall = context.recall
        thresholds = context.thresholds
    }

    /// Seconds of the Unix epoch as ISO 8601.
    static func instant(_ epochSeconds: Double) -> String {
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        return formatter.string(from: Date(timeIntervalSince1970: epochSeconds))
    }

    private static func snapshots(_ runs: [RunResult]) -> [Snapshot] {
        var found: [Snapshot] = []
        var rows: [String: Int] = [:]
        for run in runs {
            for outcome in run.counted where Int(outcome.snapshot) < run.snapshots.count {
                let id = run.snapshots[Int(outcome.snapshot)]
                let instant = seconds(outcome.scheduled)
                guard let row = rows[id] else {
                    rows[id] = found.count
                    found.append(Snapshot(id: id, replies: 1, firstS: instant, lastS: instant))
                    continue
                }
                found[row].replies += 1
                found[row].firstS = min(found[row].firstS, instant)
                found[row].lastS = max(found[row].lastS, instant)
            }
        }
        return found
    }

    private static func windows(_ runs: [RunResult], seed: UInt64) -> Windows? {
        guard runs.contains(where: { $0.marks.contains { $0.kind == "swap" } }) else { return nil }
        var histograms: [Metric.Window: LatencyHistogram] = [.swap: .latencies(), .quiet: .latencies()]
        var pairs: [SwapWindows.Pair] = []
        for run in runs {
            let windows = SwapWindows(run)
            pairs += windows.pairs
            windows.visit(run) { outcome, window, _ in
                if outcome.kind == .success { histograms[window]!.recordClamped(outcome.latency) }
            }
        }
        return Windows(
            swap: LatencySummary(histograms[.swap]!), quiet: LatencySummary(histograms[.quiet]!), pairs: pairs.count,
            swapS: pairs.reduce(0) { $0 + seconds(UInt64($1.swap.count)) },
            quietS: pairs.reduce(0) { $0 + seconds(UInt64($1.quiet.count)) }, ratios: SwapRatio.of(runs, seed: seed))
    }

    /// Of several runs what the longest of them say most of.
    private static func stolen(_ runs: [RunResult]) -> StolenTime? {
        let known = runs.compactMap { run in run.stolen.map { ($0, Double(run.end)) } }
        let weight = known.reduce(0) { $0 + $1.1 }
        guard weight > 0 else { return nil }
        return StolenTime(
            all: known.reduce(0) { $0 + $1.0.all * $1.1 } / weight,
            own: known.reduce(0) { $0 + $1.0.own * $1.1 } / weight)
    }
}

/// Nanoseconds as seconds.
private func seconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) / 1e9 }

private func merged(_ runs: [RunResult], _ histogram: KeyPath<RunResult, LatencyHistogram>) -> LatencyHistogram {
    runs.reduce(into: LatencyHistogram.latencies()) { $0.add($1[keyPath: histogram]) }
}

/// Counts over the counted part of runs.
private struct Tally {
    var seconds = 0.0
    var scheduled = 0.0
    var requests = 0
    var succeeded = 0
    var abandoned = 0
    var byKind: [String: Int] = [:]

    init(_ runs: [RunResult]) {
        var statuses: [UInt16: Int] = [:]
        for run in runs {
            let length = LoadTesting.seconds(run.end) - LoadTesting.seconds(run.warmupEnd)
            seconds += length
            scheduled += run.scheduledRate * length
            for outcome in run.counted {
                requests += outcome.kind == .pending ? 0 : 1
                switch outcome.kind {
                case .pending: break
                case .success: succeeded += 1
                case .abandoned: abandoned += 1
                case .status: statuses[outcome.status, default: 0] += 1
                case .closed: byKind["closed", default: 0] += 1
                case .timeout: byKind["timeout", default: 0] += 1
                case .malformed: byKind["malformed", default: 0] += 1
                }
            }
        }
        for (status, count) in statuses { byKind["status \(status)"] = count }
    }

    var scheduledRate: Double { seconds > 0 ? scheduled / seconds : 0 }
    var achievedRate: Double { seconds > 0 ? Double(succeeded) / seconds : 0 }
    var errors: Report.Errors {
        let total = byKind.values.reduce(0, +)
        return Report.Errors(total: total, share: requests > 0 ? Double(total) / Double(requests) : 0, byKind: byKind)
    }
}

extension Report.Run {
    fileprivate init(_ run: RunResult) {
        let tally = Tally([run])
        self.init(
            startedAt: Report.instant(run.startedAt), durationS: tally.seconds, scheduledRate: tally.scheduledRate,
            achievedRate: tally.achievedRate, requests: tally.requests, errors: tally.errors,
            latencyUs: LatencySummary(run.latency))
    }
}

extension Report.Interval {
    fileprivate init(_ interval: RunInterval, run: Int, ids: [String]) {
        var replies: [String: Int] = [:]
        for (index, count) in interval.snapshots where index < ids.count { replies[ids[index], default: 0] += count }
        self.init(
            run: run, startS: seconds(interval.start), lengthS: seconds(interval.end - interval.start),
            requests: interval.requests, succeeded: interval.succeeded, errors: interval.errors,
            p50: LatencySummary.percentile(50, of: interval.latency, samplesAbove: 0),
            p99: interval.succeeded < 100 ? nil : LatencySummary.percentile(99, of: interval.latency, samplesAbove: 0),
            max: interval.succeeded == 0 ? nil : Double(interval.latency.maxRecorded) / 1_000,
            snapshots: replies, latency: HistogramCodec.text(interval.latency))
    }
}
