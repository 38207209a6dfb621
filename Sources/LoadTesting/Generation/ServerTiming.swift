/// The header field in which a server tells where a request's time went (<https://www.w3.org/TR/server-timing/>):
/// metrics between commas, each a name and parameters between semicolons.
///
///     Server-Timing: cache;desc="Cache, read", total;dur=0.183      // total: 183,000 ns
enum ServerTiming {
    /// The duration of the metric `total` in nanoseconds; nil if the field does not have one that is a number of
    /// milliseconds from 0 to an hour.
    static func totalNanoseconds(_ field: UnsafeRawBufferPointer) -> UInt64? {
        var scanner = Scanner(field)
        while !scanner.isAtEnd {
            let isTotal = scanner.token().elementsEqual("total".utf8)
            var duration: UInt64?
            var hasDuration = false
            while scanner.skip(";") {
                let isDuration = scanner.token().elementsEqual("dur".utf8)
                guard scanner.skip("=") else { continue }
                let value = scanner.value()
                // A parameter's first value counts.
                if isDuration, !hasDuration {
                    hasDuration = true
                    duration = nanoseconds(value)
                }
            }
            if isTotal { return duration }
            guard scanner.skip(",") else { return nil }
        }
        return nil
    }

    /// `0.183` is 183,000: digits, and maybe a point and digits. What is below a nanosecond is dropped.
    private static func nanoseconds(_ text: UnsafeRawBufferPointer) -> UInt64? {
        var value: UInt64 = 0
        var decimals: Int?
        for byte in text {
            if byte == UInt8(ascii: "."), decimals == nil {
                decimals = 0
            } else if byte >= 0x30, byte <= 0x39 {
                if let count = decimals {
                    guard count < 6 else { continue }
                    decimals = count + 1
                }
                value = value * 10 + UInt64(byte - 0x30)
                guard value <= nanosecondsMax else { return nil }
            } else {
                return nil
            }
        }
        guard text.contains(where: { $0 != UInt8(ascii: ".") }) else { return nil }
        for _ in (decimals ?? 0)..<6 {
            value *= 10
            guard value <= nanosecondsMax else { return nil }
        }
        return value
    }

    private static let nanosecondsMax: UInt64 = 3_600_000_000_000

    private struct Scanner {
        private let bytes: UnsafeRawBufferPointer
        private var position = 0

        init(_ bytes: UnsafeRawBufferPointer) {
            self.bytes = bytes
            skipSpace()
        }

        var isAtEnd: Bool { position == bytes.count }

        /// Whether the byte comes next; it and the space behind it are passed then.
        mutating func skip(_ byte: Unicode.Scalar) -> Bool {
            guard position < bytes.count, bytes[position] == UInt8(ascii: byte) else { return false }
            position += 1
            skipSpace()
            return true
        }

        /// What comes before the next space, comma, semicolon, equals sign or quotation mark.
        mutating func token() -> UnsafeRawBufferPointer {
            let start = position
            while position < bytes.count, bytes[position] > 0x20, !Self.ends(bytes[position]) { position += 1 }
            defer { skipSpace() }
            return UnsafeRawBufferPointer(rebasing: bytes[start..<position])
        }

        /// A token, or what stands between quotation marks, with its backslashes.
        mutating func value() -> UnsafeRawBufferPointer {
            guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else { return token() }
            position += 1
            let start = position
            while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
                position += bytes[position] == UInt8(ascii: "\\") ? 2 : 1
            }
            let end = min(position, bytes.count)
            position = min(end + 1, bytes.count)
            skipSpace()
            return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
        }

        private static func ends(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "="), UInt8(ascii: "\""): true
            default: false
            }
        }

        private mutating func skipSpace() {
            while position < bytes.count, bytes[position] <= 0x20 { position += 1 }
        }
    }
}
