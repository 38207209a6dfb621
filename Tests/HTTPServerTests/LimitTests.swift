import Glibc
import HTTPServer
import Testing

@Suite(.timeLimit(.minutes(1))) struct LimitTests {
    private func head(_ byteCount: Int, _ fields: String = "") -> String {
        "POST /echo HTTP/1.1\r\nHost: x\r\n\(fields)Content-Length: \(byteCount)\r\n\r\n"
    }
    private let chunkedHead = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    private let info = "GET /info HTTP/1.1\r\nHost: x\r\n\r\n"

    @Test func takesBodiesUpToTheLimit() throws {
        let server = try TestServer { $0.bodyBytesMax = 100_000 }
        let client = try server.client()
        let body = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
        try client.send(head(100_000))
        try client.send(body)
        #expect(try client.receive().body == body)
        try client.send(chunkedHead + "186A0\r\n")
        try client.send(body)
        try client.send("\r\n0\r\n\r\n")
        #expect(try client.receive().body == body)
        try client.send(head(100_001))
        try client.send(body + [0])
        #expect(try client.receive().status == 413)
        #expect(client.isClosedByServer())
    }

    @Test func answersAnOversizedBodyThatIsSentWhole() throws {
        let server = try TestServer()
        for head in [head(10_000_000), chunkedHead + "989680\r\n"] {
            let client = try server.client()
            try client.send(head)
            try client.send([UInt8](repeating: 0x20, count: 10_000_000))
            if head.contains("chunked") { try client.send("\r\n0\r\n\r\n") }
            let reply = try client.receive()
            #expect(reply.status == 413)
            #expect(reply.closesConnection)
            #expect(reply.headers["content-type"] == "application/problem+json")
            #expect(reply.text.contains("\"type\":\"urn:belfry:problem:body-too-large\""))
            #expect(client.isClosedByServer())
        }
        #expect(try server.client().exchange(info).status == 200)
        #expect(server.server.counters.refused == 2)
    }

    @Test func saysNoBeforeABodyThatIsAnnouncedTooLarge() throws {
        let server = try TestServer()
        // Nobody waits for 100 MB to be thrown away, nor for a body whose sender waits for a word.
        for head in [head(100_000_000), head(2_000_000, "Expect: 100-continue\r\n")] {
            let client = try server.client()
            let reply = try client.exchange(head)
            #expect(reply.status == 413)
            #expect(client.isClosedByServer())
        }
    }

    @Test func cutsABodyThatDoesNotEnd() throws {
        let server = try TestServer { $0.discardBytesMax = 4 << 20 }
        let client = try server.client()
        try client.send(chunkedHead)
        let chunk = Array("10000\r\n".utf8) + [UInt8](repeating: 0x20, count: 65536) + Array("\r\n".utf8)
        var sent = 0
        while sent < 1 << 30, (try? client.send(chunk)) != nil { sent += chunk.count }
        // What it took before it cut, and what both kernels' buffers hold.
        #expect(sent < 64 << 20)
        // The reply is written before the cut; whether the reset overtakes it is up to the kernel.
        let reply = String(decoding: client.receiveToEnd(), as: UTF8.self)
        #expect(reply.isEmpty || reply.hasPrefix("HTTP/1.1 413 "))
        #expect(server.reaches { $0.connections == 0 && $0.refused == 1 })
        #expect(try server.client().exchange(info).status == 200)
    }

    @Test func refusesConnectionsOverTheLimitAndRecovers() throws {
        let server = try TestServer {
            $0.connectionsPerWorkerMax = 4
            $0.refusalsPerWorkerMax = 4
        }
        var clients = try (0..<4).map { _ in try server.client() }
        for client in clients { #expect(try client.exchange(info).status == 200) }
        for body in ["", "abc"] {
            let client = try server.client()
            let reply = try client.exchange(head(body.utf8.count) + body)
            #expect(reply.status == 503)
            #expect(reply.headers["retry-after"] == "1")
            #expect(reply.text.contains("urn:belfry:problem:too-many-connections"))
            #expect(client.isClosedByServer())
        }
        // Those that have a place keep it.
        for client in clients { #expect(try client.exchange(info).status == 200) }
        clients.removeLast()
        #expect(server.reaches { $0.connections == 3 })
        #expect(try server.client().exchange(info).status == 200)
        #expect(server.server.counters.refused == 2)
    }

    @Test func freesPlacesOfRefusedConnectionsThatSayNothing() throws {
        let server = try TestServer {
            $0.connectionsPerWorkerMax = 1
            $0.refusalsPerWorkerMax = 2
            $0.refusalTimeoutSeconds = 1
        }
        var clients = try (0..<3).map { _ in try server.client() }
        #expect(server.reaches { $0.connections == 3 })
        // All places are taken, so this one waits in the kernel's queue until the silent ones are cut.
        let late = try server.client()
        #expect(try late.exchange(info).status == 503)
        clients.removeAll()
        #expect(server.reaches { $0.connections == 0 })
        #expect(try server.client().exchange(info).status == 200)
    }

    @Test(arguments: [
        "", "GET /in", "GET /info HTTP/1.1\r\nHo", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    ])
    func closesSilentConnections(_ beginning: String) throws {
        let server = try TestServer { $0.idleTimeoutSeconds = 1 }
        let client = try server.client()
        try client.send(beginning)
        #expect(client.isClosedByServer())
        #expect(server.reaches { $0.connections == 0 })
    }

    @Test(arguments: ["", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n"])
    func closesConnectionsThatAreNeverSilentNorDone(_ beginning: String) throws {
        let server = try TestServer {
            $0.idleTimeoutSeconds = 2
            $0.receiveTimeoutSeconds = 1
        }
        let client = try server.client()
        try client.send(beginning)
        var sentFor = 0
        while sentFor < 100, (try? client.send("a")) != nil {
            usleep(100_000)
            sentFor += 1
        }
        // A byte every 100 ms never trips the timeout for silence; 10 s would be far over the sum of both.
        #expect(sentFor < 100)
        #expect(server.reaches { $0.connections == 0 })
    }

    @Test func closesConnectionsThatReadTooSlowly() throws {
        let server = try TestServer { $0.sendTimeoutSeconds = 1 }
        let client = try server.client()
        // More than the kernel's buffers hold.
        try client.send(String(repeating: "GET /big HTTP/1.1\r\nHost: x\r\n\r\n", count: 20))
        var seconds = 0
        while seconds < 20, server.server.counters.connections > 0 || seconds == 0 {
            #expect(client.receive(atMost: 4096) > 0)
            sleep(1)
            seconds += 1
        }
        #expect(seconds < 20)
    }

    @Test func cutsConnectionsThatMakeTheLibrarySpin() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.send(chunkedHead + "3;" + String(repeating: "a", count: 40_000))
        let innocent = try server.client()
        #expect(try innocent.exchange(info).status == 200)
        // Long before either timeout.
        #expect(client.isClosedByServer())
        #expect(server.reaches { $0.connections == 1 })
        #expect(try innocent.exchange(info).status == 200)
    }

    @Test func waitsForAHandlerLongerThanForAClient() throws {
        let server = try TestServer { $0.idleTimeoutSeconds = 2 }
        let client = try server.client()
        // The handler sleeps for 3 s: it is not the client that has been silent.
        #expect(try client.exchange("GET /slower HTTP/1.1\r\nHost: x\r\n\r\n").text == "slower")
        #expect(try client.exchange(info).status == 200)
        #expect(client.isClosedByServer())
    }

    @Test func forgetsClientsThatHangUp() throws {
        let server = try TestServer()
        let request = Array("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabcdefghi".utf8)
        for round in 0..<100 {
            let client = try server.client()
            try client.send(Array(request.prefix(round % request.count)))
            if round % 2 == 0 { client.resetWhenClosed() }
        }
        #expect(server.reaches { $0.connections == 0 })
        // Hanging up while a reply is on its way.
        for _ in 0..<20 {
            let client = try server.client()
            try client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
            client.resetWhenClosed()
        }
        #expect(server.reaches { $0.connections == 0 })
        #expect(try server.client().exchange(info).status == 200)
    }

    @Test func survivesGarbage() throws {
        let server = try TestServer { $0.idleTimeoutSeconds = 1 }
        var random = Xorshift(state: 0x9E37_79B9_7F4A_7C15)
        let valid = Array(info.utf8)
        for round in 0..<300 {
            let client = try server.client()
            var bytes: [UInt8]
            if round % 2 == 0 {
                bytes = (0..<Int(random.next() % 512)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            } else {
                // A valid request with a few bytes replaced goes deeper than noise.
                bytes = valid
                for _ in 0...random.next() % 3 {
                    bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
                }
            }
            try? client.send(bytes)
            if round % 10 == 0 {
                client.finishSending()
                _ = client.receiveToEnd()
            }
        }
        #expect(server.reaches { $0.connections == 0 })
        #expect(try server.client().exchange(info).status == 200)
    }
}

private struct Xorshift {
    var state: UInt64

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
