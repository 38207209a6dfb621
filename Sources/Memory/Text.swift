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

/// Text that owns its bytes, for what lives as long as a snapshot and is compared or written per request.
public final class OwnedText: Sendable {
    // Written once, in init.
    private nonisolated(unsafe) let bytes: UnsafeMutableRawBufferPointer

    /// Copies a string's UTF-8.
    public init(_ string: String) {
        let utf8 = Array(string.utf8)
        bytes = .allocate(byteCount: max(utf8.count, 1), alignment: 1)
        bytes.copyBytes(from: utf8)
        byteCount = utf8.count
    }

    private let byteCount: Int

    deinit {
        bytes.deallocate()
    }

    /// The text; valid while the object lives.
    public var text: Text { Text(UnsafeRawBufferPointer(rebasing: bytes[0..<byteCount])) }
}

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif
