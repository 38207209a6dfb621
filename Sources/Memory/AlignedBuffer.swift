/// A fixed number of elements, aligned for the widest vector registers, with one owner and freed with it. Written by one thread, or
/// read by many.
public struct AlignedBuffer<Element: BitwiseCopyable>: ~Copyable {
    /// The elements.
    public let elements: UnsafeMutableBufferPointer<Element>

    /// Allocates `count` elements, all `value`.
    public init(repeating value: Element, count: Int) {
        elements = Self.allocate(count: count)
        elements.initialize(repeating: value)
    }

    /// Copies elements, which many threads may then read without counting references to an array.
    public init(copying source: [Element]) {
        elements = Self.allocate(count: source.count)
        _ = elements.initialize(from: source)
    }

    private static func allocate(count: Int) -> UnsafeMutableBufferPointer<Element> {
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: max(count, 1) * MemoryLayout<Element>.stride, alignment: 64)
        let base = raw.bindMemory(to: Element.self, capacity: max(count, 1))
        return UnsafeMutableBufferPointer(start: base, count: count)
    }

    deinit {
        UnsafeMutableRawPointer(elements.baseAddress!).deallocate()
    }

    /// The first element's address.
    public var base: UnsafeMutablePointer<Element> { elements.baseAddress! }
    /// How many elements there are.
    public var count: Int { elements.count }
}
