import Foundation
import InjectedServer
import TestSupport
import Testing

/// The server does what it promises, seen by a plain client and by the server's own clock.
@Suite(.serialized) struct InjectedServerTests {
    private static let millisecond: UInt64 = 1_000_000

    /// A running server and one client connection, which is opened anew when the server closes it.
    private final class Client {
        let server: InjectedServer
        private var connection: Connection?
        /// Requests that got no reply.
        private(set) var unanswered = 0

        init(_ behaviour: Behaviour) throws {
            server = try InjectedServer(behaviour)
            server.start()
        }

        func exchange(_ request: String) throws -> Daemon.Reply? {
            let current = try connection ?? Connection(port: server.port, timeout: 30)
            connection = current
            current.write(Data(request.utf8))
            do {
                return try current.readReply()
            } catch {
                connection = nil
                unanswered += 1
                return nil
            }
        }

        func get(_ path: String = "/") throws -> Daemon.Reply? {
            try exchange("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
        }

        func post(_ path: String, _ body: String = "") throws -> Daemon.Reply? {
            try exchange("POST \(path) HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        }

        func retrieve(_ body: String) throws -> Answer {
            let reply = try #require(try post("/v1/retrieve", body))
            return Answer(
                ids: try #require(reply.json["items"] as? [[String: Any]]).map { $0["id"] as! String },
                scores: (reply.json["items"] as! [[String: Any]]).map { $0["score"] as! Double },
                snapshot: (reply.json["snapshot"] as? [String: Any])?["id"] as? String,
                text: String(decoding: reply.body, as: UTF8.self))
        }
    }

    private struct Answer {
        let ids: [String]
        let scores: [Double]
        let snapshot: String?
        let text: String
    }

    /// Everything that comes until the server closes the connection.
    private func bytes(_ behaviour: Behaviour, until enough: Int = .max, asksToClose: Bool = false) throws
        -> (text: String, isClosed: Bool)
    {
        let server = try InjectedServer(behaviour)
        server.start()
        defer { server.stop() }
        let socket = try RawSocket(port: server.port)
        socket.write("GET / HTTP/1.1\r\nHost: x\r\n\(asksToClose ? "Connection: close\r\n" : "")\r\n")
        return socket.readAll(until: enough)
    }

    @Test func aDelayHoldsUpNoOtherRequest() throws {
        var behaviour = Behaviour()
        behaviour.delayNanoseconds = 20 * Self.millisecond
        let server = try InjectedServer(behaviour)
        server.start()
        let sockets = try (0..<8).map { _ in try RawSocket(port: server.port) }
        for socket in sockets { socket.write("GET / HTTP/1.1\r\n\r\n") }
        for socket in sockets { #expect(socket.readAll(until: 40).text.hasSuffix("ok")) }
        let truth = server.stop()
        #expect(truth.requests == 8)
        #expect(truth.connections == 8)
        #expect(truth.exchanges.allSatisfy { $0.due == $0.read + 20 * Self.millisecond && $0.sent >= $0.due })
    }

    @Test func serialRequestsQueue() throws {
        var behaviour = Behaviour()
        behaviour.delayNanoseconds = 5 * Self.millisecond
        behaviour.isSerial = true
        let server = try InjectedServer(behaviour)
        server.start()
        let sockets = try (0..<6).map { _ in try RawSocket(port: server.port) }
        for socket in sockets { socket.write("GET / HTTP/1.1\r\n\r\n") }
        for socket in sockets { #expect(socket.readAll(until: 40).text.hasSuffix("ok")) }
        let exchanges = server.stop().exchanges
        // Each is due 5 ms after the one before it, or after its own arrival where the queue was empty.
        for (one, next) in zip(exchanges, exchanges.dropFirst()) {
            #expect(next.due == max(one.due, next.read) + 5 * Self.millisecond)
        }
    }

    @Test func everyTenthIsSlow() throws {
        var behaviour = Behaviour()
        behaviour.slow = .every(10)
        behaviour.slowDelayNanoseconds = 3 * Self.millisecond
        let client = try Client(behaviour)
        for _ in 0..<40 { #expect(try client.get()?.status == 200) }
        let exchanges = client.server.stop().exchanges
        let slow = exchanges.indices.filter { exchanges[$0].due > exchanges[$0].read }
        #expect(slow == [9, 19, 29, 39])
        #expect(slow.allSatisfy { exchanges[$0].due - exchanges[$0].read == 3 * Self.millisecond })
    }

    /// 20,000 draws at 1 %: 200 expected, five deviations are 70. The same seed gives the same set.
    @Test func aDrawnShareFollowsTheSeed() {
        let share = Behaviour.Share.fraction(0.01)
        let one = (1...20_000).filter { share.contains($0, seed: 7) }
        #expect(one == (1...20_000).filter { share.contains($0, seed: 7) })
        #expect(one != (1...20_000).filter { share.contains($0, seed: 8) })
        #expect(abs(one.count - 200) < 70)
        #expect(!(1...1000).contains { Behaviour.Share.fraction(0).contains($0, seed: 1) })
        #expect((1...1000).allSatisfy { Behaviour.Share.fraction(1).contains($0, seed: 1) })
    }

    @Test func nothingMovesDuringAStall() throws {
        var behaviour = Behaviour()
        behaviour.stall = .init(
            nanoseconds: 60 * Self.millisecond, periodNanoseconds: 150 * Self.millisecond,
            offsetNanoseconds: 50 * Self.millisecond)
        let client = try Client(behaviour)
        let end = Date().addingTimeInterval(0.4)
        while Date() < end { #expect(try client.get()?.status == 200) }
        let truth = client.server.stop()
        #expect(truth.stalls.count >= 2)
        #expect(truth.stalls.allSatisfy { $0.end - $0.start == 60 * Self.millisecond })
        for (one, next) in zip(truth.stalls, truth.stalls.dropFirst()) {
            #expect(next.start - one.start == 150 * Self.millisecond)
        }
        // A request or reply that was begun before a stall may end within its first moments, never deep inside.
        for stall in truth.stalls {
            let inside = (stall.start + 30 * Self.millisecond)..<stall.end
            #expect(!truth.exchanges.contains { inside.contains($0.read) || inside.contains($0.sent) })
        }
    }

    @Test func everyFiftiethConnectionCloses() throws {
        var behaviour = Behaviour()
        behaviour.closes = .every(50)
        let client = try Client(behaviour)
        var answered = 0
        for _ in 0..<200 where try client.get()?.status == 200 { answered += 1 }
        let truth = client.server.stop()
        #expect(answered == 196)
        #expect(client.unanswered == 4)
        #expect(truth.closed == 4)
        #expect(truth.connections == 4)
        #expect(truth.replies == 196)
        #expect(truth.exchanges.indices.filter { truth.exchanges[$0].sent == 0 } == [49, 99, 149, 199])
    }

    @Test func refusalsSayWhenToComeBack() throws {
        var behaviour = Behaviour()
        behaviour.refusals = [
            .init(share: .every(4), status: 503, retryAfterSeconds: 2), .init(share: .every(6), status: 429),
        ]
        let client = try Client(behaviour)
        let replies = try (1...12).map { _ in try client.get() }
        #expect(replies.map { $0?.status } == [200, 200, 200, 503, 200, 429, 200, 503, 200, 200, 200, 503])
        #expect(replies[3]?.headers["retry-after"] == "2")
        #expect(replies[5]?.headers["retry-after"] == nil)
        #expect(replies[3]?.problem == "overloaded")
        #expect(client.server.stop().refused == 4)
    }

    /// A bucket of 5 that fills at one in 1000 s: five pass.
    @Test func capacityRefusesTheRest() throws {
        var behaviour = Behaviour()
        behaviour.capacityPerSecond = 0.001
        behaviour.capacityBurst = 5
        let client = try Client(behaviour)
        let statuses = try (1...9).map { _ in try client.get()?.status }
        #expect(statuses == [200, 200, 200, 200, 200, 503, 503, 503, 503])
    }

    private func odd(_ oddity: Behaviour.Oddity, bodyByteCount: Int = 0) -> Behaviour {
        var behaviour = Behaviour()
        behaviour.odd = [.init(share: .every(1), oddity: oddity)]
        behaviour.bodyByteCount = bodyByteCount
        behaviour.pieceGapNanoseconds = 100_000
        return behaviour
    }

    @Test func oddRepliesAreOddInTheWayTheySay() throws {
        let ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
        #expect(try !bytes(odd(.garbage), until: 20).text.hasPrefix("HTTP"))
        let endless = try bytes(odd(.endlessHead), until: 2000)
        #expect(endless.text.hasPrefix("HTTP/1.1 200 OK\r\nX-More"))
        #expect(!endless.text.contains("\r\n\r\n"))
        #expect(!endless.isClosed)
        let short = try bytes(odd(.shortBody, bodyByteCount: 100))
        #expect(short.isClosed)
        #expect(short.text.contains("Content-Length: 100\r\n"))
        #expect(short.text.components(separatedBy: "\r\n\r\n")[1] == String(repeating: "x", count: 50))
        #expect(try bytes(odd(.split), until: ok.utf8.count).text == ok)
        let doubled = try bytes(odd(.doubled), until: 2 * ok.utf8.count)
        #expect(doubled.text == ok + ok)
        let closing = try bytes(odd(.closing))
        #expect(closing.isClosed)
        #expect(closing.text.contains("Connection: close\r\n"))
        #expect(closing.text.hasSuffix("\r\n\r\nok"))
        let untilClose = try bytes(odd(.untilClose))
        #expect(untilClose.isClosed)
        #expect(untilClose.text == "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nok")
    }

    /// Decoded here by hand, from RFC 9112 section 7.1.
    @Test func chunksAddUpToTheBody() throws {
        let reply = Array(try bytes(odd(.chunked, bodyByteCount: 5000), asksToClose: true).text.utf8)
        let lineEnd = Array("\r\n".utf8)
        var position = try #require(reply.firstRange(of: Array("\r\n\r\n".utf8))).upperBound
        var body: [UInt8] = []
        var sizes: [Int] = []
        while true {
            let line = try #require(reply[position...].firstRange(of: lineEnd))
            let digits = String(decoding: reply[position..<line.lowerBound], as: UTF8.self)
            let size = try #require(Int(digits, radix: 16))
            sizes.append(size)
            body += reply[line.upperBound..<(line.upperBound + size)]
            position = line.upperBound + size + 2
            #expect(Array(reply[(position - 2)..<position]) == lineEnd)
            if size == 0 { break }
        }
        #expect(position == reply.count)
        #expect(body == [UInt8](repeating: UInt8(ascii: "x"), count: 5000))
        #expect(sizes.count > 5)
        let broken = try bytes(odd(.brokenChunks, bodyByteCount: 5000), asksToClose: true)
        #expect(broken.text.contains("\r\nzz\r\n"))
    }

    @Test func aHugeBodyComesWhole() throws {
        var behaviour = Behaviour()
        behaviour.bodyByteCount = 3_000_000
        let client = try Client(behaviour)
        for _ in 0..<3 { #expect(try client.get()?.body == Data(repeating: UInt8(ascii: "x"), count: 3_000_000)) }
        #expect(client.server.stop().replies == 3)
    }

    @Test func requestsInOneSegmentAreAnsweredInOrder() throws {
        let server = try InjectedServer()
        server.start()
        let socket = try RawSocket(port: server.port)
        socket.write("GET / HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\n\r\nGET /livez HTTP/1.1\r\n\r\nGET / HTT")
        socket.write("P/1.1\r\nConnection: close\r\n\r\n")
        let lines = socket.readAll(until: .max).text.components(separatedBy: "HTTP/1.1 ").dropFirst()
        #expect(lines.map { $0.prefix(3) } == ["200", "404", "204", "200"])
        #expect(server.stop().requests == 2)
    }

    @Test func answersFollowFromTheUser() throws {
        let client = try Client(Behaviour())
        let body = #"{"request_id":"r-7","user":{"id":"u42"},"k":20,"exclude":[]}"#
        let answer = try client.retrieve(body)
        #expect(answer.ids.count == 20)
        #expect(Set(answer.ids).count == 20)
        #expect(answer.scores == answer.scores.sorted(by: >))
        #expect(answer.snapshot == "s1")
        #expect(answer.text.hasPrefix(#"{"request_id":"r-7","#))
        #expect(try client.retrieve(body).text == answer.text)
        #expect(try client.retrieve(body.replacing("u42", with: "u43")).ids != answer.ids)
        #expect(try client.retrieve(#"{"user":{"id":"u42"}}"#).ids.count == 100)
        let without = try client.retrieve(body.replacing("[]", with: "[\"\(answer.ids[3])\", \"i_none\"]"))
        #expect(without.ids.prefix(19) == ArraySlice(answer.ids.filter { $0 != answer.ids[3] }))
    }

    @Test(arguments: [1, 2, 5]) func theShareOfMissedItemsIsExact(missed: Int) throws {
        var behaviour = Behaviour()
        behaviour.missedOfTen = missed
        let client = try Client(behaviour)
        for user in 0..<5 {
            let head = #"{"user":{"id":"u\#(user)"},"k":100,"exclude":["i1","i2"],"search":{"exact":"#
            let timed = try client.retrieve(head + "false}}").ids
            let exact = try client.retrieve(head + "true}}").ids
            for depth in [10, 50, 100] {
                let found = Set(timed.prefix(depth)).intersection(exact.prefix(depth)).count
                #expect(10 * found == (10 - missed) * depth)
            }
        }
    }

    @Test func eachFaultIsTheOneItSays() throws {
        var behaviour = Behaviour()
        // Ordinals 1 to 6 have one fault each, 7 has none: 7, 8, ... repeat by the smaller distances.
        behaviour.wrong = [
            .init(share: .every(7), fault: .unsorted), .init(share: .every(6), fault: .duplicate),
            .init(share: .every(5), fault: .excluded), .init(share: .every(4), fault: .count),
            .init(share: .every(3), fault: .snapshot), .init(share: .every(2), fault: .score),
        ]
        let client = try Client(behaviour)
        let body = #"{"user":{"id":"u1"},"k":10,"exclude":["i5"]}"#
        let answers = try (1...7).map { _ in try client.retrieve(body) }
        let good = answers[0]
        #expect(abs(answers[1].scores[0] - good.scores[0] - 0.01) < 1e-9)
        #expect(answers[1].ids == good.ids)
        #expect(answers[2].text.components(separatedBy: "\"snapshot\":").count == 3)
        #expect(answers[3].ids == good.ids.dropLast())
        #expect(answers[4].ids == ["i5"] + good.ids.dropFirst())
        #expect(answers[5].ids[1] == good.ids[0])
        #expect(Set(answers[5].ids).count == 9)
        #expect(answers[6].ids == good.ids.dropFirst() + [good.ids[0]])
        #expect(answers[6].scores != answers[6].scores.sorted(by: >))
        #expect(client.server.stop().wrong == 6)
    }

    @Test func snapshotsSwapWhenTheyAreInForce() throws {
        var behaviour = Behaviour()
        behaviour.activationNanoseconds = 30 * Self.millisecond
        behaviour.activationBumpNanoseconds = 2 * Self.millisecond
        let client = try Client(behaviour)
        let body = #"{"user":{"id":"u1"},"k":1}"#
        #expect(try client.post("/v1/snapshots/none:activate")?.status == 409)
        #expect(try client.post("/v1/snapshots:rollback")?.status == 409)
        #expect(try client.post("/v1/snapshots/s2:activate?wait=0")?.status == 202)
        #expect(try client.retrieve(body).snapshot == "s1")
        #expect(try client.post("/v1/snapshots/s2:activate")?.status == 200)
        #expect(try client.retrieve(body).snapshot == "s2")
        let states = try #require(try client.get("/v1/snapshots")?.json["snapshots"] as? [[String: Any]])
        #expect(states.map { $0["state"] as? String } == ["ready", "serving"])
        let truth = client.server.stop()
        #expect(truth.exchanges.map { $0.due - $0.read } == [2 * Self.millisecond, 0])
        #expect(truth.administrative == 5)
    }

    @Test func rollbackGoesBack() throws {
        let client = try Client(Behaviour())
        let body = #"{"user":{"id":"u1"},"k":1}"#
        #expect(try client.post("/v1/snapshots/s2:activate")?.status == 200)
        #expect(try client.retrieve(body).snapshot == "s2")
        #expect(try client.post("/v1/snapshots:rollback")?.status == 200)
        #expect(try client.retrieve(body).snapshot == "s1")
    }

    @Test func theTruthIsToldAndForgotten() throws {
        let client = try Client(Behaviour())
        for _ in 0..<5 { _ = try client.get() }
        let told = try #require(try client.get("/truth")).json
        #expect(told["requests"] as? Int == 5)
        #expect(told["replies"] as? Int == 5)
        #expect((told["service_us"] as? [String: Any])?["count"] as? Int == 5)
        #expect(try client.post("/truth:reset")?.status == 204)
        _ = try client.get()
        #expect(try client.get("/truth")?.json["requests"] as? Int == 1)
    }

    /// By hand, of 1...10: the 5th is the first that half do not exceed.
    @Test func quantilesAreSamples() {
        let samples = (1...10).map { UInt64($0) }
        #expect(Truth.quantile(0.5, of: samples) == 5)
        #expect(Truth.quantile(0.51, of: samples) == 6)
        #expect(Truth.quantile(0.99, of: samples) == 10)
        #expect(Truth.quantile(1, of: samples) == 10)
        #expect(Truth.quantile(0.5, of: []) == 0)
    }

    @Test func aRingKeepsTheLastExchanges() throws {
        let server = try InjectedServer(ringCapacity: 4)
        server.start()
        let connection = try Connection(port: server.port, timeout: 30)
        for _ in 0..<10 {
            connection.write(Data("GET / HTTP/1.1\r\n\r\n".utf8))
            #expect(try connection.readReply().status == 200)
        }
        let truth = server.stop()
        #expect(truth.requests == 10)
        #expect(truth.exchanges.count == 4)
        #expect(truth.exchanges.map(\.read) == truth.exchanges.map(\.read).sorted())
        #expect(truth.exchanges.allSatisfy { $0.sent > $0.read })
    }
}

/// A blocking socket that shows bytes as they come, which a reader of replies would interpret.
private final class RawSocket {
    private let descriptor: Int32

    init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let descriptor = descriptor
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(status == 0)
    }

    deinit {
        close(descriptor)
    }

    func write(_ text: String) {
        _ = send(descriptor, text, text.utf8.count, Int32(MSG_NOSIGNAL))
    }

    /// Reads until the server closes or this many bytes have come.
    func readAll(until enough: Int) -> (text: String, isClosed: Bool) {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count < enough {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count <= 0 { return (String(decoding: bytes, as: UTF8.self), count == 0) }
            bytes.append(contentsOf: buffer[..<count])
        }
        return (String(decoding: bytes, as: UTF8.self), false)
    }
}
