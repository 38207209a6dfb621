import Glibc
import HTTPServer
import Memory
import Synchronization
import Testing

/// A server with a handler that shows what it was given. It ends when the test lets go of it.
final class TestServer {
    let server: HTTPServer
    let address: ListenAddress

    init(
        _ address: String = "127.0.0.1:0", workers: Int = 1, limits: (inout HTTPLimits) -> Void = { _ in }
    ) throws {
        var configuration = HTTPConfiguration(address: try ListenAddress(address), workers: workers)
        limits(&configuration.limits)
        server = HTTPServer(configuration: configuration) { worker in
            { exchange in TestServer.handle(exchange, worker: worker) }
        }
        try server.start()
        self.address = try #require(server.boundAddress)
    }

    deinit {
        server.stop()
    }

    func client() throws -> TestClient { try TestClient(address) }

    /// Waits until the counters are as asked for; false after five seconds.
    func reaches(_ condition: (HTTPCounters) -> Bool) -> Bool {
        for _ in 0..<500 {
            if condition(server.counters) { return true }
            usleep(10_000)
        }
        return false
    }

    static let bigByteCount = 2 << 20
    static func bigByte(_ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: index &* 31 &+ index >> 8) }

    private static let notFound = HTTPProblem(status: 404, type: "unknown-path", title: "There is nothing here")
    private static let undecodable = HTTPProblem(status: 400, type: "bad-path", title: "The path is not decodable")

    private static func handle(_ exchange: Exchange, worker: Int) {
        exchange.setHeader("Worker", worker)
        switch exchange.path {
        case Text("/echo"):
            exchange.contentType = "application/octet-stream"
            exchange.reply.append(exchange.body)
            // The bytes after the body are ours to read.
            let end = exchange.body.baseAddress! + exchange.body.count
            precondition(UnsafeRawBufferPointer(start: end, count: 64).allSatisfy { $0 == 0 })
        case Text("/big"):
            exchange.reply.append(atMost: bigByteCount) { base in
                for index in 0..<bigByteCount {
                    base.storeBytes(of: bigByte(index), toByteOffset: index, as: UInt8.self)
                }
                return bigByteCount
            }
        case Text("/slow"):
            usleep(300_000)
            exchange.reply.append("slow")
        case Text("/thread"):
            let file = open("/proc/thread-self/comm", O_RDONLY)
            defer { close(file) }
            exchange.reply.append(atMost: 16) { max(0, read(file, $0, 16)) }
        case Text("/created"):
            exchange.status = 201
            exchange.setHeader("Allow", "GET, HEAD")
            exchange.setHeader("Inference-Header-Content-Length", 17)
            if let trace = exchange.header("traceparent") { exchange.setHeader("traceparent", trace) }
        case let path where path.bytes.starts(with: "/items/".utf8):
            let segment = Text(UnsafeRawBufferPointer(rebasing: path.bytes.dropFirst(7)))
            guard let decoded = exchange.percentDecoded(segment) else { return exchange.answer(undecodable) }
            exchange.reply.append(decoded.bytes)
        case let path where path.bytes.starts(with: "/info".utf8):
            exchange.contentType = "text/plain"
            exchange.reply.append(exchange.methodText.bytes)
            exchange.reply.append(" ")
            exchange.reply.append(path.bytes)
            exchange.reply.append(" query=")
            if let query = exchange.query { exchange.reply.append(query.bytes) } else { exchange.reply.append("none") }
            exchange.reply.append(" x=")
            if let header = exchange.header("x-test") {
                exchange.reply.append(header.bytes)
            } else {
                exchange.reply.append("none")
            }
        default:
            exchange.answer(notFound, detail: exchange.path)
        }
    }
}
