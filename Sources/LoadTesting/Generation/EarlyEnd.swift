#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Ends a probe as soon as enough requests were seen to judge it.
///
/// The evidence is that of `EarlyStopping`, with a margin: latencies in a queue come in clusters, and a cluster says less than
/// as many independent requests would. So a probe ends early only where twice the allowed share is late, or not even half of
/// it; what lies near the limit is measured for its whole time.
struct EarlyEnd: Disturbance {
    let progress: LoadProgress
    /// For the share of successes over the progress's latency limit; nil where no threshold bounds a percentile.
    let latency: EarlyStopping?
    /// For the share of failures; nil where no threshold bounds it.
    let errors: EarlyStopping?
    /// Whether evidence that they hold may end the run, which it may not where other thresholds are to be judged.
    let mayHoldEarly: Bool
    /// The end of the warm-up, in nanoseconds from the start of the run.
    let warmup: UInt64
    /// The counted part, in nanoseconds.
    let duration: UInt64

    func act(clock: () -> UInt64, isOver: () -> Bool) -> [RunResult.Mark] {
        while !isOver() {
            usleep(100_000)
            let instant = clock()
            // Before the start the clock reads far in the future.
            guard instant < 1 << 63, instant > warmup else { continue }
            let counted = instant - warmup
            switch decision {
            case .broken where counted >= duration / 2: progress.stop()
            case .broken where isHopeless && counted >= duration / 8: progress.stop()
            case .holds where mayHoldEarly && counted >= duration / 2: progress.stop()
            default: break
            }
        }
        return []
    }

    /// Whether most requests are late or fail: a queue that only grows, and no hiccup of the machine.
    var isHopeless: Bool { progress.over + progress.countedErrors > progress.counted / 2 }

    /// What the counts so far say.
    var decision: EarlyStopping.Decision {
        let count = progress.counted
        let failures = progress.countedErrors
        let late = Self.decide(latency, over: progress.over, of: count - failures)
        let failing = Self.decide(errors, over: failures, of: count)
        if late == .broken || failing == .broken { return .broken }
        return late == .holds && failing == .holds ? .holds : .undecided
    }

    private static func decide(_ rule: EarlyStopping?, over: Int, of count: Int) -> EarlyStopping.Decision {
        guard let rule else { return .holds }
        let share = count > 0 ? Double(over) / Double(count) : 0
        switch rule.decide(over: over, of: count) {
        case .broken where share >= 2 * rule.allowedShare: return .broken
        case .holds where share <= rule.allowedShare / 2: return .holds
        default: return .undecided
        }
    }
}
