internal import Synchronization

/// How far a run is, for the line that shows it; and the way to end it early.
public final class LoadProgress: Sendable {
    private let sentCount = Atomic<Int>(0)
    private let doneCount = Atomic<Int>(0)
    private let errorCount = Atomic<Int>(0)
    private let wanted = Atomic<Bool>(true)

    /// Creates the counters of a run.
    public init() {}

    /// Requests sent so far.
    public var sent: Int { sentCount.load(ordering: .relaxed) }
    /// Requests answered or failed so far.
    public var done: Int { doneCount.load(ordering: .relaxed) }
    /// Those of `done` that failed.
    public var errors: Int { errorCount.load(ordering: .relaxed) }
    /// Whether the run is to go on.
    var isWanted: Bool { wanted.load(ordering: .relaxed) }

    /// Sends nothing more; requests under way are waited for.
    public func stop() {
        wanted.store(false, ordering: .relaxed)
    }

    @inline(__always)
    func countSent() {
        sentCount.wrappingAdd(1, ordering: .relaxed)
    }

    @inline(__always)
    func countDone(isError: Bool) {
        doneCount.wrappingAdd(1, ordering: .relaxed)
        if isError { errorCount.wrappingAdd(1, ordering: .relaxed) }
    }
}
