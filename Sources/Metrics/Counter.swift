internal import Synchronization

/// A count that one thread increments and any thread reads. Without a read-modify-write, so it costs the writer a load and a
/// store; two threads that increment the same counter lose counts.
public final class Counter: Sendable {
    // Shared as the atomic is; allocated in init, freed in deinit.
    private nonisolated(unsafe) let cell: UnsafeMutablePointer<Atomic<Int>>

    /// Creates a counter of 0, on cache lines of its own: two workers' counters do not slow each other.
    public init() {
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: SharedMemory.lineByteCount, alignment: SharedMemory.lineByteCount)
        cell = memory.bindMemory(to: Atomic<Int>.self, capacity: 1)
        cell.initialize(to: Atomic(0))
    }

    deinit {
        cell.deinitialize(count: 1)
        UnsafeMutableRawPointer(cell).deallocate()
    }

    /// Adds to the count; on the counter's own thread only.
    @inline(__always)
    public func increment(by amount: Int = 1) {
        cell.pointee.store(cell.pointee.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    /// The count so far; from any thread.
    public var value: Int { cell.pointee.load(ordering: .relaxed) }
}

/// What is written by one thread and read by others stands this far from what another thread writes: a cache line has 64
/// bytes, and processors fetch them in pairs.
enum SharedMemory {
    static let lineByteCount = 128
}
