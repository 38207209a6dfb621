/// A growable buffer whose last written byte is followed by `padding` readable zeros, as simdjson wants it; reused like
/// `ByteWriter`, from which it differs in the padding alone.
struct PaddedBytes: ~Copyable {
    /// How many readable bytes follow the content.
    static let padding = 64

    private var base: UnsafeMutableRawPointer
    private var capacity: Int  // without the padding
    private(set) var count = 0

    init(capacity: Int) {
        self.capacity = capacity
        base = .allocate(byteCount: capacity + Self.padding, alignment: 64)
        pad()
    }

    deinit {
        base.deallocate()
    }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    mutating func removeAll() {
        count = 0
        pad()
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        if capacity - count < bytes.count { grow(toHold: count + bytes.count) }
        (base + count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
        pad()
    }

    /// Makes room, so that appending up to this size in all moves nothing.
    mutating func reserve(_ byteCount: Int) {
        if capacity < byteCount { grow(toHold: byteCount) }
    }

    private mutating func pad() {
        (base + count).initializeMemory(as: UInt8.self, repeating: 0, count: Self.padding)
    }

    private mutating func grow(toHold byteCount: Int) {
        let newCapacity = max(byteCount, capacity * 2)
        let newBase = UnsafeMutableRawPointer.allocate(byteCount: newCapacity + Self.padding, alignment: 64)
        newBase.copyMemory(from: base, byteCount: count)
        base.deallocate()
        base = newBase
        capacity = newCapacity
        pad()
    }
}
