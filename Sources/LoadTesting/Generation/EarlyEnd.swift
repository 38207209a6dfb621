#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Ends a probe as soon as enough requests were seen to judge it.
struct EarlyEnd: Disturbance {
    let progress: LoadProgress
    /// For the share of successes over the progress's latency limit; nil where no threshold bounds a percentile.
    let latency: EarlyStopping?
    /// For the share of failures; nil where no threshold bounds it.
    let errors: EarlyStopping?
    /// Whether evidence that they hold may end the run, which it may not where other thresholds are to be judged.
    let mayHoldEarly: Bool
    /// Counted time before anything is decided, in nanoseconds from the start of the run: a queue takes time to build up.
    let earliest: UInt64

    func act(clock: () -> UInt64, isOver: () -> Bool) -> [RunResult.Mark] {
        while !isOver() {
            usleep(100_000)
            let instant = clock()
            // Before the start the clock reads far in the future.
            guard instant < 1 << 63 else { continue }
            let count = progress.counted
            let failures = progress.countedErrors
            let isLate = latency?.decide(over: progress.over, of: count - failures)
            let isFailing = errors?.decide(over: failures, of: count)
            if isLate == .broken || isFailing == .broken {
                progress.stop()
            } else if mayHoldEarly, instant > earliest, isLate ?? .holds == .holds, isFailing ?? .holds == .holds {
                progress.stop()
            }
        }
        return []
    }
}
