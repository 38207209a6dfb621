internal import Synchronization

/// Some of the latest `/v1/retrieve` bodies that a worker answered, so that a new snapshot can be held to what is asked today. Kept
/// in memory that is allocated once. The worker never waits for whoever reads them.
///
/// `@unchecked Sendable`: what follows `isTaken` is touched only by whoever has taken it.
public final class RequestSample: @unchecked Sendable {
    /// One of so many requests is kept.
    public static let distance = 64
    private static let slotCount = 64
    private static let slotByteCount = 8192

    private let isTaken = Atomic<Bool>(false)
    private let slots = UnsafeMutableRawBufferPointer.allocate(
        byteCount: RequestSample.slotCount * RequestSample.slotByteCount, alignment: 8)
    private var lengths = [Int](repeating: 0, count: RequestSample.slotCount)
    private var keptCount = 0
    // Of the worker alone.
    private var seenCount = 0

    /// Allocates the room.
    public init() {}

    deinit {
        slots.deallocate()
    }

    /// Keeps the body if it is its turn, not too long, and nobody reads. On the worker's thread.
    @inline(__always)
    func offer(_ body: UnsafeRawBufferPointer) {
        seenCount &+= 1
        guard seenCount % Self.distance == 1 else { return }
        keep(body)
    }

    private func keep(_ body: UnsafeRawBufferPointer) {
        guard (1...Self.slotByteCount).contains(body.count), !isTaken.exchange(true, ordering: .acquiring) else {
            return
        }
        let slot = keptCount % Self.slotCount
        keptCount += 1
        lengths[slot] = body.count
        (slots.baseAddress! + slot * Self.slotByteCount).copyMemory(from: body.baseAddress!, byteCount: body.count)
        isTaken.store(false, ordering: .releasing)
    }

    /// The bodies that are kept, in no order; none if the worker is just keeping one.
    public func bodies() -> [[UInt8]] {
        guard !isTaken.exchange(true, ordering: .acquiring) else { return [] }
        defer { isTaken.store(false, ordering: .releasing) }
        return (0..<min(keptCount, Self.slotCount)).map { slot in
            Array(slots[slot * Self.slotByteCount..<slot * Self.slotByteCount + lengths[slot]])
        }
    }
}
