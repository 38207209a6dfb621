import Glibc
import HTTPServer
import Testing

@Suite(.timeLimit(.minutes(1))) struct MessageTests {
    let server: TestServer

    init() throws {
        server = try TestServer()
    }

    private func post(_ body: String, to path: String = "/echo", fields: String = "") -> String {
        "POST \(path) HTTP/1.1\r\nHost: x\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private func get(_ target: String, fields: String = "") -> String {
        "GET \(target) HTTP/1.1\r\nHost: x\r\n\(fields)\r\n"
    }

    @Test func keepsTheConnection() throws {
        let client = try server.client()
        for number in 0..<200 {
            let reply = try client.exchange(post("body \(number)"))
            #expect(reply.status == 200)
            #expect(reply.text == "body \(number)")
            #expect(!reply.closesConnection)
        }
        let counters = server.server.counters
        #expect(counters.connections == 1)
        #expect(counters.requests == 200)
        #expect(counters.refused == 0)
    }

    /// Milliseconds from the request line to the reply's hand-over, in every reply, refusals too, or in none.
    @Test func saysHowLongItTookWhereAsked() throws {
        #expect(try server.client().exchange(get("/info")).headers["server-timing"] == nil)
        let timed = try TestServer(sendsServerTiming: true)
        let client = try timed.client()
        let slow = try #require(milliseconds(try client.exchange(get("/slow"))))
        #expect(slow >= 300 && slow < 30_000)
        for _ in 0..<100 {
            let quick = try #require(milliseconds(try client.exchange(post("x"))))
            #expect(quick >= 0 && quick < 30_000)
        }
        let refusal = try client.exchange("GET /info HTTP/1.1\r\n\r\n")  // without a Host
        #expect(refusal.status == 400 && milliseconds(refusal) != nil)
    }

    private func milliseconds(_ reply: TestClient.Response) -> Double? {
        guard let field = reply.headers["server-timing"],
            let match = field.wholeMatch(of: /total;dur=([0-9]+\.[0-9]{3})/)
        else { return nil }
        return Double(match.1)
    }

    @Test func answersPipelinedRequestsInOrder() throws {
        let client = try server.client()
        try client.send((0..<50).map { $0 % 2 == 0 ? post("\($0)") : get("/info?\($0)") }.joined())
        for number in 0..<50 {
            let reply = try client.receive()
            #expect(reply.text == (number % 2 == 0 ? "\(number)" : "GET /info query=\(number) x=none"))
        }
    }

    @Test func unchunksBodies() throws {
        let client = try server.client()
        let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(
            try client.exchange(head + "3\r\nabc\r\nA;extension=1\r\n0123456789\r\n0\r\n\r\n").text == "abc0123456789")
        #expect(try client.exchange(head + "1\r\nx\r\n0\r\nTrailer: y\r\n\r\n").text == "x")
        #expect(try client.exchange(head + "0\r\n\r\n").text == "")
    }

    @Test func takesRequestsSplitAnywhere() throws {
        let request = Array(post("hello", fields: "X-Test: 1\r\n").utf8)
        let chunked = Array(
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".utf8)
        let client = try server.client()
        for bytes in [request, chunked] {
            for split in 1..<bytes.count {
                try client.send(Array(bytes[..<split]))
                // Lets the server see the first part alone.
                while server.server.counters.connections == 0 {}
                if split % 16 == 0 { usleep(1000) }
                try client.send(Array(bytes[split...]))
                #expect(try client.receive().text == "hello")
            }
        }
        for byte in request { try client.send([byte]) }
        #expect(try client.receive().text == "hello")
    }

    @Test func answersHeadWithoutBody() throws {
        let client = try server.client()
        let head = try client.exchange("HEAD /big HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(head.status == 200)
        #expect(head.headers["content-length"] == "\(TestServer.big.count)")
        // Had a body followed, it would be taken for the next reply.
        #expect(try client.exchange(get("/info")).text == "GET /info query=none x=none")
    }

    @Test func leavesUnknownPathsAndMethodsToTheHandler() throws {
        let client = try server.client()
        let missing = try client.exchange(get("/nowhere"))
        #expect(missing.status == 404)
        #expect(missing.headers["content-type"] == "application/problem+json")
        #expect(
            missing.text == """
                {"type":"urn:belfry:problem:unknown-path","title":"There is nothing here","status":404,"detail":"/nowhere"}
                """)
        for method in ["DELETE", "OPTIONS", "get", "M-SEARCH", "TRACE"] {
            let reply = try client.exchange("\(method) /info HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(reply.text == "\(method) /info query=none x=none")
        }
    }

    @Test func sendsLargeReplies() throws {
        let client = try server.client()
        for _ in 0..<3 {
            let reply = try client.exchange(get("/big"))
            #expect(reply.body == TestServer.big)
        }
        // Replies of other sizes come whole from the same memory.
        #expect(try client.exchange(post("small")).text == "small")
    }

    @Test func givesTheHandlerTargetAndFields() throws {
        let client = try server.client()
        #expect(
            try client.exchange(get("/info/a%2Fb?q=%20x&y", fields: "x-TEST:  v \t\r\n")).text
                == "GET /info/a%2Fb query=q=%20x&y x=v")
        #expect(try client.exchange(get("/info?", fields: "X-Test:\r\n")).text == "GET /info query= x=")
        // Absolute form (RFC 9112, 3.2.2).
        #expect(try client.exchange(get("http://x:80/info?a=b")).text == "GET /info query=a=b x=none")
        #expect(try client.exchange(get("https://x/info")).text == "GET /info query=none x=none")
    }

    @Test func decodesPathSegments() throws {
        let client = try server.client()
        #expect(try client.exchange(get("/items/i17")).text == "i17")
        #expect(try client.exchange(get("/items/a%2Fb%20c%c3%BC")).text == "a/b cü")
        #expect(try client.exchange(get("/items/%00")).body == [0])
        for broken in ["%", "%4", "%zz", "a%2", "%+1"] {
            #expect(try client.exchange(get("/items/" + broken)).status == 400, "\(broken)")
        }
    }

    @Test func sendsFieldsAndStatus() throws {
        let client = try server.client()
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let reply = try client.exchange(get("/created", fields: "Traceparent: \(trace)\r\n"))
        #expect(reply.status == 201)
        #expect(reply.headers["allow"] == "GET, HEAD")
        #expect(reply.headers["inference-header-content-length"] == "17")
        #expect(reply.headers["traceparent"] == trace)
        #expect(reply.headers["content-type"] == "application/json")
        #expect(reply.headers["content-length"] == "0")
        #expect(reply.headers["date"] != nil)
        // The next request on the connection starts with none of it.
        let next = try client.exchange(get("/info"))
        #expect(next.status == 200)
        #expect(next.headers["allow"] == nil)
    }

    @Test func asksClientsThatWaitToContinue() throws {
        let client = try server.client()
        let head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        try client.send(head)
        #expect(try client.receive().status == 100)
        try client.send("abc")
        #expect(try client.receive().text == "abc")
        // Who sends the body at once is asked as well, or not; the reply is the same.
        try client.send(head + "abc")
        var reply = try client.receive()
        if reply.status == 100 { reply = try client.receive() }
        #expect(reply.text == "abc")
    }

    @Test func speaksHTTP10() throws {
        var client = try server.client()
        #expect(try client.exchange("GET /info HTTP/1.0\r\n\r\n").text == "GET /info query=none x=none")
        #expect(client.isClosedByServer())
        client = try server.client()
        for _ in 0..<3 {
            let reply = try client.exchange("GET /info HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            #expect(reply.headers["connection"]?.lowercased() == "keep-alive")
        }
    }

    @Test func closesWhenAsked() throws {
        let client = try server.client()
        let reply = try client.exchange(get("/info", fields: "Connection: close\r\n"))
        #expect(reply.closesConnection)
        #expect(client.isClosedByServer())
    }

    @Test func countsFromTheRequestLine() throws {
        let client = try server.client()
        let young = try #require(UInt64(try client.exchange(get("/age")).text))
        #expect(young < 10_000_000_000)
        // The body comes 100 ms after the head.
        try client.send("POST /age HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        usleep(100_000)
        try client.send("a")
        let old = try #require(UInt64(try client.receive().text))
        #expect(old > 80_000_000)
    }

    /// While the only worker sleeps for 300 ms, another request waits in the kernel, which tells how long to a tick or two.
    @Test func countsWhatARequestWaitedInTheKernel() throws {
        func now() -> UInt64 {
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC, &time)
            return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        }
        let busy = try server.client()
        let waiting = try server.client()
        #expect(try waiting.exchange(get("/info")).status == 200)
        try busy.send(get("/slow"))
        usleep(30_000)
        let before = now()
        try waiting.send(get("/arrived"))
        let sent = now()
        let arrivedBy = try #require(UInt64(try waiting.receive().text))
        #expect(arrivedBy >= before)
        // A tick is 10 ms at most, and two of them are not known.
        #expect(
            arrivedBy < sent + 30_000_000,
            "known to have arrived \((arrivedBy - sent) / 1_000_000) ms after it was sent")
        #expect(try busy.receive().text == "slow")
    }

    @Test func answersAClientThatHasFinishedSending() throws {
        let client = try server.client()
        try client.send(get("/info"))
        client.finishSending()
        #expect(try client.receive().text == "GET /info query=none x=none")
    }
}
