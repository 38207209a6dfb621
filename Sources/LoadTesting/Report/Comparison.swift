internal import Foundation

/// Two reports held against each other, with regard to noise: a difference counts only if it is beyond what the seconds of
/// each run differ among themselves, and large enough to matter.
///
///     print(try Comparison(baseline: "before.json", candidate: "after.json").text)
public struct Comparison: Sendable {
    /// What the candidate is to the baseline.
    public enum Verdict: String, Codable, Sendable {
        /// Lower latency, higher rate, fewer errors, higher recall.
        case faster
        /// The opposite.
        case slower
        /// The effect's interval includes equality, or the effect is below 2 %.
        case noDifference = "no difference beyond noise"
        /// One of them has no such figure.
        case unmeasured
        /// Only over all: some figures are faster, others slower.
        case mixed
    }

    /// One figure of both reports.
    public struct Row: Sendable, Equatable {
        /// `p50`, `p90`, `p99`, `achieved rate`, `error share` or `recall@10`.
        public var metric: String
        /// In microseconds, requests per second or as a fraction.
        public var baseline: Double?
        /// Likewise.
        public var candidate: Double?
        /// Candidate over baseline; of error share and recall the difference, as a share may be 0.
        public var effect: Double?
        /// The lower end of the effect's interval, which holds with 95 % for all figures together.
        public var low: Double?
        /// The upper end.
        public var high: Double?
        /// What follows.
        public var verdict = Verdict.unmeasured
        /// Whether `effect` is a difference.
        public var isDifference = false
    }

    /// Effects below this share are not worth a verdict.
    public static let effectMin = 0.02
    /// What one figure's interval leaves out on each side. It is 99 % wide: with 95 % each, one of nine comparisons of a
    /// server with itself would name some figure (p50, p90, p99, rate, errors); five at 99 % hold together with 95 %.
    static let tail = 0.05 / 2 / 5
    /// 2.576 / 1.960: how much wider 99 % of a normal distribution are than 95 %.
    static let recallWidening = 1.314
    /// How often the seconds are drawn again.
    public static let resampleCount = 1_000
    /// Below this many seconds a run does not show how its seconds differ.
    static let secondCountMin = 10

    /// The baseline's and the candidate's names.
    public let names: [String]
    /// Figure by figure.
    public let rows: [Row]
    /// Why the two should not be compared; empty if nothing speaks against it.
    public let warnings: [String]
    /// What else differs, and may be what the comparison is about: options.
    public let notes: [String]
    /// Over all rows: `slower` or `faster` if one row is and none says the opposite.
    public let verdict: Verdict

    /// Compares two files that `--json` wrote. A file that cannot be read, is no report or is damaged is an error that names it.
    ///
    /// - seed: of the draws: the same files give the same verdict.
    public init(baseline: String, candidate: String, seed: UInt64 = 1) throws(LoadTestError) {
        try self.init(
            baseline: Report(path: baseline), candidate: Report(path: candidate), names: [baseline, candidate],
            seed: seed)
    }

    /// Compares two reports.
    public init(
        baseline: Report, candidate: Report, names: [String] = ["baseline", "candidate"], seed: UInt64 = 1
    ) throws(LoadTestError) {
        self.names = names
        let seconds = [
            try Resampling(baseline, name: names[0]), try Resampling(candidate, name: names[1]),
        ]
        var random = SplitMix64(seed: seed)
        let draws = seconds.map { $0.secondCount < 2 ? [] : $0.draws(Self.resampleCount, random: &random) }
        let pairs = Array(zip(draws[0], draws[1]))
        let widening = seconds.map(\.widening).max() ?? 1
        var rows: [Row] = []
        let summaries = (baseline.latencyUs, candidate.latencyUs)
        let observed = [
            (summaries.0.p50, summaries.1.p50), (summaries.0.p90, summaries.1.p90), (summaries.0.p99, summaries.1.p99),
        ]
        for (place, percentile) in Resampling.percentiles.enumerated() {
            rows.append(
                .ratio(
                    "p\(Int(percentile))", observed[place].0, observed[place].1, isLessBetter: true,
                    widening: widening, effects: pairs.map { $1.percentiles[place] / $0.percentiles[place] }))
        }
        rows.append(
            .ratio(
                "achieved rate", baseline.achievedRate, candidate.achievedRate, isLessBetter: false,
                widening: widening, effects: pairs.map { $1.rate / $0.rate }))
        rows.append(
            .errors(
                baseline.errors.share, candidate.errors.share, widening: widening,
                effects: pairs.map { $1.errorShare - $0.errorShare })
        )
        for before in baseline.recall?.estimates ?? [] {
            guard let after = candidate.recall?.estimates.first(where: { $0.at == before.at }) else { continue }
            rows.append(.recall(before, after))
        }
        self.rows = rows
        warnings =
            Self.warnings(baseline, candidate)
            + seconds.enumerated().filter { $1.secondCount < Self.secondCountMin }.map {
                "the \($0 == 0 ? "baseline" : "candidate") has \($1.secondCount) seconds: below \(Self.secondCountMin) the "
                    + "intervals are too narrow"
            }
        notes = Self.notes(baseline, candidate)
        let verdicts = Set(rows.map(\.verdict))
        verdict =
            verdicts.isSuperset(of: [.faster, .slower])
            ? .mixed
            : verdicts.contains(.slower)
                ? .slower
                : verdicts.contains(.faster) ? .faster : verdicts.contains(.noDifference) ? .noDifference : .unmeasured
    }
}

