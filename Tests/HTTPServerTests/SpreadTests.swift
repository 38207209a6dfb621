import HTTPServer
import Testing

/// How the kernel deals connections out to workers.
@Suite(.timeLimit(.minutes(1))) struct SpreadTests {
    /// Each worker has a socket of its own, and the kernel picks one by a hash of the peer's address: of 320 connections 80
    /// go to each of four, give or take 8. Twice the mean would be ten standard deviations away.
    @Test func connectionsAreSpreadOverTheWorkers() throws {
        let server = try TestServer(workers: 4)
        let clients = try (0..<320).map { _ in try server.client() }
        var counts = [0, 0, 0, 0]
        for client in clients {
            let reply = try client.exchange("GET /info HTTP/1.1\r\nHost: x\r\n\r\n")
            let worker = try #require(reply.headers["worker"].flatMap { Int($0) })
            counts[worker] += 1
        }
        #expect(counts.allSatisfy { $0 > 0 && $0 <= 160 }, "\(counts)")
        #expect(counts.reduce(0, +) == 320)
    }

    /// A connection stays with its worker.
    @Test func aConnectionHasOneWorker() throws {
        let server = try TestServer(workers: 4)
        for _ in 0..<8 {
            let client = try server.client()
            let workers = try (0..<5).map { _ in
                try client.exchange("GET /info HTTP/1.1\r\nHost: x\r\n\r\n").headers["worker"]
            }
            #expect(Set(workers).count == 1)
        }
    }
}
