internal import CLinux

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// The bytes of one connection's reply as they come, and how far they make up an HTTP/1.1 message (RFC 9112).
/// Owned by a `Connection`, which frees it.
struct ReplyBuffer {
    /// What has come so far.
    enum Progress {
        case partial
        case whole
        case malformed
    }

    /// More than any reply of ours: a head of 64 KiB, or a message of 256 MiB, is no reply.
    static let headBytesMax = 64 << 10
    static let bytesMax = 256 << 20
    /// A chunk's size with its extensions and the line end.
    static let sizeLineBytesMax = 64

    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    private(set) var count = 0
    private var headEnd = 0  // 0: the head is not whole
    private var bodyEnd = 0  // of a chunked body, the decoded bytes so far; else where the body will end
    private var chunkStart = 0  // the next chunk's size line
    private var framing = Framing.untilClose
    /// What `Inference-Header-Content-Length` says: a binary reply begins with so many bytes of JSON. Nil without it.
    private(set) var jsonByteCount: Int?
    /// What `Server-Timing` says about `total`, in nanoseconds; 0 without it.
    private(set) var serverNanoseconds: UInt64 = 0
    /// The HTTP status, once the head is whole.
    private(set) var status: UInt16 = 0
    /// Whether the server closes the connection after this reply.
    private(set) var closes = false

    private enum Framing {
        case length
        case chunked
        case untilClose
    }

    init() {
        capacity = 16 << 10
        base = .allocate(byteCount: capacity, alignment: 64)
    }

    func free() {
        base.deallocate()
    }

    /// Forgets the reply and keeps the memory.
    @inline(__always)
    mutating func removeAll() {
        count = 0
        headEnd = 0
    }

