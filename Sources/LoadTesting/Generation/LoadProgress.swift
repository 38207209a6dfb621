internal import Synchronization

/// How far a run is, for the line that shows it and for whoever decides whether it has to go on; and the way to end it early.
public final class LoadProgress: Sendable {
    /// A latency above this counts as over the limit, in nanoseconds.
    let latencyMax: UInt64
    private let sentCount = Atomic<Int>(0)
    private let doneCount = Atomic<Int>(0)
    private let errorCount = Atomic<Int>(0)
    private let countedCount = Atomic<Int>(0)
    private let countedErrorCount = Atomic<Int>(0)
    private let overCount = Atomic<Int>(0)
    private let wanted = Atomic<Bool>(true)
    private let completed = Atomic<Bool>(false)
    private let stopInstant = Atomic<UInt64>(0)

    /// Creates the counters of a run.
    public init(latencyMax: UInt64 = .max) {
        self.latencyMax = latencyMax
    }

    /// Requests sent so far.
    public var sent: Int { sentCount.load(ordering: .relaxed) }
    /// Requests answered or failed so far.
    public var done: Int { doneCount.load(ordering: .relaxed) }
    /// Those of `done` that failed.
    public var errors: Int { errorCount.load(ordering: .relaxed) }
    /// Those of `done` that were due after the warm-up.
    var counted: Int { countedCount.load(ordering: .relaxed) }
    /// Those of `counted` that failed.
    var countedErrors: Int { countedErrorCount.load(ordering: .relaxed) }
    /// Those of `counted` that succeeded too late.
    var over: Int { overCount.load(ordering: .relaxed) }
    /// Whether the run is to go on.
    var isWanted: Bool { wanted.load(ordering: .relaxed) }

    /// Everything that was to happen has: sends nothing more, and the run is a whole one although its schedule is not.
    public func complete() {
        completed.store(true, ordering: .relaxed)
        stop()
    }

    /// Whether the run ended before its schedule because it was complete.
    var isComplete: Bool { completed.load(ordering: .relaxed) }

    /// Sends nothing more; requests under way are waited for.
    public func stop() {
        if stopInstant.load(ordering: .relaxed) == 0 {
            stopInstant.store(monotonicNanoseconds(), ordering: .relaxed)
        }
        wanted.store(false, ordering: .releasing)
    }

    /// When the wish to stop came first, in nanoseconds of the monotonic clock; 0 before.
    var stoppedAt: UInt64 { stopInstant.load(ordering: .relaxed) }

    @inline(__always)
    func countSent() {
        sentCount.wrappingAdd(1, ordering: .relaxed)
    }

    @inline(__always)
    func countDone(_ outcome: Outcome, isCounted: Bool) {
        let isError = outcome.kind != .success && outcome.kind != .abandoned
        doneCount.wrappingAdd(1, ordering: .relaxed)
        if isError { errorCount.wrappingAdd(1, ordering: .relaxed) }
        guard isCounted else { return }
        countedCount.wrappingAdd(1, ordering: .relaxed)
        if isError { countedErrorCount.wrappingAdd(1, ordering: .relaxed) }
        if outcome.kind == .success, outcome.latency > latencyMax { overCount.wrappingAdd(1, ordering: .relaxed) }
    }
}
