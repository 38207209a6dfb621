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
        _ address: String = "127.0.0.1:0", workers: Int = 1, idlePollMicros: Int = 0, sendsServerTiming: Bool = false,
        limits: (inout HTTPLimits) -> Void = { _ in }
    ) throws {
        var configuration = HTTPConfiguration(
            address: try ListenAddress(address), workers: workers, idlePollMicros: idlePollMicros,
            sendsServerTiming: sendsServerTiming)
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

    /// Waits until the counters are as asked for; false after twenty seconds.
    func reaches(_ condition: (HTTPCounters) -> Bool) -> Bool {
        for _ in 0..<2000 {
            if condition(server.counters) { return true }
            usleep(10_000)
        }
        return false
    }

    /// What `/big` answers.
    static let big = (0..<2 << 20).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

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
            big.withUnsafeBytes { exchange.reply.append($0) }
        case Text("/slow"):
            usleep(300_000)
            exchange.reply.append("slow")
        case Text("/age"):
            var now = timespec()
            clock_gettime(CLOCK_MONOTONIC, &now)
            let nanoseconds = UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
            exchange.reply.append(text: "\(nanoseconds - exchange.receivedAt)")
        case Text("/arrived"):
            let arrivedBy = exchange.arrivedBy()
            precondition(arrivedBy <= exchange.receivedAt)
            exchange.reply.append(text: "\(arrivedBy)")
        case Text("/slower"):
            sleep(3)
            exchange.reply.append("slower")
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