    /// The body of a whole reply.
    var body: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base + headEnd, count: bodyEnd - headEnd) }

    /// Reads once what the socket has; as `recv`. `arrived` is when the kernel had it, as of `belfry_receive`.
    @inline(__always)
    mutating func receive(_ descriptor: Int32, arrived: inout UInt64) -> Int {
        if capacity - count < 4096 { grow() }
        let received = belfry_receive(descriptor, base + count, capacity - count, &arrived)
        if received > 0 { count += received }
        return received
    }

    /// Reads once what the socket has; as `recv`.
    mutating func receive(_ descriptor: Int32) -> Int {
        var arrived: UInt64 = 0
        return receive(descriptor, arrived: &arrived)
    }

    private mutating func grow() {
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity * 4, alignment: 64)
        larger.copyMemory(from: base, byteCount: count)
        base.deallocate()
        base = larger
        capacity *= 4
    }

    /// What the bytes so far amount to. Bytes beyond the reply's end are a fault: nothing was asked for.
    mutating func progress() -> Progress {
        if headEnd == 0 {
            let found = readHead()
            if found != .whole { return found }
        }
        switch framing {
        case .length: return count < bodyEnd ? .partial : count == bodyEnd ? .whole : .malformed
        case .chunked: return readChunks()
        case .untilClose: return count <= Self.bytesMax ? .partial : .malformed
        }
    }

    /// The server closed the connection: whether that ends the reply as it should.
    mutating func progressAtClose() -> Progress {
        guard headEnd > 0, framing == .untilClose else { return .partial }
        bodyEnd = count
        return .whole
    }

    private mutating func readHead() -> Progress {
        while true {
            guard let end = belfry_find(base, count, "\r\n\r\n", 4) else {
                return count < Self.headBytesMax ? .partial : .malformed
            }
            let length = end - UnsafeRawPointer(base) + 4
            let bytes = base.assumingMemoryBound(to: UInt8.self)
            guard length >= 16, memcmp(base, "HTTP/1.", 7) == 0, bytes[7] &- 0x30 < 10, bytes[8] == 0x20,
                bytes[12] == 0x20 || bytes[12] == 13
            else { return .malformed }
            var value: UInt16 = 0
            for offset in 9..<12 {
                let digit = bytes[offset] &- 0x30
                guard digit < 10 else { return .malformed }
                value = value * 10 + UInt16(digit)
            }
            guard value >= 100 else { return .malformed }
            if value / 100 == 1 {  // an interim reply: the real one follows
                memmove(base, base + length, count - length)
                count -= length
                continue
            }
            status = value
            closes = bytes[7] == 0x30  // HTTP/1.0
            guard readFields(length) else { return .malformed }
            headEnd = length
            if value == 204 || value == 304 {  // have no body, whatever a length says of the one there would be
                framing = .length
                bodyEnd = 0
            }
            switch framing {
            case .chunked:
                chunkStart = length
                bodyEnd = length
            case .untilClose: closes = true
            case .length: bodyEnd += length
            }
            return .whole
        }
    }

    /// Framing, persistence and the length of a binary reply's JSON; false if the fields contradict each other.
    private mutating func readFields(_ headLength: Int) -> Bool {
        framing = .untilClose
        jsonByteCount = nil
        serverNanoseconds = 0
        var hasLength = false
        let bytes = base.assumingMemoryBound(to: UInt8.self)
        guard let statusLineEnd = memchr(base, 10, headLength) else { return false }
        var line = statusLineEnd - UnsafeMutableRawPointer(base) + 1
        while line < headLength - 2 {
            guard let newline = memchr(base + line, 10, headLength - line) else { return false }
            let next = newline - UnsafeMutableRawPointer(base) + 1
            let length = next - line
            switch bytes[line] | 0x20 {
            case UInt8(ascii: "c"):
                if length > 15, strncasecmp(base + line, "content-length:", 15) == 0 {
                    guard let value = number(line + 15, next), !hasLength || bodyEnd == value else { return false }
                    hasLength = true
                    framing = framing == .chunked ? .chunked : .length
                    bodyEnd = value
                } else if length > 11, strncasecmp(base + line, "connection:", 11) == 0 {
                    closes = closes ? !has("keep-alive", line + 11, next) : has("close", line + 11, next)
                }
            case UInt8(ascii: "i"):
                if length > 32, strncasecmp(base + line, "inference-header-content-length:", 32) == 0 {
                    guard let value = number(line + 32, next) else { return false }
                    jsonByteCount = value
                }
            case UInt8(ascii: "s"):
                if length > 14, strncasecmp(base + line, "server-timing:", 14) == 0 {
                    serverNanoseconds =
                        ServerTiming.totalNanoseconds(
                            UnsafeRawBufferPointer(start: base + line + 14, count: length - 14)) ?? serverNanoseconds
                }
            case UInt8(ascii: "t"):
                if length > 18, strncasecmp(base + line, "transfer-encoding:", 18) == 0 {
                    guard has("chunked", line + 18, next) else { return false }
                    framing = .chunked
                }
            default: break
            }
            line = next
        }
        return !(hasLength && framing == .chunked)
    }

    /// The number that a field's value is, nil for anything else or more than a message may have.
    private func number(_ start: Int, _ end: Int) -> Int? {
        let bytes = base.assumingMemoryBound(to: UInt8.self)
        var value = 0
        var digits = 0
        var isOver = false
        for index in start..<end {
            let digit = Int(bytes[index]) - 0x30
            if digit >= 0, digit < 10, !isOver {
                value = value * 10 + digit
                digits += 1
                guard value <= Self.bytesMax else { return nil }
            } else if bytes[index] > 0x20 {
                return nil
            } else {
                isOver = digits > 0
            }
        }
        return digits > 0 ? value : nil
    }

    private func has(_ token: StaticString, _ start: Int, _ end: Int) -> Bool {
        var position = start
        while position + token.utf8CodeUnitCount <= end {
            let candidate = base + position
            if strncasecmp(
                candidate.assumingMemoryBound(to: CChar.self),
                UnsafeRawPointer(token.utf8Start).assumingMemoryBound(to: CChar.self), token.utf8CodeUnitCount) == 0
            {
                return true
            }
            position += 1
        }
        return false
    }

    /// Moves the chunks' data together; `chunkStart` is where the next size line is expected.
    private mutating func readChunks() -> Progress {
        let bytes = base.assumingMemoryBound(to: UInt8.self)
        while true {
            guard count <= Self.bytesMax else { return .malformed }
            guard let newline = memchr(base + chunkStart, 10, count - chunkStart) else {
                return count - chunkStart < Self.sizeLineBytesMax ? .partial : .malformed
            }
            let lineEnd = newline - UnsafeMutableRawPointer(base) + 1
            guard lineEnd - chunkStart <= Self.sizeLineBytesMax else { return .malformed }
            var size = 0
            var position = chunkStart
            while position < lineEnd, let digit = Self.hexadecimal(bytes[position]) {
                size = size * 16 + digit
                guard size <= Self.bytesMax else { return .malformed }
                position += 1
            }
            guard position > chunkStart, bytes[position] == 13 || bytes[position] == UInt8(ascii: ";") else {
                return .malformed
            }
            let dataEnd = lineEnd + size
            guard count >= dataEnd + 2 else { return .partial }
            guard bytes[dataEnd] == 13, bytes[dataEnd + 1] == 10 else { return .malformed }
            if size == 0 { return count == dataEnd + 2 ? .whole : .malformed }
            memmove(base + bodyEnd, base + lineEnd, size)
            bodyEnd += size
            chunkStart = dataEnd + 2
        }
    }

    private static func hexadecimal(_ byte: UInt8) -> Int? {
        switch byte {
        case 0x30...0x39: Int(byte) - 0x30
        case 0x41...0x46: Int(byte) - 0x41 + 10
        case 0x61...0x66: Int(byte) - 0x61 + 10
        default: nil
        }
    }
}
