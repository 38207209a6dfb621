public import Memory

/// An error as RFC 9457 `application/problem+json` describes it. A problem is a constant; what is particular to one
/// occurrence is its detail:
///
///     static let unknownPath = HTTPProblem(status: 404, type: "unknown-path", title: "There is nothing here")
///     exchange.answer(.unknownPath, detail: exchange.path)
///
/// writes `{"type":"urn:belfry:problem:unknown-path","title":"There is nothing here","status":404,"detail":"/x"}`.
public struct HTTPProblem: Sendable {
    /// The HTTP status code, repeated in the body (RFC 9457, 3.1.2).
    public let status: Int
    /// What stands after `urn:belfry:problem:`; stable, clients may rely on it.
    public let type: StaticString
    /// The kind of problem in words; the same for every occurrence.
    public let title: StaticString

    /// Describes a kind of problem; both texts must need no escaping in JSON.
    public init(status: Int, type: StaticString, title: StaticString) {
        self.status = status
        self.type = type
        self.title = title
    }

    /// Appends the problem as JSON. The detail may be any bytes: they are escaped, and what is not UTF-8 becomes U+FFFD.
    public func write(to writer: inout ByteWriter, detail: Text? = nil) {
        writer.append("{\"type\":\"urn:belfry:problem:")
        writer.append(type)
        writer.append("\",\"title\":\"")
        writer.append(title)
        writer.append("\",\"status\":")
        writer.append(decimal: status)
        if let detail {
            writer.append(",\"detail\":\"")
            writer.append(escaped: detail)
            writer.append(UInt8(ascii: "\""))
        }
        writer.append(UInt8(ascii: "}"))
    }
}

/// What the server itself refuses, before a handler is called. All of these close the connection.
extension HTTPProblem {
    /// Framing that two parties could read differently, which is how requests are smuggled past a proxy.
    public static let ambiguousFraming = HTTPProblem(
        status: 400, type: "ambiguous-framing", title: "The request does not say clearly where its body ends")
    /// A head that is no HTTP: field names that are none, control characters, blanks in the target.
    public static let malformedHead = HTTPProblem(
        status: 400, type: "malformed-head", title: "The request's head is malformed")
    /// HTTP/1.1 wants one Host field (RFC 9112, 3.2).
    public static let oneHost = HTTPProblem(
        status: 400, type: "one-host", title: "The request must have one Host field")
    /// A transfer coding other than `chunked` (RFC 9112, 6.1).
    public static let unknownTransferCoding = HTTPProblem(
        status: 501, type: "unknown-transfer-coding", title: "The only transfer coding is chunked")
    /// More bytes than `HTTPLimits.bodyBytesMax`.
    public static let bodyTooLarge = HTTPProblem(
        status: 413, type: "body-too-large", title: "The request's body is too large")
    /// More connections than `HTTPLimits.connectionsPerWorkerMax`.
    public static let tooManyConnections = HTTPProblem(
        status: 503, type: "too-many-connections", title: "Too many connections")
}

extension ByteWriter {
    /// Appends an integer in decimal.
    mutating func append(decimal value: Int) {
        append(atMost: 20) { base in
            let bytes = base.assumingMemoryBound(to: UInt8.self)
            var rest = value.magnitude
            var start = 20
            repeat {
                start -= 1
                bytes[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest > 0
            if value < 0 {
                start -= 1
                bytes[start] = UInt8(ascii: "-")
            }
            base.copyMemory(from: base + start, byteCount: 20 - start)
            return 20 - start
        }
    }

    /// Appends text for the inside of a JSON string (RFC 8259, 7).
    mutating func append(escaped text: Text) {
        var decoder = UTF8()
        var bytes = text.bytes.makeIterator()
        while true {
            switch decoder.decode(&bytes) {
            case .emptyInput: return
            case .error: append("\u{FFFD}")
            case .scalarValue(let scalar): append(escaped: scalar)
            }
        }
    }

    private mutating func append(escaped scalar: Unicode.Scalar) {
        switch scalar {
        case "\"": append("\\\"")
        case "\\": append("\\\\")
        case "\u{0}"..."\u{1F}":
            append("\\u00")
            let hexadecimal: StaticString = "0123456789abcdef"
            append(hexadecimal.utf8Start[Int(scalar.value >> 4)])
            append(hexadecimal.utf8Start[Int(scalar.value & 15)])
        default:
            for byte in UTF8.encode(scalar)! { append(byte) }
        }
    }
}
