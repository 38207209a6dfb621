/// A growable byte buffer that is written front to back and reused: `removeAll()` keeps the memory, so that a
/// worker that has answered its largest reply once does not allocate for replies again.
///
///     writer.removeAll()
///     writer.append("{\"k\":")
///     writer.withUnsafeBytes { send($0) }
public struct ByteWriter: ~Copyable {
    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    /// How many bytes are written.
    public private(set) var count = 0

    /// Creates an empty writer that holds `capacity` bytes before it grows.
    public init(capacity: Int = 4096) {
        self.capacity = max(capacity, 64)
        base = .allocate(byteCount: self.capacity, alignment: 64)
    }

    deinit {
        base.deallocate()
    }

    /// Forgets what is written and keeps the memory.
    public mutating func removeAll() {
        count = 0
    }

    /// Makes room for `byteCount` more bytes, so that the pointer of `withUnsafeFreeSpace` is at least that long.
    public mutating func reserve(_ byteCount: Int) {
        if capacity - count < byteCount {
            grow(toHold: count + byteCount)
        }
    }

    /// Appends one byte.
    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        reserve(1)
        base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    /// Appends the UTF-8 of a literal.
    @inline(__always)
    public mutating func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends bytes as they are.
    @inline(__always)
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count)
        (base + count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
    }

    /// Appends a string's UTF-8. Not for the hot path: a `String` may have to be bridged first.
    public mutating func append(text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Reserves `maximum` bytes, lets `write` fill some of them, and appends as many as it says it wrote.
    @inline(__always)
    public mutating func append(atMost maximum: Int, _ write: (UnsafeMutableRawPointer) -> Int) {
        reserve(maximum)
        let written = write(base + count)
        precondition(written >= 0 && written <= maximum, "more bytes written than reserved")
        count += written
    }

    /// Lends the written bytes. They move when the writer grows.
    public borrowing func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: base, count: count))
    }

    private mutating func grow(toHold byteCount: Int) {
        let newCapacity = max(byteCount, capacity * 2)
        let newBase = UnsafeMutableRawPointer.allocate(byteCount: newCapacity, alignment: 64)
        newBase.copyMemory(from: base, byteCount: count)
        base.deallocate()
        base = newBase
        capacity = newCapacity
    }
}
