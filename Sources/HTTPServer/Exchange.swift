import CMicrohttpd
public import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One request and its reply. A handler reads the first and fills the second before it returns:
///
///     exchange.reply.append("{\"ok\":true}")
///     exchange.status = 200
///
/// An exchange belongs to one worker's thread and is reused for later requests, so neither it nor anything it lends
/// (`path`, `body`, header values) may be kept after the handler returned. Its memory is kept from request to request:
/// once it held the largest one, it allocates no more.
public final class Exchange {
    /// The methods a handler is likely to tell apart (RFC 9110, 9.1).
    public enum Method: Sendable {
        /// GET
        case get
        /// HEAD: handled like GET; the reply's body is counted in Content-Length and not sent.
        case head
        /// POST
        case post
        /// Any other, spelled out in `methodText`.
        case other
    }

    /// The method.
    public private(set) var method = Method.other
    /// The method as the client wrote it; methods are case-sensitive.
    public private(set) var methodText = Text("")
    /// When the server first saw the request, in nanoseconds of CLOCK_MONOTONIC: once its request line was there, or,
    /// when requests are pipelined, once the one before it was answered. What it waited in the kernel while the worker
    /// was busy is not in it; see `arrivedBy`.
    public private(set) var receivedAt: UInt64 = 0
    /// When the worker began the round of its loop in which it first saw the request: its first byte was there by then,
    /// though others may have been served before it. `receivedAt` where that is not certain.
    private var polledAt: UInt64 = 0
    /// The body, without its transfer coding; at least 64 readable zeros follow it.
    public var body: UnsafeRawBufferPointer { received.bytes }

    /// What is sent as the reply's body. Empty when the handler is called.
    public var reply = ByteWriter(capacity: 16 << 10)
    /// The reply's status code, 200 when the handler is called.
    public var status = 200
    /// The reply's Content-Type, `application/json` when the handler is called.
    public var contentType: StaticString = "application/json"
    /// Whether the connection is closed after the reply.
    public var closesConnection = false
    /// What the handler keeps between its calls for one request; nil at the first one.
    public var postponed: AnyObject?
    /// Whether the handler is called for a request that it has set aside.
    public internal(set) var isSetAside = false
    /// Set by a handler that answers later.
    var isDone: (() -> Bool)?
    /// Set by a handler that answers when the others are served.
    var wantsSettingAside = false
    /// The worker that serves a request set aside, while its handler runs.
    unowned(unsafe) var worker: Worker?
    private var pace = Pace()

    // What the worker keeps here between libmicrohttpd's callbacks.
    enum Stage {
        case head, body, postponed, aside, done, answered
    }
    var stage = Stage.head
    var refusal: HTTPProblem?
    var discardedByteCount = 0
    private(set) var answeredAt: UInt64 = 0  // when the reply was handed over, ns of CLOCK_MONOTONIC
    var received = PaddedBytes(capacity: 16 << 10)

    private var connection: OpaquePointer?
    private(set) var target = PaddedBytes(capacity: 1 << 10)
    private var pathByteCount = 0
    private var decoded = ByteWriter(capacity: 1 << 10)
    private var decodedRoom = 0
    private var headerNames = InlineArray<8, StaticString>(repeating: "")
    private var headerOffsets = InlineArray<8, Int>(repeating: 0)
    private var headerCount = 0
    private var headerValues = ByteWriter(capacity: 1 << 10)

    init() {}

    /// Starts a request: its request line has arrived.
    func begin(target text: UnsafeRawBufferPointer, connection: OpaquePointer, at now: UInt64, polledAt: UInt64) {
        self.connection = connection
        receivedAt = now
        self.polledAt = polledAt
        stage = .head
        refusal = nil
        discardedByteCount = 0
        received.removeAll()
        target.removeAll()
        target.append(withoutAuthority(text))
        pathByteCount = target.bytes.firstIndex(of: UInt8(ascii: "?")) ?? target.count
        decoded.removeAll()
        // Decoded text is lent, so the memory must not move: a handler that decodes every byte of the target twice
        // still stays within it.
        decodedRoom = 2 * text.count
        decoded.reserve(decodedRoom)
        clearReply()
        closesConnection = false
        postponed = nil
        isDone = nil
        isSetAside = false
        wantsSettingAside = false
        pace = Pace()
    }

    /// Postpones the reply: the handler returns without one, and is called again with the same exchange once `isDone` says so
    /// or the server ends. Meanwhile the worker serves its other connections; it asks every few milliseconds. Only where
    /// `HTTPConfiguration.postponesReplies` is set.
    public func postpone(until isDone: @escaping () -> Bool) {
        self.isDone = isDone
    }

