import Foundation
import JSON
import RetrievalAPI
import Snapshots
import TestSupport
import Testing

/// Binary replies, read by a decoder of a few lines that knows only what docs/HTTP.md says.
@Suite struct BinaryReplyTests {
    /// Items with numbers for ids.
    let serving = try! Serving("cs3-one-cycle")

    /// What stands behind the JSON, byte by byte: n ids and n scores.
    func decode(_ bytes: [UInt8]) throws -> (ids: [UInt64], scores: [Float]) {
        try #require(bytes.count % 12 == 0)
        let count = bytes.count / 12
        func number(at start: Int, _ byteCount: Int) -> UInt64 {
            var value: UInt64 = 0
            for index in 0..<byteCount { value += UInt64(bytes[start + index]) << UInt64(8 * index) }
            return value
        }
        return (
            (0..<count).map { number(at: 8 * $0, 8) },
            (0..<count).map { Float(bitPattern: UInt32(number(at: 8 * count + 4 * $0, 4))) }
        )
    }

    @Test(arguments: [1, 2, 7, 100, 2000])
    func holdsWhatColumnsHold(k: Int) throws {
        let columns = try serving.post("/v1/retrieve", serving.warmup(#""k":\#(k),"format":"columns""#))
        let reply = try serving.post("/v1/retrieve", serving.warmup(#""k":\#(k),"format":"binary","request_id":"r-7""#))
        #expect(reply.status == 200)
        #expect(reply.headers["content-type"] == "application/octet-stream")
        #expect(reply.headers["inference-header-content-length"].flatMap { Int($0) }?.isMultiple(of: 8) == true)
        let (ids, scores) = try decode(reply.rest)
        #expect(ids.count == min(k, serving.snapshot.items.count))
        #expect(ids.map(String.init) == (try columns.member("ids").strings()))
        // The text of a score reads back as the very float.
        let texts = try columns.member("scores").elements().map { try Float($0.number()) }
        #expect(scores.map(\.bitPattern) == texts.map(\.bitPattern))
        #expect(try reply.member("request_id").string() == "r-7")
        #expect(try reply.member("snapshot").member("id").string() == serving.snapshot.manifest.id)
        #expect(try reply.member("cold_start").boolean() == false)
        #expect(try reply.member("degraded").elements().isEmpty)
        #expect(
            try Set(#require(reply.root).members().map(\.name)) == ["request_id", "snapshot", "cold_start", "degraded"])
    }

    @Test func mayBeEmpty() throws {
        let all = try serving.post("/v1/retrieve", serving.warmup(#""k":10000"#)).hits().ids
        let list = all.joined(separator: ",")
        let reply = try serving.post("/v1/retrieve", serving.warmup(#""exclude":[\#(list)],"format":"binary""#))
        #expect(reply.status == 200 && reply.rest.isEmpty)
    }

    @Test func explainsInItsHead() throws {
        let reply = try serving.post("/v1/retrieve", serving.warmup(#""k":3,"explain":true,"format":"binary""#))
        #expect(try decode(reply.rest).ids.count == 3)
        #expect(try reply.member("timings_us").member("search").integer() >= 0)
        #expect(try reply.member("caches_hit").strings() == ["cross", "cascade"])
    }

    @Test func needsNumbersForIDs() throws {
        let strings = try Serving("cs3-three-cycles")
        let reply = try strings.post("/v1/retrieve", #"{"user":{},"format":"binary"}"#)
        #expect(try reply.problem() == "406 text-ids /format")
        #expect(try strings.post("/v1/retrieve", #"{"user":{},"format":"columns"}"#).status == 200)
    }

    @Test(arguments: [
        ("binary", "application/octet-stream", 200), ("binary", "application/*", 200), ("binary", "*/*", 200),
        ("binary", "application/json", 406), ("binary", "application/octet-stream;q=0, */*", 406),
        ("binary", "application/octet-stream, application/problem+json", 200),
        ("rows", "application/octet-stream", 406), ("columns", "application/json", 200),
        ("rows", "application/json, application/octet-stream", 200), ("rows", "text/html", 406),
    ])
    func acceptMayRefuseTheFormatAndDoesNotChooseIt(format: String, accept: String, status: Int) throws {
        let reply = try serving.post(
            "/v1/retrieve", serving.warmup(#""k":3,"format":"\#(format)""#), headers: ["Accept": accept])
        #expect(reply.status == status, "\(format) \(accept)")
        if status == 406 { #expect(try reply.problem() == "406 not-acceptable") }
    }

    @Test func problemsAreJSONWhateverTheFormat() throws {
        let octets = ["Accept": "application/octet-stream"]
        let reply = try serving.post("/v1/retrieve", #"{"user":{},"format":"binary","k":0}"#, headers: octets)
        #expect(try reply.problem() == "422 out-of-range /k")
        #expect(try serving.post("/v1/embed", #"{"user":{}}"#, headers: octets).problem() == "406 not-acceptable")
        // The next reply has none of the binary one's fields.
        let statuses = try serving.post("/v1/retrieve", serving.warmup(#""format":"binary""#), times: 3)
        #expect(statuses == [200, 200, 200])
        #expect(try serving.post("/v1/retrieve", serving.warmup()).headers["inference-header-content-length"] == nil)
    }
}

@Suite struct TimeoutTests {
    let serving = try! Serving("cs3-one-cycle")

    @Test func workThatIsLateIsRefused() throws {
        // Less than a nanosecond after the first byte.
        for format in ["rows", "columns", "binary"] {
            let body = try serving.warmup(#""timeout_ms":0.0000001,"format":"\#(format)""#)
            let reply = try serving.post("/v1/retrieve", body)
            #expect(try reply.problem() == "504 deadline-exceeded /timeout_ms")
        }
        // Late or not, what is malformed or cannot be served at all says so.
        #expect(
            try serving.post("/v1/retrieve", #"{"user":{},"timeout_ms":0.0000001,"k":0}"#).problem()
                == "422 out-of-range /k")
        #expect(
            try serving.post("/v1/retrieve", #"{"user":{},"timeout_ms":0.0000001,"if_space_id":"other"}"#).problem()
                == "409 space-mismatch /if_space_id")
    }

    @Test func workInTimeIsWhole() throws {
        let reply = try serving.post("/v1/retrieve", serving.warmup(#""timeout_ms":60000,"k":30"#))
        #expect(reply.status == 200)
        #expect(try reply.member("degraded").strings().isEmpty)
        #expect(try reply.hits() == serving.post("/v1/retrieve", serving.warmup(#""k":30"#)).hits())
    }

    /// The time counts from the head, not from when the body is there.
    @Test func countsFromTheFirstByte() throws {
        let connection = try serving.connect()
        let body = try serving.warmup(#""timeout_ms":100"#)
        for pauseMicros in [150_000, 0] as [UInt32] {
            connection.write(
                Data("POST /v1/retrieve HTTP/1.1\r\nHost: b\r\nContent-Length: \(body.utf8.count)\r\n\r\n".utf8))
            usleep(pauseMicros)
            connection.write(Data(body.utf8))
            let reply = try connection.readReply()
            // How long the second takes is up to the machine.
            if pauseMicros > 0 { #expect(reply.status == 504) }
        }
    }
}
