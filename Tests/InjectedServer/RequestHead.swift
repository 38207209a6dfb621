internal import Glibc

/// A request as far as this server needs to understand one.
struct RequestHead {
    /// The request line's path without its query. Points into the input.
    let path: UnsafeBufferPointer<UInt8>
    let query: UnsafeBufferPointer<UInt8>
    let isPost: Bool
    /// Head and body. (bytes)
    let byteCount: Int
    let headByteCount: Int
    let closes: Bool

    /// Reads a head whose request has come whole; nil if it has not.
    init?(_ input: UnsafeBufferPointer<UInt8>) {
        guard let base = input.baseAddress else { return nil }
        var line = 0
        var bodyByteCount = 0
        var closes = false
        var requestLineEnd = 0
        while true {
            guard let found = memchr(base + line, 10, input.count - line) else { return nil }
            let newline = base.distance(to: found.assumingMemoryBound(to: UInt8.self))
            let length = newline - line - (newline > line && base[newline - 1] == 13 ? 1 : 0)
            if line == 0 { requestLineEnd = length }
            if length == 0 {
                line = newline + 1
                break
            }
            if line > 0, base[line] | 0x20 == UInt8(ascii: "c"), length > 11 {
                if length > 15, strncasecmp(base + line, "content-length:", 15) {
                    var value = 0
                    for index in (line + 15)..<(line + length) where base[index] &- 48 < 10 {
                        value = min(value * 10 + Int(base[index] &- 48), 1 << 30)
                    }
                    bodyByteCount = value
                } else if strncasecmp(base + line, "connection:", 11) {
                    closes = input.slice(line..<(line + length)).position(of: "close") != nil
                }
            }
            line = newline + 1
        }
        headByteCount = line
        byteCount = line + bodyByteCount
        guard byteCount <= input.count else { return nil }
        self.closes = closes
        let requestLine = input.slice(0..<requestLineEnd)
        isPost = requestLine.hasPrefix("POST ")
        let start = (requestLine.position(of: " ") ?? requestLineEnd - 1) + 1
        let end = requestLine.position(of: " ", from: start) ?? requestLineEnd
        let mark = requestLine.position(of: "?", from: start).map { min($0, end) } ?? end
        path = requestLine.slice(min(start, mark)..<mark)
        query = requestLine.slice(mark..<max(mark, end))
    }
}

private func strncasecmp(_ bytes: UnsafePointer<UInt8>, _ text: StaticString, _ count: Int) -> Bool {
    for index in 0..<count {
        let byte = bytes[index]
        let lower = byte >= 65 && byte <= 90 ? byte | 0x20 : byte
        if lower != text.utf8Start[index] { return false }
    }
    return true
}