    /// Sets the request aside, as one that takes long: the handler returns without a reply, and is called again with the same
    /// exchange after those that the worker found waiting with it, and after the requests set aside before. From that call it may
    /// `serveOthers`. Only where `HTTPConfiguration.postponesReplies` is set.
    ///
    ///     guard exchange.isSetAside else { return exchange.setAside() }
    ///     for part in parts {
    ///         reckon(part)
    ///         exchange.serveOthers(every: 100_000)
    ///     }
    public func setAside() {
        precondition(!isSetAside, "a request is set aside once")
        wantsSettingAside = true
    }

    /// Serves what has arrived on the worker's other connections, if it is time. The handler is called for them while it still runs for
    /// this one, so these calls must not touch the same state. Requests that it sets aside meanwhile wait for this one's end.
    ///
    /// - nanoseconds: how long this request goes on before others are served. Where serving them takes more than four times as long,
    ///   this one goes on for a quarter of that, so that it gets a fifth of the worker however many others there are.
    public func serveOthers(every nanoseconds: UInt64) {
        precondition(isSetAside, "only a request that was set aside may be interrupted")
        let now = monotonicNanoseconds()
        guard let worker, pace.isDue(at: now) else { return }
        worker.serveOthers()
        pace.others(from: now, to: monotonicNanoseconds(), quota: nanoseconds)
    }

    /// The head is complete.
    func begin(method text: UnsafePointer<CChar>) {
        methodText = Text(bytes(of: text))
        method =
            methodText == Text("GET")
            ? .get : methodText == Text("POST") ? .post : methodText == Text("HEAD") ? .head : .other
    }

    /// Forgets the reply written so far.
    public func clearReply() {
        reply.removeAll()
        status = 200
        contentType = "application/json"
        headerCount = 0
        headerValues.removeAll()
    }
}

// MARK: - The request

extension Exchange {
    /// The request target up to its query, as the client sent it: percent-encoding is left alone, because an encoded
    /// slash within an item id is no separator. Split first, then `percentDecoded` each segment.
    public var path: Text { Text(UnsafeRawBufferPointer(rebasing: target.bytes[..<pathByteCount])) }

    /// What stands after the first `?`, undecoded; nil without one.
    public var query: Text? {
        guard pathByteCount < target.count else { return nil }
        return Text(UnsafeRawBufferPointer(rebasing: target.bytes[(pathByteCount + 1)...]))
    }

    /// An instant by which the request's first byte had arrived, as early a one as is known, in nanoseconds of
    /// CLOCK_MONOTONIC. The request may have waited longer, never shorter than since then.
    ///
    /// It is the earlier of two. By the start of the worker's round the byte was there. And the kernel tells how long ago
    /// the connection's last bytes came, in ticks (4 ms at 250 Hz): what a request waited while its worker was
    /// busy with another is known to less than two of these, where the request came in one piece. Asking costs a system
    /// call. libmicrohttpd reads by itself and drops the kernel's time stamps, which would be exact.
    public func arrivedBy() -> UInt64 {
        guard let connection else { return polledAt }
        let silence = belfry_http_silence(belfry_http_socket(connection))
        return min(polledAt, monotonicNanoseconds() - silence)
    }

    /// A header field's value; of several with that name the first. Names are compared without case (RFC 9110, 5.1).
    public func header(_ name: StaticString) -> Text? {
        var value: UnsafePointer<CChar>?
        var byteCount = 0
        let found = UnsafeRawPointer(name.utf8Start).withMemoryRebound(
            to: CChar.self, capacity: name.utf8CodeUnitCount
        ) {
            MHD_lookup_connection_value_n(
                connection, .HEADER_KIND, $0, name.utf8CodeUnitCount, &value, &byteCount)
        }
        guard found == .YES else { return nil }
        // Blanks around it are no part of it; libmicrohttpd leaves those at the end.
        var bytes = UnsafeRawBufferPointer(start: value, count: value == nil ? 0 : byteCount)
        while let last = bytes.last, last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") {
            bytes = UnsafeRawBufferPointer(rebasing: bytes.dropLast())
        }
        return Text(bytes)
    }

    /// Part of `path` or `query` with its percent-encoding undone (RFC 3986, 2.1), or nil if a `%` is not followed by
    /// two hexadecimal digits. `+` is left alone. The result may be any bytes, also zero or broken UTF-8, and stays
    /// valid until the handler returns. All results of one request together hold at most twice the target's bytes;
    /// beyond it the answer is nil.
    public func percentDecoded(_ text: Text) -> Text? {
        guard text.bytes.contains(UInt8(ascii: "%")) else { return text }
        guard decoded.count + text.byteCount <= decodedRoom else { return nil }
        let start = decoded.count
        var index = 0
        while index < text.byteCount {
            var byte = text.bytes[index]
            index += 1
            if byte == UInt8(ascii: "%") {
                guard index + 2 <= text.byteCount, let high = hexadecimal(text.bytes[index]),
                    let low = hexadecimal(text.bytes[index + 1])
                else { return nil }
                byte = high << 4 | low
                index += 2
            }
            decoded.append(byte)
        }
        // The room was reserved when the request began, so these bytes do not move.
        return decoded.withUnsafeBytes { Text(UnsafeRawBufferPointer(rebasing: $0[start...])) }
    }
}

