internal import ItemIndex
internal import Synchronization

/// Which rows of one snapshot are paused, as a list of changes that each worker follows at its own pace: while nothing
/// changes, a request costs one atomic load. Shared by the workers and whoever pauses.
public final class PausedRows: Sendable {
    private let changes: Mutex<[Change]>
    private let changeCount: Atomic<Int>

    /// One row's change.
    public struct Change: Sendable {
        let row: UInt32
        let isPaused: Bool

        /// The row is paused, or resumed, from here on.
        public init(row: Int, isPaused: Bool) {
            self.row = UInt32(row)
            self.isPaused = isPaused
        }
    }

    /// What is paused from the start, by row.
    public init(rows: [Int] = []) {
        changes = Mutex(rows.map { Change(row: $0, isPaused: true) })
        changeCount = Atomic(rows.count)
    }

    /// Makes changes that are in force for every request that begins after this returned.
    public func append(_ more: [Change]) {
        changes.withLock {
            $0.append(contentsOf: more)
            changeCount.store($0.count, ordering: .releasing)
        }
    }

    /// Brings a worker's eligible rows up to date.
    ///
    /// - applied: how many changes they had; updated.
    @inline(__always)
    func bring(_ eligible: EligibleRows, upToDate applied: inout Int) {
        guard changeCount.load(ordering: .acquiring) != applied else { return }
        apply(to: eligible, &applied)
    }

    private func apply(to eligible: EligibleRows, _ applied: inout Int) {
        changes.withLock {
            for change in $0[applied...] {
                if change.isPaused {
                    eligible.withdraw(Int(change.row))
                } else {
                    eligible.restore(Int(change.row))
                }
            }
            applied = $0.count
        }
    }
}
