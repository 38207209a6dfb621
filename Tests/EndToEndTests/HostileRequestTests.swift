import Foundation
import TestSupport
import Testing

/// Requests that are malformed, hostile or half. Each gets the status and the type of the contract, and after each the
/// daemon answers a good request as before.
@Suite struct HostileRequestTests {
    private static let good = #"{"user":{"id":"u1","features":{"age":3}},"context":{"hour":13},"k":20}"#

    private func run(_ cases: [HostileCase], on fixture: String) throws {
        let daemon = try Daemon(snapshot: Fixtures.path(fixture))
        let before = try daemon.post("/v1/retrieve", Self.good)
        #expect(before.status == 200)
        for example in cases {
            let fault = try example.fault(daemon)
            #expect(fault == nil)
            let after = try daemon.post("/v1/retrieve", Self.good)
            #expect(after.status == 200 && after.body == before.body, "after \(example.name)")
        }
        #expect(daemon.isRunning)
        #expect(daemon.terminate() == 0)
    }

    @Test func theTableIsLarge() {
        #expect(HostileTexts.all.count + HostileFields.all.count + HostileHeads.all.count >= 500)
    }

    @Test func refusesTextsThatAreNoJSON() throws {
        try run(HostileTexts.all, on: "cs3-one-cycle")
    }

    @Test func refusesFieldsThatDoNotFit() throws {
        try run(HostileFields.all, on: "cs3-one-cycle")
    }

    @Test func refusesHeadsThatAreNone() throws {
        try run(HostileHeads.all, on: "cs3-one-cycle")
    }

