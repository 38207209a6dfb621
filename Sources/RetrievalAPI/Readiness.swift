internal import Synchronization

/// Whether `/readyz` tells load balancers to send requests here: set once the server listens, and taken back before it
/// drains. Shared by the workers and whoever starts and stops them.
public final class Readiness: Sendable {
    private let state = Atomic<Bool>(false)

    /// Not ready yet.
    public init() {}

    /// Sets it.
    public func set(_ isReady: Bool) {
        state.store(isReady, ordering: .relaxed)
    }

    /// Whether it is set.
    public var isReady: Bool {
        state.load(ordering: .relaxed)
    }
}
