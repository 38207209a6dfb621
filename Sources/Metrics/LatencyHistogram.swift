internal import Synchronization

/// How many durations fell into each of 28 buckets, from 50 us to 1 s and beyond, and their sum. One thread records, any
/// thread reads; recording takes no lock and no memory.
///
///     let histogram = LatencyHistogram()
///     histogram.record(nanoseconds: 82_000)      // the bucket of 75 us < x <= 100 us
public final class LatencyHistogram: Sendable {
    /// The buckets' upper bounds in nanoseconds, inclusive, ascending; 1, 1.5, 2, 3, 5 and 7.5 of each decade. The last bucket,
    /// which has none, is not among them.
    public static let boundsNanoseconds: [UInt64] = [
        50_000, 75_000,
        100_000, 150_000, 200_000, 300_000, 500_000, 750_000,
        1_000_000, 1_500_000, 2_000_000, 3_000_000, 5_000_000, 7_500_000,
        10_000_000, 15_000_000, 20_000_000, 30_000_000, 50_000_000, 75_000_000,
        100_000_000, 150_000_000, 200_000_000, 300_000_000, 500_000_000, 750_000_000,
        1_000_000_000,
    ]

    /// The same bounds in seconds.
    public static let boundsSeconds: [Double] = boundsNanoseconds.map { Double($0) / 1e9 }

    private static let boundCount = boundsNanoseconds.count
    /// One bucket more than bounds, then the sum.
    private static let cellCount = boundCount + 2

    // Shared as the atomics are; allocated in init, freed in deinit. Buckets, then the sum in nanoseconds.
    private nonisolated(unsafe) let cells: UnsafeMutablePointer<Atomic<UInt64>>
    // Written in init only. A copy of the bounds beside the buckets, so that recording reads no array of another owner.
    private nonisolated(unsafe) let bounds: UnsafeMutablePointer<UInt64>

    /// Creates an empty histogram, on cache lines of its own.
    public init() {
        let line = SharedMemory.lineByteCount
        let wordCount = Self.cellCount + Self.boundCount
        let byteCount = (wordCount * MemoryLayout<UInt64>.stride + line - 1) / line * line
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: line)
        cells = memory.bindMemory(to: Atomic<UInt64>.self, capacity: Self.cellCount)
        for cell in 0..<Self.cellCount { (cells + cell).initialize(to: Atomic(0)) }
        bounds = (memory + Self.cellCount * MemoryLayout<UInt64>.stride)
            .bindMemory(to: UInt64.self, capacity: Self.boundCount)
        for bound in 0..<Self.boundCount { (bounds + bound).initialize(to: Self.boundsNanoseconds[bound]) }
    }

    deinit {
        cells.deinitialize(count: Self.cellCount)
        UnsafeMutableRawPointer(cells).deallocate()
    }

    /// Counts one duration; on the histogram's own thread only.
    public func record(nanoseconds: UInt64) {
        // The first bound that is not less, by halving: 5 steps.
        var low = 0
        var count = Self.boundCount
        while count > 0 {
            let half = count / 2
            if bounds[low + half] < nanoseconds {
                low += half + 1
                count -= half + 1
            } else {
                count = half
            }
        }
        add(1, to: low)
        add(nanoseconds, to: Self.boundCount + 1)
    }

    @inline(__always)
    private func add(_ amount: UInt64, to cell: Int) {
        cells[cell].store(cells[cell].load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    /// How many durations each bucket has, not cumulative; one element more than there are bounds. From any thread.
    public var counts: [Int] {
        (0...Self.boundCount).map { Int(cells[$0].load(ordering: .relaxed)) }
    }

    /// The durations' sum. Read while the other thread records, it may be one duration ahead of `counts` or behind them.
    public var sumSeconds: Double {
        Double(cells[Self.boundCount + 1].load(ordering: .relaxed)) / 1e9
    }
}
