internal import ItemIndex
internal import Synchronization

/// Which rows of one snapshot are paused, as a list of changes that each worker follows at its own pace: while nothing
/// changes, a request costs one atomic load, and it never waits for whoever makes a change. Shared by the workers and whoever pauses.
///
/// The list is a chain of blocks that only grows. A change is written before the count that covers it is published, and is never
/// touched again, so readers need no lock.
public final class PausedRows: Sendable {
    // One word leads to the next block, the others are changes: the row twice, plus one if it is paused.
    private static let blockCapacity = 510

    private nonisolated(unsafe) let first: UnsafeMutablePointer<UInt>
    private let count = Atomic<Int>(0)
    // Of those who append.
    private let end: Mutex<End>

    private struct End: @unchecked Sendable {
        var block: UnsafeMutablePointer<UInt>
        var count = 0
    }

    /// One row's change.
    public struct Change: Sendable {
        let row: Int
        let isPaused: Bool

        /// The row is paused, or resumed, from here on.
        public init(row: Int, isPaused: Bool) {
            self.row = row
            self.isPaused = isPaused
        }
    }

    /// How far a worker has followed.
    struct Position {
        fileprivate var count = 0
        /// The block of the last change followed; nil before the first.
        fileprivate var block: UnsafeMutablePointer<UInt>?
    }

    /// What is paused from the start, by row.
    public init(rows: [Int] = []) {
        first = Self.makeBlock()
        end = Mutex(End(block: first))
        append(rows.map { Change(row: $0, isPaused: true) })
    }

    deinit {
        var block: UnsafeMutablePointer<UInt>? = first
        while let each = block {
            block = UnsafeMutablePointer(bitPattern: each[0])
            each.deallocate()
        }
    }

    private static func makeBlock() -> UnsafeMutablePointer<UInt> {
        let block = UnsafeMutablePointer<UInt>.allocate(capacity: blockCapacity + 1)
        block.initialize(repeating: 0, count: blockCapacity + 1)
        return block
    }

    /// Makes changes that are in force for every request that begins after this returned.
    public func append(_ changes: [Change]) {
        end.withLock { end in
            for change in changes {
                let place = end.count % Self.blockCapacity
                if place == 0, end.count > 0 {
                    let next = Self.makeBlock()
                    end.block[0] = UInt(bitPattern: next)
                    end.block = next
                }
                end.block[1 + place] = UInt(change.row) << 1 | (change.isPaused ? 1 : 0)
                end.count += 1
            }
            count.store(end.count, ordering: .releasing)
        }
    }

    /// Brings a worker's eligible rows up to date.
    @inline(__always)
    func bring(_ eligible: EligibleRows, upToDate position: inout Position) {
        let count = count.load(ordering: .acquiring)
        if count != position.count { apply(upTo: count, eligible, &position) }
    }

    private func apply(upTo count: Int, _ eligible: EligibleRows, _ position: inout Position) {
        var block = position.block ?? first
        while position.count < count {
            let place = position.count % Self.blockCapacity
            if place == 0, position.count > 0 { block = UnsafeMutablePointer(bitPattern: block[0])! }
            let row = Int(block[1 + place] >> 1)
            if block[1 + place] & 1 == 1 {
                eligible.withdraw(row)
            } else {
                eligible.restore(row)
            }
            position.count += 1
        }
        position.block = block
    }
}
