internal import CJSON
public import Memory

/// Writing JSON: values only. Brackets, commas and names are literals of the caller, which keeps a reply's shape in
/// one place.
///
///     writer.append("{\"id\":")
///     writer.appendJSON(id)
///     writer.append("}")
extension ByteWriter {
    /// Appends UTF-8 as a JSON string: quotes, backslashes and control characters escaped, the rest as it is.
    public mutating func appendJSON(_ text: Text) {
        append(UInt8(ascii: "\""))
        appendEscaped(text.bytes)
        append(UInt8(ascii: "\""))
    }

    /// Appends a JSON string. Not for the hot path, as `append(text:)`.
    public mutating func appendJSON(_ string: String) {
        var string = string
        string.withUTF8 { appendJSON(Text(UnsafeRawBufferPointer($0))) }
    }

    /// Appends `true` or `false`.
    public mutating func appendJSON(_ value: Bool) {
        append(value ? "true" : "false")
    }

    /// Appends an integer.
    public mutating func appendJSON(_ value: Int64) {
        append(atMost: Int(CJSON_NUMBER_SPACE)) { cjson_write_int64(value, $0.assumingMemoryBound(to: CChar.self)) }
    }

    /// Appends an integer.
    public mutating func appendJSON(_ value: UInt64) {
        append(atMost: Int(CJSON_NUMBER_SPACE)) { cjson_write_uint64(value, $0.assumingMemoryBound(to: CChar.self)) }
    }

    /// Appends an integer.
    public mutating func appendJSON(_ value: Int) {
        appendJSON(Int64(value))
    }

    /// Appends the shortest decimal that reads back as the same float32. JSON has no NaN and no infinity: either is
    /// a programming error.
    public mutating func appendJSON(_ value: Float) {
        precondition(value.isFinite, "JSON has no NaN and no infinity")
        append(atMost: Int(CJSON_NUMBER_SPACE)) { cjson_write_float(value, $0.assumingMemoryBound(to: CChar.self)) }
    }

    /// Appends the shortest decimal that reads back as the same double. JSON has no NaN and no infinity: either is
    /// a programming error.
    public mutating func appendJSON(_ value: Double) {
        precondition(value.isFinite, "JSON has no NaN and no infinity")
        append(atMost: Int(CJSON_NUMBER_SPACE)) { cjson_write_double(value, $0.assumingMemoryBound(to: CChar.self)) }
    }

    /// Appends a list of floats.
    public mutating func appendJSON(_ values: UnsafeBufferPointer<Float>) {
        append(atMost: values.count * (JSONCursor.floatByteCountMax + 1) + 2 + JSONCursor.slackByteCount) { room in
            var cursor = JSONCursor(room)
            cursor.write("[")
            for index in values.indices {
                if index > 0 { cursor.write(",") }
                cursor.write(values[index])
            }
            cursor.write("]")
            return cursor.byteCount(from: room)
        }
    }

    private mutating func appendEscaped(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
        var written = 0
        while true {
            let plain = cjson_plain_prefix(base + written, bytes.count - written)
            append(UnsafeRawBufferPointer(start: base + written, count: plain))
            guard written + plain < bytes.count else { return }
            let byte = base[written + plain]
            written += plain + 1
            switch byte {
            case UInt8(ascii: "\""): append("\\\"")
            case UInt8(ascii: "\\"): append("\\\\")
            case UInt8(ascii: "\n"): append("\\n")
            case UInt8(ascii: "\r"): append("\\r")
            case UInt8(ascii: "\t"): append("\\t")
            default:
                append("\\u00")
                append(hexDigit(byte >> 4))
                append(hexDigit(byte & 15))
            }
        }
    }

    private func hexDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
    }
}
