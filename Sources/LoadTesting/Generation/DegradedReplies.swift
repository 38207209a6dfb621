internal import CLinux

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Which replies say that they are degraded, found without parsing them.
enum DegradedReplies {
    /// `degraded` stands behind the items, or in the head of a binary reply; only what `explain` adds comes later.
    private static let searchedByteCount = 1024

    /// Whether `"degraded":[` is in the reply's first or last bytes and is followed by anything but `]`.
    @inline(__always)
    static func isDegraded(_ body: UnsafeRawBufferPointer) -> Bool {
        guard let base = body.baseAddress else { return false }
        let length = min(body.count, searchedByteCount)
        guard
            let key = belfry_find(base + (body.count - length), length, "\"degraded\"", 10)
                ?? belfry_find(base, length, "\"degraded\"", 10)
        else { return false }
        var rest = UnsafeRawBufferPointer(rebasing: body[(key - base + 10)...])
        for expected in [UInt8(ascii: ":"), UInt8(ascii: "[")] {
            rest = UnsafeRawBufferPointer(rebasing: rest.drop { $0 == 0x20 })
            guard rest.first == expected else { return false }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
        }
        let first = rest.first { $0 != 0x20 }
        return first != nil && first != UInt8(ascii: "]")
    }
}
