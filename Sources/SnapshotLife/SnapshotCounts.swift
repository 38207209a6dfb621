internal import Snapshots
internal import Synchronization

/// What a daemon's swaps add up to, for `/metrics`.
final class SnapshotCounts: Sendable {
    struct Totals: Sendable {
        var swapCount = 0
        var refusedCounts: [SnapshotError.Stage: Int] = [:]
        /// Seconds and count by step.
        var steps: [SnapshotRecord.Step: (count: Int, seconds: Double, cpuSeconds: Double)] = [:]
    }

    private let state = Mutex(Totals())

    /// Nil if somebody is just counting: whoever asks may be a worker, and who counts may be on the loader thread.
    var totals: Totals? { state.withLockIfAvailable { $0 } }

    func refused(_ stage: SnapshotError.Stage) {
        state.withLock { $0.refusedCounts[stage, default: 0] += 1 }
    }

    func swapped(costs: [SnapshotRecord.Step: SnapshotRecord.Cost]) {
        state.withLock {
            $0.swapCount += 1
            for (step, cost) in costs where step != .destroy { $0.add(step, cost) }
        }
    }

    func destroyed(_ cost: SnapshotRecord.Cost) {
        state.withLock { $0.add(.destroy, cost) }
    }
}

extension SnapshotCounts.Totals {
    fileprivate mutating func add(_ step: SnapshotRecord.Step, _ cost: SnapshotRecord.Cost) {
        let sum = steps[step] ?? (0, 0, 0)
        steps[step] = (sum.count + 1, sum.seconds + cost.millis / 1e3, sum.cpuSeconds + cost.cpuMillis / 1e3)
    }
}
