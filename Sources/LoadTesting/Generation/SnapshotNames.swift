internal import CLinux

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// The snapshot ids that replies named, found without parsing the replies: `"snapshot"` stands in the first bytes.
struct SnapshotNames {
    /// The ids in the order they were first seen; at most 255.
    private(set) var names: [String] = []
    private var bytes: [[UInt8]] = []
    private var latest = 0

    /// A reply names its snapshot before its items.
    private static let searchedByteCount = 1024

    /// The index of the id that the reply names, 255 for none.
    @inline(__always)
    mutating func find(in body: UnsafeRawBufferPointer) -> UInt8 {
        let length = min(body.count, Self.searchedByteCount)
        guard length > 0, let snapshot = belfry_find(body.baseAddress!, length, "\"snapshot\"", 10) else { return 255 }
        let rest = length - (UnsafeRawPointer(snapshot) - body.baseAddress!)
        guard let key = belfry_find(snapshot, rest, "\"id\"", 4) else { return 255 }
        var start = UnsafeRawPointer(key) - body.baseAddress! + 4
        while start < length, body[start] == 0x20 || body[start] == UInt8(ascii: ":") { start += 1 }
        guard start < length, body[start] == UInt8(ascii: "\"") else { return 255 }
        start += 1
        guard let quote = memchr(body.baseAddress! + start, 0x22, length - start) else { return 255 }
        let id = UnsafeRawBufferPointer(rebasing: body[start..<(UnsafeRawPointer(quote) - body.baseAddress!)])
        if latest < bytes.count, equals(id, bytes[latest]) { return UInt8(latest) }
        return look(up: id)
    }

    private func equals(_ id: UnsafeRawBufferPointer, _ known: [UInt8]) -> Bool {
        id.count == known.count && known.withUnsafeBytes { memcmp($0.baseAddress!, id.baseAddress!, id.count) == 0 }
    }

    private mutating func look(up id: UnsafeRawBufferPointer) -> UInt8 {
        guard !id.isEmpty else { return 255 }
        if let index = bytes.firstIndex(where: { equals(id, $0) }) {
            latest = index
            return UInt8(index)
        }
        guard bytes.count < 255 else { return 255 }
        bytes.append([UInt8](id))
        names.append(String(decoding: id, as: UTF8.self))
        latest = bytes.count - 1
        return UInt8(latest)
    }
}

extension SnapshotNames {
    /// The id that a reply names, empty for none.
    static func name(in body: [UInt8]) -> String {
        var names = SnapshotNames()
        let index = body.withUnsafeBytes { names.find(in: $0) }
        return index == 255 ? "" : names.names[Int(index)]
    }
}