extension Comparison.Row {
    fileprivate static func ratio(
        _ metric: String, _ baseline: Double?, _ candidate: Double?, isLessBetter: Bool, widening: Double,
        effects: [Double]
    ) -> Self {
        var row = Self(metric: metric, baseline: baseline, candidate: candidate)
        guard let baseline, let candidate, baseline > 0, candidate > 0, row.takeInterval(effects) else { return row }
        let ratio = candidate / baseline
        // A ratio and its inverse are to be equally far from 1, hence powers.
        row.low = row.low.map { $0 < ratio ? ratio * pow($0 / ratio, widening) : $0 }
        row.high = row.high.map { $0 > ratio ? ratio * pow($0 / ratio, widening) : $0 }
        row.effect = ratio
        row.judge(equal: 1, isLessBetter: isLessBetter, isLarge: abs(ratio - 1) >= Comparison.effectMin)
        return row
    }

    fileprivate static func errors(_ baseline: Double, _ candidate: Double, widening: Double, effects: [Double]) -> Self
    {
        var row = Self(metric: "error share", baseline: baseline, candidate: candidate, isDifference: true)
        guard row.takeInterval(effects) else { return row }
        let difference = candidate - baseline
        row.low = row.low.map { difference - widening * max(0, difference - $0) }
        row.high = row.high.map { difference + widening * max(0, $0 - difference) }
        row.effect = difference
        row.judge(
            equal: 0, isLessBetter: true, isLarge: abs(difference) >= Comparison.effectMin * max(baseline, candidate))
        return row
    }

    /// From the intervals that both reports have. No effect is too small here: from 0.99 to 0.98 twice as much is missed.
    fileprivate static func recall(_ baseline: RecallReport.Estimate, _ candidate: RecallReport.Estimate) -> Self {
        var row = Self(
            metric: "recall@\(baseline.at)", baseline: baseline.mean, candidate: candidate.mean, isDifference: true)
        let difference = candidate.mean - baseline.mean
        // Half the width of the difference of two independent means; each side by its own end, as intervals near 1 are skewed.
        let down = Comparison.recallWidening * hypot(candidate.mean - candidate.low, baseline.high - baseline.mean)
        let up = Comparison.recallWidening * hypot(candidate.high - candidate.mean, baseline.mean - baseline.low)
        row.effect = difference
        row.low = difference - down
        row.high = difference + up
        row.judge(equal: 0, isLessBetter: false, isLarge: difference != 0)
        return row
    }

    /// False if too many draws hold no such figure.
    private mutating func takeInterval(_ effects: [Double]) -> Bool {
        let sorted = effects.filter(\.isFinite).sorted()
        guard !sorted.isEmpty, Double(sorted.count) >= 0.95 * Double(effects.count) else { return false }
        low = sorted[Int(Comparison.tail * Double(sorted.count))]
        high = sorted[sorted.count - 1 - Int(Comparison.tail * Double(sorted.count))]
        return true
    }

    private mutating func judge(equal: Double, isLessBetter: Bool, isLarge: Bool) {
        guard let low, let high else { return }
        guard isLarge, high < equal || low > equal else {
            verdict = .noDifference
            return
        }
        verdict = (high < equal) == isLessBetter ? .faster : .slower
    }
}