// MARK: - The reply

extension Exchange {
    /// How many header fields a handler may set.
    public static let headersMax = 8

    /// Sets a header field of the reply, besides Content-Type, Content-Length and Date, which are set anyway. Up to
    /// `headersMax` fields; one more traps. A value with a control character would end the field early (RFC 9110,
    /// 5.5): it is not set, and the answer is false.
    @discardableResult
    public func setHeader(_ name: StaticString, _ value: Text) -> Bool {
        guard value.bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return false }
        beginHeader(name)
        headerValues.append(value.bytes)
        headerValues.append(0)
        return true
    }

    /// Sets a header field of the reply to a literal.
    public func setHeader(_ name: StaticString, _ value: StaticString) {
        setHeader(name, Text(value))
    }

    /// Sets a header field of the reply to an integer.
    public func setHeader(_ name: StaticString, _ value: Int) {
        beginHeader(name)
        headerValues.append(decimal: value)
        headerValues.append(0)
    }

    private func beginHeader(_ name: StaticString) {
        precondition(headerCount < Self.headersMax, "too many header fields")
        headerNames[headerCount] = name
        headerOffsets[headerCount] = headerValues.count
        headerCount += 1
    }

    /// Makes a problem the reply, in place of what was written and of the header fields set so far.
    public func answer(_ problem: HTTPProblem, detail: Text? = nil) {
        clearReply()
        status = problem.status
        contentType = "application/problem+json"
        problem.write(to: &reply, detail: detail)
    }

    /// Hands the reply to libmicrohttpd, which sends it after the callback; the bytes stay here until it says that it
    /// has. Returns false if it refuses (no memory left in the connection's pool, an impossible status).
    func send(withServerTiming: Bool) -> Bool {
        answeredAt = monotonicNanoseconds()
        let timingOffset = headerValues.count
        if withServerTiming { writeServerTiming() }
        let response = reply.withUnsafeBytes {
            // Not written to: libmicrohttpd's interface has no const.
            MHD_create_response_from_buffer(
                $0.count, UnsafeMutableRawPointer(mutating: $0.baseAddress), .RESPMEM_PERSISTENT)
        }
        guard let response else { return false }
        defer { MHD_destroy_response(response) }
        add("Content-Type", contentType.utf8Start, to: response)
        headerValues.withUnsafeBytes { values in
            for index in 0..<headerCount {
                let value = values.baseAddress! + headerOffsets[index]
                add(headerNames[index], value.assumingMemoryBound(to: UInt8.self), to: response)
            }
        }
        if withServerTiming {
            headerValues.withUnsafeBytes { values in
                let value = values.baseAddress! + timingOffset
                add("Server-Timing", value.assumingMemoryBound(to: UInt8.self), to: response)
            }
        }
        if closesConnection { add("Connection", ("close" as StaticString).utf8Start, to: response) }
        return MHD_queue_response(connection, UInt32(status), response) == .YES
    }

    /// Milliseconds with three digits behind the point, and a zero byte.
    private func writeServerTiming() {
        let micros = Int((answeredAt - receivedAt + 500) / 1000)
        headerValues.append("total;dur=")
        headerValues.append(decimal: micros / 1000)
        headerValues.append(".")
        for divisor in [100, 10, 1] { headerValues.append(UInt8(ascii: "0") + UInt8(micros / divisor % 10)) }
        headerValues.append(0)
    }

    private func add(_ name: StaticString, _ value: UnsafePointer<UInt8>, to response: OpaquePointer) {
        // Both texts end with a zero: literals do, and setHeader writes one.
        _ = MHD_add_response_header(
            response, UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self),
            UnsafeRawPointer(value).assumingMemoryBound(to: CChar.self))
    }
}

/// A target in absolute form, `http://host/path`, as clients send it to proxies and servers must take it (RFC 9112,
/// 3.2.2), without scheme and host; any other target as it is.
private func withoutAuthority(_ target: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    guard target.first == UInt8(ascii: "h") else { return target }
    for scheme in 0..<2 {
        let prefix: StaticString = scheme == 0 ? "http://" : "https://"
        let byteCount = prefix.utf8CodeUnitCount
        guard target.count > byteCount, memcmp(target.baseAddress!, prefix.utf8Start, byteCount) == 0 else { continue }
        guard let slash = target[byteCount...].firstIndex(of: UInt8(ascii: "/")) else { return target }
        return UnsafeRawBufferPointer(rebasing: target[slash...])
    }
    return target
}

private func hexadecimal(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}
