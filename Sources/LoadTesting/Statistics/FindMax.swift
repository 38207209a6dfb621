#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// What the search for the highest rate did, probe by probe.
public struct FindMaxReport: Codable, Sendable, Equatable {
    /// A run at one rate.
    public struct Probe: Codable, Sendable, Equatable {
        /// What became of it.
        public enum Verdict: String, Codable, Sendable {
            /// The thresholds hold.
            case holds
            /// One does not.
            case fails
            /// The generator could not keep the schedule.
            case invalid
            /// A threshold does not hold, and the hypervisor took more of the cores meanwhile than a server near its limit can
            /// make up for.
            case disturbed
        }

        /// The scheduled rate.
        public var rate: Double
        /// Successes per second.
        public var achievedRate: Double
        /// How long requests were counted.
        public var seconds: Double
        /// How many requests were counted.
        public var requests: Int
        /// The latency's 99th percentile in microseconds.
        public var p99Micros: Double?
        /// The share of requests that failed.
        public var errorShare: Double
        /// The generator's own delay, 99th percentile in microseconds.
        public var sendLagP99Micros: Double?
        /// What the hypervisor took of all cores' time, as a share of 1; nil where the kernel does not say.
        public var stolenShare: Double?
        /// What became of it.
        public var verdict: Verdict
        /// Whether it was decided before its time was over.
        public var isEarly: Bool
        /// The thresholds that do not hold, or why the run is invalid.
        public var reasons: [String]

        /// Whether it says nothing about the server.
        var isSpoilt: Bool { verdict == .invalid || verdict == .disturbed }

        enum CodingKeys: String, CodingKey {
            case rate
            case achievedRate = "achieved_rate"
            case seconds, requests
            case p99Micros = "p99_us"
            case errorShare = "errors_share"
            case sendLagP99Micros = "send_lag_p99_us"
            case stolenShare = "stolen_share"
            case verdict
            case isEarly = "early"
            case reasons
        }
    }

    /// The highest scheduled rate that three whole runs confirmed, in requests per second; nil if there is none.
    public var rate: Double?
    /// How close the rates that hold and fail were brought together, as a ratio less 1.
    public var resolution: Double
    /// All probes in order.
    public var probes: [Probe]
    /// The whole runs at the end, in order: those of `rate` are followed by those that show that the next rate does not hold,
    /// unless that was refused before.
    public var confirmations: [Probe]
    /// Why the search ended where it did.
    public var ended: String
}

/// The search for the highest rate that meets the thresholds: doubling until it does not, then bisection of the logarithm,
/// then three whole runs to confirm, one resolution down after the other until they hold, or up until they do not.
///
/// What makes it repeatable: every probe has the same arrivals, stretched to its rate (the schedule's seed is the same), so
/// that two rates differ by the rate alone; a probe ends early only on evidence (`EarlyStopping`); a probe that stays
/// undecided counts its whole time; and the whole runs decide in both directions, because a probe that failed by bad luck
/// would otherwise end the search far too low. `FindMaxTests` has the figures for a queue.
struct FindMax {
    /// The rates that hold and fail are brought together up to this ratio less 1.
    static let resolution = 0.02
    static let confirmationCount = 3
    static let probeCountMax = 60
    /// A run that the generator or the hypervisor spoilt says nothing about the server: so often it is repeated before the rate
    /// counts as beyond the generator, or as failed.
    static let repetitionCountMax = 2
    static let disturbedRepetitionCountMax = 6
    /// With this share of the cores' time stolen a run that fails is disturbed. Near its limit a server has a few percent to
    /// spare, so what waits after a pause of 100 ms takes seconds to be caught up with, and 1 % of a run of 20 s are late after
    /// 200 ms. On two cores this share is 80 ms in 20 s. A run that holds all the same counts: pauses only make it harder.
    static let disturbedShare = 0.002

    /// What a run is in which a threshold does not hold.
    ///
    /// - isHopeless: most requests were late or failed, which no pause of the machine explains.
    static func verdict(failedWith stolen: StolenTime?, isHopeless: Bool) -> FindMaxReport.Probe.Verdict {
        guard let stolen, stolen.all > disturbedShare, !isHopeless else { return .fails }
        return .disturbed
    }

    /// Runs once at a rate. `confirmation` is nil for a probe that may end early, and numbers the whole runs.
    let probe: (_ rate: Double, _ confirmation: Int?) throws(LoadTestError) -> FindMaxReport.Probe

    func search(from start: Double) throws(LoadTestError) -> FindMaxReport {
        var report = FindMaxReport(
            rate: nil, resolution: Self.resolution, probes: [], confirmations: [], ended: "")
        var holding = 0.0
        var failing = Double.infinity
        var rate = start
        while report.probes.count < Self.probeCountMax {
            let result = try valid(rate, nil, &report.probes)
            if result.verdict == .holds { holding = rate } else { failing = rate }
            if holding > 0, failing / holding <= 1 + Self.resolution { break }
            if failing == .infinity {
                rate = holding * 2
            } else if holding == 0 {
                rate = failing / 2
                guard rate >= 1 else {
                    report.ended =
                        result.verdict == .invalid
                        ? "the generator is late at every rate" : "not even one request per second meets the thresholds"
                    return report
                }
            } else {
                rate = (holding * failing).squareRoot()
            }
        }
        var candidate = holding
        while candidate >= 1, report.confirmations.count < Self.probeCountMax {
            let verdict = try confirm(candidate, &report)
            if verdict == .holds {
                report.rate = candidate
                report.ended = "\(Self.confirmationCount) whole runs confirm it"
                // What was refused on the way down needs no second refusal.
                if candidate < holding { break }
                candidate *= 1 + Self.resolution
            } else if report.rate == nil {
                candidate /= 1 + Self.resolution
            } else {
                if verdict == .invalid {
                    report.ended = "the generator, not the server, keeps the rate from going higher"
                }
                break
            }
        }
        if report.rate == nil { report.ended = "no rate was confirmed" }
        return report
    }

    /// Whole runs at a rate until one does not hold, and what became of the last.
    private func confirm(_ rate: Double, _ report: inout FindMaxReport) throws(LoadTestError)
        -> FindMaxReport.Probe.Verdict
    {
        for number in 0..<Self.confirmationCount {
            let result = try valid(rate, number, &report.confirmations)
            if result.verdict != .holds { return result.verdict }
        }
        return .holds
    }

    /// Runs once, and again while the generator is late or the hypervisor has the cores.
    private func valid(_ rate: Double, _ confirmation: Int?, _ record: inout [FindMaxReport.Probe])
        throws(LoadTestError) -> FindMaxReport.Probe
    {
        var repetitions: [FindMaxReport.Probe.Verdict: Int] = [:]
        while true {
            let result = try probe(rate, confirmation)
            record.append(result)
            repetitions[result.verdict, default: 0] += 1
            let most =
                result.verdict == .disturbed ? Self.disturbedRepetitionCountMax : Self.repetitionCountMax
            guard result.isSpoilt, repetitions[result.verdict]! <= most else { return result }
        }
    }
}