extension Comparison {
    private static func warnings(_ baseline: Report, _ candidate: Report) -> [String] {
        var warnings: [String] = []
        for (name, report) in [("baseline", baseline), ("candidate", candidate)]
        where !report.valid || report.exit == .invalid {
            warnings.append("the \(name)'s run is invalid: \(report.invalid.joined(separator: "; "))")
        }
        func check(_ what: String, _ before: String, _ after: String) {
            if before != after { warnings.append("\(what) differs: \(before), then \(after)") }
        }
        let (before, after) = (baseline.machine, candidate.machine)
        check("the machine's processor", before.cpu, after.cpu)
        check("the machine's number of cores", "\(before.cores)", "\(after.cores)")
        check("the number of cores the load tester may use", "\(before.allowedCores)", "\(after.allowedCores)")
        check("the machine's memory", "\(before.memoryGiB) GiB", "\(after.memoryGiB) GiB")
        check("the kernel", before.kernel, after.kernel)
        check("the operating system", before.system, after.system)
        check("the loop", baseline.mode.rawValue, candidate.mode.rawValue)
        check("the arrival", baseline.arrival, candidate.arrival)
        check("the number of connections", "\(baseline.connections)", "\(candidate.connections)")
        check("the target's path", path(baseline.target), path(candidate.target))
        let rates = (baseline.scheduledRate, candidate.scheduledRate)
        if abs(rates.0 - rates.1) > 0.01 * max(rates.0, rates.1) {
            warnings.append(
                "the scheduled rate differs: \(fixed(rates.0, 1)), then \(fixed(rates.1, 1)) requests/s")
        }
        return warnings
    }

    /// What stands behind the host.
    private static func path(_ target: String) -> String {
        guard let scheme = target.range(of: "://") else { return target.hasPrefix("unix:") ? "a Unix socket" : target }
        let rest = target[scheme.upperBound...]
        return rest.firstIndex(of: "/").map { String(rest[$0...]) } ?? "/"
    }

    private static func notes(_ baseline: Report, _ candidate: Report) -> [String] {
        let outputs: Set = ["--json", "--html", "--hgrm", "--log", "--target"]
        func values(_ report: Report) -> [String: [String]] {
            Dictionary(grouping: report.options, by: \.name).mapValues { $0.map(\.value) }
        }
        let (before, after) = (values(baseline), values(candidate))
        return Set(before.keys).union(after.keys).subtracting(outputs).sorted().compactMap { name in
            guard before[name] != after[name] else { return nil }
            let texts = [before[name], after[name]].map { $0?.joined(separator: ", ") ?? "not given" }
            return "\(name): \(texts[0]), then \(texts[1])"
        }
    }

    /// A table and what follows from it.
    public var text: String {
        func line(_ cells: [String]) -> String {
            cells[0].padded(to: 16) + cells[1...4].map { $0.leftPadded(to: 12) }.joined() + "   to "
                + cells[5].padded(to: 10) + cells[6]
        }
        var lines = ["baseline        \(names[0])", "candidate       \(names[1])", ""]
        let head = ["baseline", "candidate", "effect"].map { $0.leftPadded(to: 12) }.joined()
        lines.append(String(repeating: " ", count: 16) + head + "      95 % over all      verdict")
        for row in rows {
            func effect(_ value: Double?) -> String {
                guard let value else { return "-" }
                return row.isDifference ? String(format: "%+.4f", value) : String(format: "x%.3f", value)
            }
            func figure(_ value: Double?) -> String {
                guard let value else { return "-" }
                return row.isDifference ? fixed(value, 4) : row.metric.hasPrefix("p") ? micros(value) : fixed(value, 1)
            }
            let unit = row.metric.hasPrefix("p") ? "\(row.metric) us" : row.metric
            lines.append(
                line([
                    unit, figure(row.baseline), figure(row.candidate), effect(row.effect), effect(row.low),
                    effect(row.high), row.word,
                ]))
        }
        if !notes.isEmpty { lines += [""] + notes.map { "note: \($0)" } }
        if !warnings.isEmpty { lines += [""] + warnings.map { "WARNING: \($0)" } }
        let changed = rows.filter { $0.verdict == .faster || $0.verdict == .slower }.map { "\($0.metric) \($0.word)" }
        let because = changed.isEmpty ? "" : " (\(changed.joined(separator: ", ")))"
        let doubt = warnings.isEmpty ? "" : ", but see the warnings: these runs are not comparable"
        lines += ["", "\(verdict.rawValue)\(because)\(doubt)"]
        return lines.joined(separator: "\n") + "\n"
    }
}

extension Comparison.Row {
    /// The verdict; a share is better or worse, not faster.
    fileprivate var word: String {
        guard isDifference else { return verdict.rawValue }
        return verdict == .faster ? "better" : verdict == .slower ? "worse" : verdict.rawValue
    }
}
