/// Durations and shares as people write them.
enum Quantities {
    /// `30s`, `500ms`, `100us`, `2m`, `1h`, in nanoseconds.
    static func nanoseconds(_ text: String) -> UInt64? {
        let units: [(suffix: String, factor: Double)] = [
            ("ns", 1), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9),
        ]
        for (suffix, factor) in units where text.hasSuffix(suffix) {
            guard let value = Double(text.dropLast(suffix.count)), value.isFinite, value >= 0 else { continue }
            let nanoseconds = value * factor
            return nanoseconds <= 7 * 24 * 3600e9 ? UInt64(nanoseconds.rounded()) : nil
        }
        return text == "0" ? 0 : nil
    }

    /// `1%` or `0.01`, as a fraction of 0 to 1.
    static func share(_ text: String) -> Double? {
        let value = text.hasSuffix("%") ? Double(text.dropLast()).map { $0 / 100 } : Double(text)
        guard let value, value >= 0, value <= 1 else { return nil }
        return value
    }

    /// `512MiB` or `4GiB`, in bytes.
    static func byteCount(_ text: String) -> Int? {
        for (suffix, factor) in [("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0)] where text.hasSuffix(suffix) {
            guard let value = Double(text.dropLast(3)), value > 0, value * factor <= 1e15 else { return nil }
            return Int(value * factor)
        }
        return nil
    }

    /// `3x` or `3`, above 1.
    static func factor(_ text: String) -> Double? {
        guard let value = Double(text.hasSuffix("x") ? text.dropLast() : text[...]), value > 1, value <= 1000 else {
            return nil
        }
        return value
    }
}
