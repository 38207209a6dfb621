import CMicrohttpd
import Memory

/// Whether a request's head means the same to everybody.
///
/// libmicrohttpd 0.9.75 is generous: it takes the first Content-Length of several, ignores it next to
/// Transfer-Encoding, takes `Content-Length : 3` for a field of another name, and appends a folded line to the field's
/// *name*. A proxy before it may read such a head otherwise, and then one of the two takes part of a body for the next
/// request: that is how requests are smuggled. All of it is refused and the connection closed (RFC 9112, 5.1, 5.2 and
/// 6.3).
struct HeadCheck {
    /// Why the request is refused, or nil.
    private(set) var problem: HTTPProblem?
    /// What Content-Length says, or nil without one. libmicrohttpd has checked that it is a number below 2^64.
    private(set) var declaredByteCount: UInt64?
    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110, 10.1.1).
    private(set) var awaitsContinue = false

    private var hosts = 0
    private var lengths = 0
    private var codings = 0
    private var isChunked = false
    private var isMalformed = false
    private var isAmbiguous = false

    init(_ connection: OpaquePointer, method: Text, target: UnsafeRawBufferPointer, version: Text) {
        withUnsafeMutablePointer(to: &self) {
            _ = MHD_get_connection_values_n(
                connection, .HEADER_KIND,
                { context, _, name, nameSize, value, valueSize in
                    context!.assumingMemoryBound(to: HeadCheck.self).pointee.take(
                        name: UnsafeRawBufferPointer(start: name, count: nameSize),
                        value: UnsafeRawBufferPointer(start: value, count: value == nil ? 0 : valueSize))
                    return .YES
                }, $0)
        }
        let isHTTP10 = version == Text("HTTP/1.0")
        if isMalformed || !isToken(method.bytes) || target.isEmpty || target.contains(where: isBlankOrControl) {
            problem = .malformedHead
        } else if isAmbiguous || lengths + codings > 1 || (codings > 0 && isHTTP10) {
            problem = .ambiguousFraming
        } else if codings == 1, !isChunked {
            problem = .unknownTransferCoding
        } else if hosts > 1 || (hosts == 0 && !isHTTP10) {
            problem = .oneHost
        }
    }

    private mutating func take(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        if !isToken(name) || value.contains(where: isControl) { isMalformed = true }
        // By length first: most fields are none of these.
        switch name.count {
        case 4 where hasPrefix(name, "host"):
            hosts += 1
        case 6 where hasPrefix(name, "expect"):
            awaitsContinue = value.count == 12 && hasPrefix(value, "100-continue")
        case 14 where hasPrefix(name, "content-length"):
            lengths += 1
            declaredByteCount = value.reduce(into: 0) { $0 = $0 &* 10 &+ UInt64($1 &- UInt8(ascii: "0")) }
        case 17 where hasPrefix(name, "transfer-encoding"):
            codings += 1
            isChunked = value.count == 7 && hasPrefix(value, "chunked")
        case 15... where hasPrefix(name, "content-length") || hasPrefix(name, "transfer-encoding"):
            // The rest of the name is what stood on a folded line: `Content-Length:`, and ` 3` in the next line.
            isAmbiguous = true
        default:
            break
        }
    }
}

/// Compares the beginning without case; `lowercase` has no upper-case letter.
private func hasPrefix(_ bytes: UnsafeRawBufferPointer, _ lowercase: StaticString) -> Bool {
    guard bytes.count >= lowercase.utf8CodeUnitCount else { return false }
    for index in 0..<lowercase.utf8CodeUnitCount {
        let byte = bytes[index]
        let isUpper = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
        guard (isUpper ? byte | 0x20 : byte) == lowercase.utf8Start[index] else { return false }
    }
    return true
}

/// Whether it is a name as RFC 9110, 5.6.2 wants them: letters, digits and !#$%&'*+-.^_`|~, at least one.
private func isToken(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard !bytes.isEmpty else { return false }
    // Bit n of the pair is set if the byte n may stand in a name.
    let low: UInt64 = 0x03FF_6CFA_0000_0000
    let high: UInt64 = 0x57FF_FFFF_C7FF_FFFE
    for byte in bytes {
        let word = byte < 64 ? low : high
        guard byte < 128, word >> UInt64(byte & 63) & 1 == 1 else { return false }
    }
    return true
}

/// Whether the byte may not stand in a field's value (RFC 9110, 5.5); a tab may.
private func isControl(_ byte: UInt8) -> Bool {
    (byte < 0x20 && byte != 0x09) || byte == 0x7F
}

/// Whether the byte may not stand in a request target. Bytes over 127 may not either (RFC 3986), but clients that do not
/// encode them mean no harm.
private func isBlankOrControl(_ byte: UInt8) -> Bool {
    byte <= 0x20 || byte == 0x7F
}
