internal import Synchronization

/// The run under way, for whoever wants to end it: Ctrl-C is a wish to see the report of what was done so far.
public final class CurrentRun: Sendable {
    private struct State {
        var progress: LoadProgress?
        var isStopped = false
    }

    private let state = Mutex(State())

    /// Nothing is under way.
    public init() {}

    /// Ends the run under way, and those that would follow.
    public func stop() {
        state.withLock {
            $0.isStopped = true
            $0.progress?.stop()
        }
    }

    /// Whether somebody wanted an end.
    public var isStopped: Bool { state.withLock { $0.isStopped } }

    func begin(_ progress: LoadProgress) {
        state.withLock {
            $0.progress = progress
            if $0.isStopped { progress.stop() }
        }
    }
}
