public import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// One shared object that is replaced as a whole while others read it, without locks for the readers, and without reference
/// counts for those who take a part of it that is theirs alone.
///
/// Each reader has a pin of its own: it writes there which object it reads, and whoever replaces the object waits until no
/// pin names the old one. These are hazard pointers (Michael, IEEE Transactions on Parallel and Distributed Systems 15:6,
/// 2004) with one pointer a reader and one object at a time.
///
///     let serving = Swappable<Generation>(readerCount: 2)
///     serving.swap(first)
///     // on the thread of reader 0:
///     serving.withPinned(by: 0, taking: { $0.session(0) }) { session in ... }
///     // on another thread, when nothing reads `old` any more it is returned:
///     let old = serving.swap(second)
public final class Swappable<Value: AnyObject & Sendable>: Sendable {
    /// How many readers there are; they are numbered from 0.
    public let readerCount: Int
    // The address of a retained object; 0 for none.
    @usableFromInline let current = Atomic<UInt>(0)
    // One per reader, each on cache lines of its own: a neighbour's pin must not slow down a reader. Set in `init`, freed in
    // `deinit`; what they point to is atomic.
    @usableFromInline nonisolated(unsafe) let pins: UnsafeMutablePointer<Atomic<UInt>>
    @usableFromInline static var pinStride: Int { 16 }

    /// Nothing at first.
    public init(readerCount: Int) {
        precondition(readerCount > 0, "an object that nobody reads")
        self.readerCount = readerCount
        pins = .allocate(capacity: readerCount * Self.pinStride)
        for position in 0..<readerCount * Self.pinStride {
            (pins + position).initialize(to: Atomic<UInt>(0))
        }
    }

    deinit {
        // Atomics of integers have nothing to destroy.
        pins.deallocate()
        if let last = UnsafeRawPointer(bitPattern: current.load(ordering: .acquiring)) {
            Unmanaged<Value>.fromOpaque(last).release()
        }
    }

    /// Lends the current object to `body`; it lives until `body` returns, whatever replaces it meanwhile. `body` gets nil if
    /// there is none. A reader's number is used by one thread at a time, and not within `body` again. For the length of `body` a
    /// reference to the object is counted, at a cache line that readers share.
    @inlinable
    public func withPinned<Outcome, Failure: Error>(
        by reader: Int, _ body: (Value?) throws(Failure) -> Outcome
    ) throws(Failure) -> Outcome {
        try withPinned(by: reader, taking: { $0 }, body)
    }

    /// Lends to `body` what `part` takes of the current object, which lives until `body` returns. As long as `part` only reads
    /// what the object stores, nobody counts a reference to the object: the compiler sees that it outlives `part`, as it could
    /// not see of `body`.
    @inlinable
    public func withPinned<Part, Outcome, Failure: Error>(
        by reader: Int, taking part: (Value) -> Part, _ body: (Part?) throws(Failure) -> Outcome
    ) throws(Failure) -> Outcome {
        precondition(reader >= 0 && reader < readerCount, "no such reader")
        let pin = pins + reader * Self.pinStride
        var address = current.load(ordering: .acquiring)
        while true {
            // The pin must be seen before the object is looked at again: whoever replaces it in between waits for the pin.
            pin.pointee.store(address, ordering: .sequentiallyConsistent)
            let latest = current.load(ordering: .sequentiallyConsistent)
            if latest == address { break }
            address = latest
        }
        defer { pin.pointee.store(0, ordering: .releasing) }
        guard let pointer = UnsafeRawPointer(bitPattern: address) else { return try body(nil) }
        // The pin holds the object, so nobody need count this reference.
        return try body(Unmanaged<Value>.fromOpaque(pointer)._withUnsafeGuaranteedRef { part($0) })
    }

    /// Replaces the object, and returns the old one once no reader holds it; until then it blocks, no longer than the longest
    /// `body` takes. From one thread at a time, which is no reader's.
    @discardableResult
    public func swap(_ next: Value?) -> Value? {
        let address = next.map { UInt(bitPattern: Unmanaged.passRetained($0).toOpaque()) } ?? 0
        let old = current.exchange(address, ordering: .sequentiallyConsistent)
        guard let pointer = UnsafeRawPointer(bitPattern: old) else { return nil }
        // If the same object was put back there is nothing to wait for.
        while old != address, (0..<readerCount).contains(where: { isPinned(old, by: $0) }) {
            usleep(50)
        }
        return Unmanaged<Value>.fromOpaque(pointer).takeRetainedValue()
    }

    private func isPinned(_ address: UInt, by reader: Int) -> Bool {
        (pins + reader * Self.pinStride).pointee.load(ordering: .sequentiallyConsistent) == address
    }
}
