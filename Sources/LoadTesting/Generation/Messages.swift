/// Requests as the bytes that go over the wire, rendered before the run and end to end in memory.
struct Messages: Sendable {
    private let bytes: [UInt8]
    private let offsets: [Int]  // (count + 1)

    /// How many there are.
    var count: Int { offsets.count - 1 }

    /// - method: `POST` sends each request's body as JSON; `GET` sends none.
    init(_ requests: [LoadRequest], target: Target, method: String) {
        var bytes: [UInt8] = []
        var offsets = [0]
        for request in requests {
            bytes +=
                Self.head(
                    method, target.path, authority: target.authority,
                    bodyByteCount: method == "GET" ? nil : request.body.utf8.count
                ).utf8
            if method != "GET" { bytes += request.body.utf8 }
            offsets.append(bytes.count)
        }
        self.bytes = bytes
        self.offsets = offsets
    }

    /// Lends all of them; the pointers are valid inside `body` only.
    func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        bytes.withUnsafeBytes(body)
    }

    /// Where message `index` lies.
    @inline(__always)
    func range(_ index: Int) -> (start: Int, end: Int) { (offsets[index], offsets[index + 1]) }

    static func head(_ method: String, _ path: String, authority: String, bodyByteCount: Int?) -> String {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: \(authority.hasPrefix("unix:") ? "localhost" : authority)\r\n"
        if let bodyByteCount {
            head += "Content-Type: application/json\r\nContent-Length: \(bodyByteCount)\r\n"
        }
        return head + "\r\n"
    }
}
