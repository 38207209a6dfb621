import Glibc
import Memory
import Synchronization
import Testing

@testable import HTTPServer

/// Requests that are set aside, and those that are served meanwhile.
@Suite struct SetAsideTests {
    /// `/long` is set aside and serves others until it is let go, `/stubborn` does not serve them; `/short` answers at once. Replies tell
    /// in which order requests were finished.
    private final class Order: Sendable {
        let finishedCount = Atomic<Int>(0)
        /// Long requests that have begun.
        let begunCount = Atomic<Int>(0)
        /// How many long ones may end.
        let released = Atomic<Int>(0)

        func finish(_ exchange: Exchange) {
            let place = finishedCount.add(1, ordering: .relaxed).newValue
            exchange.reply.append(text: "\(place)")
        }
    }

    private let order = Order()

    private func server() throws -> HTTPServer {
        let order = order
        let configuration = HTTPConfiguration(address: try ListenAddress("127.0.0.1:0"), postponesReplies: true)
        let server = HTTPServer(configuration: configuration) { _ in
            { exchange in
                let isStubborn = exchange.path == Text("/stubborn")
                guard isStubborn || exchange.path == Text("/long") else { return order.finish(exchange) }
                guard exchange.isSetAside else { return exchange.setAside() }
                let number = order.begunCount.add(1, ordering: .relaxed).newValue
                // Ten seconds at most, so that what is wrong fails and does not hang.
                for _ in 0..<10_000 where order.released.load(ordering: .relaxed) < number {
                    if !isStubborn { exchange.serveOthers(every: 0) }
                    usleep(1000)
                }
                order.finish(exchange)
            }
        }
        try server.start()
        return server
    }

    private func release(_ count: Int) { order.released.store(count, ordering: .relaxed) }

    private func begun(_ count: Int) -> Bool {
        for _ in 0..<2000 {
            if order.begunCount.load(ordering: .relaxed) == count { return true }
            usleep(5000)
        }
        return false
    }

    private static func get(_ path: String) -> String { "GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n" }
    private static func post(_ path: String, _ body: String) -> String {
        "POST \(path) HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    @Test func othersAreServedMeanwhile() throws {
        let server = try server()
        defer { server.stop() }
        let (slow, quick) = (try TestClient(server.boundAddress!), try TestClient(server.boundAddress!))
        try slow.send(Self.post("/long", "{}"))
        #expect(begun(1))
        for place in 1...3 { #expect(try quick.exchange(Self.get("/short")).text == "\(place)") }
        // New connections as well.
        #expect(try TestClient(server.boundAddress!).exchange(Self.get("/short")).text == "4")
        release(1)
        #expect(try slow.receive().text == "5")
        // Its connection goes on.
        #expect(try slow.exchange(Self.get("/short")).text == "6")
        #expect(server.counters.requests == 6)
    }

    @Test func longOnesComeOneAfterAnother() throws {
        let server = try server()
        defer { server.stop() }
        let clients = try (0..<3).map { _ in try TestClient(server.boundAddress!) }
        for (number, client) in clients.enumerated() {
            try client.send(Self.get("/long"))
            // The first one runs, and those behind it were heard.
            #expect(begun(1))
            #expect(try TestClient(server.boundAddress!).exchange(Self.get("/short")).text == "\(number + 1)")
        }
        #expect(order.begunCount.load(ordering: .relaxed) == 1)
        for (number, client) in clients.enumerated() {
            release(number + 1)
            #expect(try client.receive().text == "\(number + 4)")
        }
    }

    /// A reply that is finished is sent before the next long request begins, which may not look up for a while.
    @Test func finishedRepliesDoNotWait() throws {
        let server = try server()
        defer { server.stop() }
        let clients = try (0..<2).map { _ in try TestClient(server.boundAddress!) }
        try clients[0].send(Self.get("/long"))
        #expect(begun(1))
        try clients[1].send(Self.get("/stubborn"))
        #expect(try TestClient(server.boundAddress!).exchange(Self.get("/short")).text == "1")
        release(1)
        clients[0].setPatience(5000)
        #expect(try clients[0].receive().text == "2")
        #expect(order.finishedCount.load(ordering: .relaxed) == 2)
        release(2)
        #expect(try clients[1].receive().text == "3")
    }

    @Test func aLongRequestGetsItsShare() {
        var pace = Pace()
        #expect(pace.isDue(at: 0))
        // Others who are quick come every 100.
        pace.others(from: 1000, to: 1020, quota: 100)
        #expect(!pace.isDue(at: 1119))
        #expect(pace.isDue(at: 1120))
        // Others who take 4000 wait 1000.
        pace.others(from: 2000, to: 6000, quota: 100)
        #expect(!pace.isDue(at: 6999))
        #expect(pace.isDue(at: 7000))
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() throws {
        let server = try server()
        defer { server.stop() }
        let client = try TestClient(server.boundAddress!)
        try client.send(Self.get("/short") + Self.get("/long") + Self.get("/short"))
        #expect(try client.receive().text == "1")
        #expect(begun(1))
        #expect(try TestClient(server.boundAddress!).exchange(Self.get("/short")).text == "2")
        release(1)
        #expect(try client.receive().text == "3")
        #expect(try client.receive().text == "4")
    }

    @Test func whoHangsUpHarmsNobody() throws {
        let server = try server()
        defer { server.stop() }
        do {
            let gone = try TestClient(server.boundAddress!)
            try gone.send(Self.get("/long"))
            #expect(begun(1))
            let waiting = try TestClient(server.boundAddress!)
            try waiting.send(Self.get("/long"))
        }
        let client = try TestClient(server.boundAddress!)
        #expect(try client.exchange(Self.get("/short")).status == 200)
        release(2)
        #expect(begun(2))
        #expect(try client.exchange(Self.get("/short")).status == 200)
    }

    @Test func aDrainAnswersThem() throws {
        let server = try server()
        let clients = try (0..<2).map { _ in try TestClient(server.boundAddress!) }
        for client in clients { try client.send(Self.get("/long")) }
        #expect(begun(1))
        release(2)
        server.drain(timeout: .seconds(10))
        for client in clients {
            let reply = try client.receive()
            #expect(reply.status == 200)
            #expect(client.isClosedByServer())
        }
    }

    /// Those that have not begun when the time is over are cut.
    @Test func aDrainDoesNotWaitForever() throws {
        let server = try server()
        let clients = try (0..<2).map { _ in try TestClient(server.boundAddress!) }
        for client in clients { try client.send(Self.get("/long")) }
        #expect(begun(1))
        let drain = Thread { server.drain(timeout: .milliseconds(100)) }
        usleep(300_000)
        release(1)
        drain.join()
        #expect(order.begunCount.load(ordering: .relaxed) == 1)
        #expect(clients[1].isClosedByServer())
    }

    /// The one that runs is waited for, as any handler is; those that wait are cut.
    @Test func aStopCutsThoseThatWait() throws {
        let server = try server()
        let clients = try (0..<3).map { _ in try TestClient(server.boundAddress!) }
        for client in clients {
            try client.send(Self.get("/long"))
            #expect(begun(1))
        }
        #expect(try TestClient(server.boundAddress!).exchange(Self.get("/short")).status == 200)
        let stop = Thread { server.stop() }
        usleep(50_000)
        release(3)
        stop.join()
        #expect(order.begunCount.load(ordering: .relaxed) == 1)
        for client in clients[1...] { #expect(client.isClosedByServer()) }
    }
}