    @Test func holdsSearchParametersAgainstTheIndex() throws {
        let mismatch = HostileCase.Outcome.problem(422, "search-parameter")
        func search(_ parameters: String, _ outcome: HostileCase.Outcome) -> HostileCase {
            HostileCase(#"{"user":{},"search":{\#(parameters)}}"#, outcome)
        }
        try run(
            [
                search(#""nprobe":4"#, mismatch), search(#""nprobe":4,"ef":50"#, mismatch),
                search(#""nprobe":4,"exact":true"#, mismatch), search(#""ef":1"#, .answered),
                search(#""ef":20000"#, .answered), search(#""ef":50,"exact":true"#, .answered),
            ], on: "cs3-one-cycle")
        try run(
            [
                search(#""ef":50"#, mismatch), search(#""nprobe":4,"ef":50"#, mismatch),
                search(#""ef":50,"exact":true"#, mismatch), search(#""nprobe":1"#, .answered),
                search(#""nprobe":65536"#, .answered), search(#""nprobe":4,"exact":true"#, .answered),
            ], on: "cross-only")
        try run(
            [search(#""ef":50"#, mismatch), search(#""nprobe":4"#, mismatch), search(#""exact":true"#, .answered)],
            on: "cascade-only")
    }

    @Test func holdsIDsAgainstTheCatalogue() throws {
        let refused = HostileCase.Outcome.problem(422, "id-type")
        try run(
            [
                HostileCase(#"{"user":{},"exclude":[1]}"#, refused),
                HostileCase(#"{"user":{},"exclude":["i1",18446744073709551615]}"#, refused),
                HostileCase(#"{"user":{"id":1}}"#, refused),
                HostileCase("/v1/embed", #"{"user":{"id":1}}"#, refused),
                HostileCase("/v1/embed", #"{"requests":[{"user":{}},{"user":{"id":1}}]}"#, refused),
                HostileCase("/v1/score", #"{"user":{},"items":["i1",1]}"#, refused),
                HostileCase("/v1/score", #"{"user":{},"items":["i1","1","nobody"]}"#, .answered),
                HostileCase(#"{"user":{},"exclude":["1","nobody","I1"]}"#, .answered),
            ], on: "cs3-three-cycles")
        try run(
            [
                HostileCase(
                    #"{"user":{"id":"text"},"exclude":["text",1,"2",18446744073709551615,"-1","1.0"]}"#, .answered),
                HostileCase(#"{"user":{"id":9223372036854775809}}"#, .answered),
                HostileCase(#"{"user":{"id":18446744073709551616}}"#, .problem(400, "number-out-of-range")),
                HostileCase(#"{"user":{"id":1.0}}"#, .problem(400, "wrong-type")),
                HostileCase("/v1/score", #"{"user":{},"items":["text",1,"0001","18446744073709551616"]}"#, .answered),
            ], on: "cs3-two-cycles")
    }

    @Test func survivesRequestsThatEndAnywhere() throws {
        let daemon = try Daemon(snapshot: Fixtures.path("cs3-one-cycle"))
        let before = try daemon.post("/v1/retrieve", Self.good)
        let head = "POST /v1/retrieve HTTP/1.1\r\nHost: belfry\r\nContent-Type: application/json\r\n"
        let framed = Data((head + "Content-Length: \(Self.good.utf8.count)\r\n\r\n" + Self.good).utf8)
        let size = String(Self.good.utf8.count, radix: 16)
        let chunked = Data((head + "Transfer-Encoding: chunked\r\n\r\n\(size)\r\n\(Self.good)\r\n0\r\n\r\n").utf8)
        for message in [framed, chunked] {
            for count in stride(from: 1, to: message.count, by: 3) {
                try daemon.connect().write(message.prefix(count))
                // The end of sending alone must not make a request of it.
                let connection = try daemon.connect(timeout: 5)
                connection.write(message.prefix(count))
                connection.finishSending()
                if let reply = try? connection.readReply() {
                    #expect(reply.status == 400, "cut after \(count) bytes")
                }
            }
            let after = try daemon.post("/v1/retrieve", Self.good)
            #expect(after.body == before.body)
        }
        #expect(daemon.terminate() == 0)
    }

    @Test func survivesWhatIsNoHTTP() throws {
        let daemon = try Daemon(snapshot: Fixtures.path("cs3-one-cycle"))
        let before = try daemon.post("/v1/retrieve", Self.good)
        let hello: [UInt8] = [0x16, 0x03, 0x01, 0x00, 0xF1, 0x01, 0x00, 0x00, 0xED, 0x03, 0x03]
        var random = SeededRandom(seed: 7)
        for round in 0..<200 {
            let connection = try daemon.connect(timeout: 1)
            let noise = (0..<random.below(5000)).map { _ in UInt8(random.below(256)) }
            connection.write(round == 0 ? Data(hello + [UInt8](repeating: 0, count: 300)) : Data(noise))
            connection.finishSending()
            if let reply = try? connection.readReply() {
                #expect((400...505).contains(reply.status) && reply.status != 500)
            }
        }
        #expect(try daemon.post("/v1/retrieve", Self.good).body == before.body)
        #expect(daemon.terminate() == 0)
    }

    @Test func answersARequestThatComesByteByByte() throws {
        let daemon = try Daemon(snapshot: Fixtures.path("cs3-one-cycle"))
        let before = try daemon.post("/v1/retrieve", Self.good)
        let head = "POST /v1/retrieve HTTP/1.1\r\nHost: belfry\r\nContent-Length: \(Self.good.utf8.count)\r\n\r\n"
        let connection = try daemon.connect()
        for byte in Data((head + Self.good).utf8) {
            connection.write(Data([byte]))
            Thread.sleep(forTimeInterval: 0.001)
        }
        let reply = try connection.readReply()
        #expect(reply.status == 200 && reply.body == before.body)
    }

    @Test func answersPipelinedRequestsInTheirOrder() throws {
        let daemon = try Daemon(snapshot: Fixtures.path("cs3-one-cycle"))
        let before = try daemon.post("/v1/retrieve", Self.good)
        func message(_ body: String) -> Data {
            Data("POST /v1/retrieve HTTP/1.1\r\nHost: belfry\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8)
        }
        let connection = try daemon.connect()
        connection.write(
            message(Self.good) + message(#"{"user":{},"k":0}"#) + message("{") + message(Self.good)
                + Data("GET /nothing HTTP/1.1\r\nHost: belfry\r\n\r\n".utf8) + message(Self.good))
        let replies = try (0..<6).map { _ in try connection.readReply() }
        #expect(replies.map(\.status) == [200, 422, 400, 200, 404, 200])
        #expect([0, 3, 5].allSatisfy { replies[$0].body == before.body })
    }

    @Test func saysContinueBeforeABody() throws {
        let daemon = try Daemon(snapshot: Fixtures.path("cs3-one-cycle"))
        let connection = try daemon.connect()
        connection.write(
            Data(
                "POST /v1/retrieve HTTP/1.1\r\nHost: belfry\r\nExpect: 100-continue\r\nContent-Length: \(Self.good.utf8.count)\r\n\r\n"
                    .utf8))
        #expect(try connection.readReply().status == 100)
        connection.write(Data(Self.good.utf8))
        #expect(try connection.readReply().status == 200)
    }
}
