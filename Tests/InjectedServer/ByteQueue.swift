internal import Glibc

/// Bytes that are appended at the end and taken from the start. Freed by whoever holds it; copies share the memory.
struct ByteQueue {
    private(set) var base: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    /// The first byte that has not been taken.
    var start = 0
    /// One past the last byte.
    var end = 0

    init(capacity: Int) {
        base = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    func deallocate() {
        base.deallocate()
    }

    var count: Int { end - start }
    /// The bytes that have not been taken.
    var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: base + start, count: count) }

    mutating func clear() {
        start = 0
        end = 0
    }

    /// Room for this many bytes at `base + end`.
    mutating func reserve(_ room: Int) {
        if start == end { clear() }
        guard end + room > capacity else { return }
        let grown = UnsafeMutablePointer<UInt8>.allocate(capacity: max(2 * capacity, end + room))
        memcpy(grown, base, end)
        base.deallocate()
        capacity = max(2 * capacity, end + room)
        base = grown
    }

    mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        reserve(bytes.count)
        if let from = bytes.baseAddress { memcpy(base + end, from, bytes.count) }
        end += bytes.count
    }

    mutating func append(_ text: StaticString) {
        append(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { append($0) }
    }

    /// A number in decimal, with zeros in front up to `digits`.
    mutating func append(_ number: Int, digits: Int = 1) {
        reserve(20)
        var rest = number
        var width = 1
        while rest >= 10 {
            rest /= 10
            width += 1
        }
        width = max(width, digits)
        rest = number
        for place in stride(from: width - 1, through: 0, by: -1) {
            base[end + place] = UInt8(48 + rest % 10)
            rest /= 10
        }
        end += width
    }
}

extension UnsafeBufferPointer<UInt8> {
    func isEqual(to text: StaticString) -> Bool {
        count == text.utf8CodeUnitCount && memcmp(baseAddress!, text.utf8Start, count) == 0
    }

    func hasPrefix(_ text: StaticString) -> Bool {
        count >= text.utf8CodeUnitCount && memcmp(baseAddress!, text.utf8Start, text.utf8CodeUnitCount) == 0
    }

    /// Where `text` first stands at or after `from`; nil if it does not.
    func position(of text: StaticString, from: Int = 0) -> Int? {
        let length = text.utf8CodeUnitCount
        var position = from
        while position + length <= count {
            guard let found = memchr(baseAddress! + position, Int32(text.utf8Start[0]), count - position - length + 1)
            else { return nil }
            position = baseAddress!.distance(to: found.assumingMemoryBound(to: UInt8.self))
            if memcmp(baseAddress! + position, text.utf8Start, length) == 0 { return position }
            position += 1
        }
        return nil
    }

    /// The bytes of a range.
    func slice(_ range: Range<Int>) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(rebasing: self[range])
    }

    var text: String { String(decoding: self, as: UTF8.self) }
}
