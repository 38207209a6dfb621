/// UTF-8 text that somebody else keeps alive: bytes of a request body, of a parser's string buffer or of a mapped
/// file. It must not outlive them, which is why it never leaves the request (or the snapshot) it belongs to.
public struct Text {
    /// The bytes; not terminated.
    public let bytes: UnsafeRawBufferPointer

    /// Refers to bytes that outlive the value.
    public init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// Refers to a literal.
    public init(_ literal: StaticString) {
        bytes = UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount)
    }

    /// How many bytes the text has.
    public var byteCount: Int { bytes.count }

    /// A copy, for messages and logs; allocates.
    public var string: String { String(decoding: bytes, as: UTF8.self) }
}

extension Text: Equatable {
    /// Compares bytes; no Unicode normalisation.
    public static func == (left: Text, right: Text) -> Bool {
        guard left.bytes.count == right.bytes.count else { return false }
        guard let leftBase = left.bytes.baseAddress, let rightBase = right.bytes.baseAddress else { return true }
        return memcmp(leftBase, rightBase, left.bytes.count) == 0
    }
}

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif
