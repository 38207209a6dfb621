import CMicrohttpd
import Memory

/// How a request's head says where its body ends.
///
/// libmicrohttpd takes the first Content-Length of several and ignores it next to Transfer-Encoding; a proxy before it
/// may choose otherwise, and then one of the two takes part of a body for the next request. Such requests are refused
/// and their connection is closed (RFC 9112, 6.3).
struct Framing {
    /// Why the request is refused, or nil.
    private(set) var problem: HTTPProblem?
    /// What Content-Length says, or nil without one. libmicrohttpd has checked that it is a number.
    private(set) var declaredByteCount: UInt64?
    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110, 10.1.1).
    private(set) var awaitsContinue = false

    private var lengths = 0
    private var codings = 0
    private var isChunked = false

    init(_ connection: OpaquePointer, version: UnsafePointer<CChar>?) {
        withUnsafeMutablePointer(to: &self) {
            _ = MHD_get_connection_values_n(
                connection, MHD_ValueKind.HEADER_KIND,
                { context, _, name, nameSize, value, valueSize in
                    context!.assumingMemoryBound(to: Framing.self).pointee.take(
                        name: UnsafeRawBufferPointer(start: name, count: nameSize),
                        value: UnsafeRawBufferPointer(start: value, count: value == nil ? 0 : valueSize))
                    return .YES
                }, $0)
        }
        let isHTTP10 = version.map { Text(bytes(of: $0)) == Text("HTTP/1.0") } ?? true
        if lengths > 1 || codings > 1 || lengths + codings > 1 || (codings > 0 && isHTTP10) {
            problem = .ambiguousFraming
        } else if codings == 1, !isChunked {
            problem = .unknownTransferCoding
        }
    }

    private mutating func take(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        // By length first: most fields are none of these.
        switch name.count {
        case 6 where equal(name, "expect"):
            awaitsContinue = equal(value, "100-continue")
        case 14 where equal(name, "content-length"):
            lengths += 1
            declaredByteCount = value.reduce(into: 0) { $0 = $0 &* 10 &+ UInt64($1 &- UInt8(ascii: "0")) }
        case 17 where equal(name, "transfer-encoding"):
            codings += 1
            isChunked = equal(value, "chunked")
        default:
            break
        }
    }

    /// Compares without case; `lowercase` has no upper-case letter.
    private func equal(_ bytes: UnsafeRawBufferPointer, _ lowercase: StaticString) -> Bool {
        guard bytes.count == lowercase.utf8CodeUnitCount else { return false }
        for (index, byte) in bytes.enumerated() {
            let isUpper = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
            guard (isUpper ? byte | 0x20 : byte) == lowercase.utf8Start[index] else { return false }
        }
        return true
    }
}
