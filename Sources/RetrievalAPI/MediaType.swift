public import Memory

/// What the header fields Content-Type, Content-Encoding and Accept say, as far as this API must know.
public enum MediaType {
    /// Whether a Content-Type is `application/json`, in UTF-8 if it names a charset.
    public static func isJSON(_ contentType: Text) -> Bool {
        var parameters = Pieces(contentType, separator: UInt8(ascii: ";"))
        guard let type = parameters.next(), equals(type, "application/json") else { return false }
        while let parameter = parameters.next() {
            if let charset = value(of: "charset", in: parameter), !equals(charset, "utf-8") { return false }
        }
        return true
    }

    /// Whether a Content-Encoding leaves the body as it is.
    public static func isIdentity(_ contentEncoding: Text) -> Bool {
        var codings = Pieces(contentEncoding, separator: UInt8(ascii: ","))
        while let coding = codings.next() {
            guard coding.byteCount == 0 || equals(coding, "identity") else { return false }
        }
        return true
    }

    /// Whether an Accept lets a reply be `application/json`.
    public static func acceptsJSON(_ accept: Text) -> Bool { accepts("application/json", accept) }

    /// Whether an Accept lets a reply be `application/octet-stream`.
    public static func acceptsOctets(_ accept: Text) -> Bool { accepts("application/octet-stream", accept) }

    /// Whether an Accept lets a reply be of a type below `application/` (RFC 9110, 12.5.1): the most specific range that
    /// matches decides, and it excludes the type if its weight is 0. An empty Accept excludes nothing.
    private static func accepts(_ wanted: StaticString, _ accept: Text) -> Bool {
        var ranges = Pieces(accept, separator: UInt8(ascii: ","))
        var best = 0
        var isAccepted = false
        var isEmpty = true
        while let range = ranges.next() {
            var parameters = Pieces(range, separator: UInt8(ascii: ";"))
            guard let type = parameters.next(), type.byteCount > 0 else { continue }
            isEmpty = false
            let specificity =
                equals(type, wanted) ? 3 : equals(type, "application/*") ? 2 : equals(type, "*/*") ? 1 : 0
            guard specificity > 0 else { continue }
            var isExcluded = false
            while let parameter = parameters.next() {
                if let weight = value(of: "q", in: parameter) { isExcluded = isZero(weight) }
            }
            if specificity > best {
                best = specificity
                isAccepted = !isExcluded
            } else if specificity == best {
                isAccepted = isAccepted || !isExcluded
            }
        }
        return isEmpty || isAccepted
    }

    /// The value of `name=value`, without quotes; nil if the parameter has another name.
    private static func value(of name: StaticString, in parameter: Text) -> Text? {
        guard let sign = parameter.bytes.firstIndex(of: UInt8(ascii: "=")),
            equals(trimmed(Text(UnsafeRawBufferPointer(rebasing: parameter.bytes[..<sign]))), name)
        else { return nil }
        let value = trimmed(Text(UnsafeRawBufferPointer(rebasing: parameter.bytes[(sign + 1)...])))
        let quote = UInt8(ascii: "\"")
        guard value.byteCount >= 2, value.bytes.first == quote, value.bytes.last == quote else { return value }
        return Text(UnsafeRawBufferPointer(rebasing: value.bytes[1..<(value.byteCount - 1)]))
    }

    /// `0`, `0.`, `0.000`.
    private static func isZero(_ weight: Text) -> Bool {
        weight.byteCount > 0 && weight.bytes.allSatisfy { $0 == UInt8(ascii: "0") || $0 == UInt8(ascii: ".") }
    }

    /// Compares without case, as types, codings and charsets are.
    private static func equals(_ text: Text, _ literal: StaticString) -> Bool {
        guard text.byteCount == literal.utf8CodeUnitCount else { return false }
        for index in 0..<text.byteCount {
            var byte = text.bytes[index]
            if byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") { byte += 32 }
            if byte != literal.utf8Start[index] { return false }
        }
        return true
    }

    private static func trimmed(_ text: Text) -> Text {
        var bytes = text.bytes[...]
        while let first = bytes.first, first == UInt8(ascii: " ") || first == UInt8(ascii: "\t") { bytes.removeFirst() }
        while let last = bytes.last, last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") { bytes.removeLast() }
        return Text(UnsafeRawBufferPointer(rebasing: bytes))
    }

    /// The parts of a list, trimmed. No value that matters here holds a separator in quotes.
    private struct Pieces {
        private var rest: Slice<UnsafeRawBufferPointer>?
        private let separator: UInt8

        init(_ text: Text, separator: UInt8) {
            rest = text.bytes[...]
            self.separator = separator
        }

        mutating func next() -> Text? {
            guard let rest else { return nil }
            let end = rest.firstIndex(of: separator)
            let piece = end.map { rest[..<$0] } ?? rest
            self.rest = end.map { rest[($0 + 1)...] }
            return trimmed(Text(UnsafeRawBufferPointer(rebasing: piece)))
        }
    }
}
