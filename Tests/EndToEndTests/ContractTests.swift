import Foundation
import TestSupport
import Testing

/// The endpoints against docs and contract, to the letter.
@Suite struct ContractTests {
    private typealias Object = [String: Any]

    private let daemon: Daemon
    private let golden: GoldenReplies
    private let snapshot: String

    init() throws {
        snapshot = try Fixtures.path("cs3-one-cycle")
        daemon = try Daemon(snapshot: snapshot)
        golden = try GoldenReplies(snapshot: snapshot)
    }

    private func retrieve(_ body: String) throws -> Object {
        let reply = try daemon.post("/v1/retrieve", body)
        #expect(reply.status == 200 && reply.isJSON, "\(body): \(String(decoding: reply.body, as: UTF8.self))")
        return reply.json
    }

    private func ids(_ reply: Object) -> [String] {
        reply["ids"] as? [String] ?? (reply["items"] as? [Object] ?? []).compactMap { $0["id"] as? String }
    }

    private func scores(_ reply: Object) -> [Double] {
        reply["scores"] as? [Double] ?? (reply["items"] as? [Object] ?? []).compactMap { $0["score"] as? Double }
    }

    private func manifest() throws -> Object {
        try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: "\(snapshot)/manifest.json")))
            as! Object
    }

    @Test func repliesHaveTheMembersOfTheContractAndNoMore() throws {
        let rows = try retrieve(#"{"user":{"id":"u1"},"k":3}"#)
        #expect(Set(rows.keys) == ["snapshot", "items", "cold_start", "degraded"])
        let items = try #require(rows["items"] as? [Object])
        #expect(items.count == 3 && items.allSatisfy { Set($0.keys) == ["id", "score"] && $0["id"] is String })
        #expect((rows["degraded"] as? [Any])?.isEmpty == true)

        let columns = try retrieve(#"{"user":{"id":"u1"},"k":3,"format":"columns"}"#)
        #expect(Set(columns.keys) == ["snapshot", "ids", "scores", "cold_start", "degraded"])
        #expect(ids(columns) == ids(rows) && scores(columns) == scores(rows))
        #expect(Set(try retrieve(#"{"user":{},"k":1,"format":"rows"}"#).keys) == Set(rows.keys))

        let manifest = try manifest()
        let described = try #require(rows["snapshot"] as? [String: String])
        #expect(
            described == [
                "model": "default", "id": manifest["id"] as! String, "space_id": manifest["space_id"] as! String,
            ])
    }

    @Test func binaryRepliesHoldTheSameItems() throws {
        let columns = try retrieve(#"{"user":{"id":"u1"},"k":40,"format":"columns"}"#)
        let reply = try daemon.post("/v1/retrieve", #"{"user":{"id":"u1"},"k":40,"format":"binary"}"#)
        #expect(reply.status == 200 && reply.headers["content-type"] == "application/octet-stream")
        let headCount = try #require(reply.headers["inference-header-content-length"].flatMap { Int($0) })
        let head = try JSONSerialization.jsonObject(with: reply.body.prefix(headCount)) as? Object
        #expect(head.map { Set($0.keys) } == ["snapshot", "cold_start", "degraded"])
        #expect(reply.body.count == headCount + 40 * 12)
        let foundIDs = (0..<40).map { rank in
            (0..<8).reduce(UInt64(0)) { $0 | UInt64(reply.body[headCount + 8 * rank + $1]) << UInt64(8 * $1) }
        }
        #expect(foundIDs.map(String.init) == ids(columns))
        let foundScores = (0..<40).map { rank in
            (0..<4).reduce(UInt32(0)) { $0 | UInt32(reply.body[headCount + 320 + 4 * rank + $1]) << UInt32(8 * $1) }
        }
        #expect(foundScores == scores(columns).map { Float($0).bitPattern })
    }

    @Test func timeIsLimitedOnRequest() throws {
        let late = try daemon.post("/v1/retrieve", #"{"user":{"id":"u1"},"timeout_ms":0.000001}"#)
        #expect(late.status == 504 && late.problem == "deadline-exceeded")
        let inTime = try retrieve(#"{"user":{"id":"u1"},"k":5,"timeout_ms":30000}"#)
        #expect(ids(inTime).count == 5 && (inTime["degraded"] as? [String]) == [])
    }

    @Test func theRequestIDIsRepeatedOnlyIfGiven() throws {
        for id in ["r-7", "", "\"\\\n\u{0}é😀", String(repeating: "x", count: 256)] {
            let text = String(decoding: try JSONSerialization.data(withJSONObject: [id]), as: UTF8.self)
            let member = #""request_id":\#(text.dropFirst().dropLast())"#
            #expect(try retrieve(#"{"user":{},"k":1,\#(member)}"#)["request_id"] as? String == id)
            #expect(try daemon.post("/v1/embed", #"{"user":{},\#(member)}"#).json["request_id"] as? String == id)
            let score = try daemon.post("/v1/score", #"{"user":{},"items":[],\#(member)}"#)
            #expect(score.json["request_id"] as? String == id)
        }
    }

    @Test func coldStartIsSaid() throws {
        #expect(try retrieve(#"{"user":{"id":"u1"},"k":1}"#)["cold_start"] as? Bool == false)
        #expect(try retrieve(#"{"user":{"id":"nobody-1"},"k":1}"#)["cold_start"] as? Bool == true)
        #expect(try retrieve(#"{"user":{},"k":1}"#)["cold_start"] as? Bool == true)
        #expect(try retrieve(#"{"user":{"features":{"age":3}},"k":1}"#)["cold_start"] as? Bool == true)
    }

    @Test func kIsAHundredByDefault() throws {
        #expect(ids(try retrieve(#"{"user":{"id":"u1"}}"#)).count == 100)
        let all = ids(try retrieve(#"{"user":{"id":"u1"},"k":10000}"#))
        #expect(all.count == 2000 && Set(all).count == 2000)
        let most = all.dropLast(3).map { "\"\($0)\"" }.joined(separator: ",")
        #expect(Set(ids(try retrieve(#"{"user":{"id":"u1"},"exclude":[\#(most)]}"#))) == Set(all.suffix(3)))
        let every = all.map { "\"\($0)\"" }.joined(separator: ",")
        #expect(ids(try retrieve(#"{"user":{"id":"u1"},"exclude":[\#(every)]}"#)) == [])
        let numbers = all.joined(separator: ",")
        #expect(ids(try retrieve(#"{"user":{"id":"u1"},"exclude":[\#(numbers)],"search":{"exact":true}}"#)) == [])
    }

    @Test func resultsAreSortedByScoreAndThenByRow() throws {
        for exact in [true, false] {
            let reply = try retrieve(#"{"user":{"id":"u1"},"k":500,"search":{"exact":\#(exact)}}"#)
            let found = scores(reply)
            #expect(zip(found, found.dropFirst()).allSatisfy { $0 >= $1 })
            for (rank, pair) in zip(ids(reply), ids(reply).dropFirst()).enumerated()
            where found[rank] == found[rank + 1] {
                let rows = try [pair.0, pair.1].map { try daemon.get("/v1/items/\($0)").json["row"] as! Int }
                #expect(rows[0] < rows[1])
            }
        }
    }

    @Test func excludedItemsAreAbsentAndTheOthersMoveUp() throws {
        for user in ["u1", "u2", "nobody"] {
            let all = ids(try retrieve(#"{"user":{"id":"\#(user)"},"k":150,"search":{"exact":true}}"#))
            let out = Set(all.prefix(100).enumerated().filter { $0.offset % 2 == 0 }.map(\.element))
            let texts = out.map { "\"\($0)\"" }.joined(separator: ",")
            let rest = Array(all.filter { !out.contains($0) }.prefix(100))
            for list in [texts, out.joined(separator: ",")] {
                let request = #""user":{"id":"\#(user)"},"exclude":[\#(list),"nobody",0]"#
                #expect(ids(try retrieve(#"{\#(request),"search":{"exact":true}}"#)) == rest)
                let walked = ids(try retrieve("{\(request)}"))
                #expect(walked.count == 100 && out.isDisjoint(with: walked))
                #expect(Set(walked).intersection(rest).count >= 95)
            }
        }
    }

    @Test func theSameRequestHasTheSameBytes() throws {
        for line in golden.lines.prefix(8) {
            let body = String(decoding: try JSONSerialization.data(withJSONObject: line.request), as: UTF8.self)
            let replies = try (0..<5).map { _ in try daemon.post("/v1/retrieve", body).body }
            #expect(Set(replies).count == 1)
        }
        // As text or number, in whatever order, with blanks: the same request.
        let reply = try daemon.post("/v1/retrieve", #"{"user":{"id":"u1"},"k":9,"context":{"hour":3}}"#)
        let other = try daemon.post(
            "/v1/retrieve", "\n{ \"context\" :{\"hour\": 3 },\"k\":9,\"user\":{\"id\":\"u\\u0031\"} } ")
        #expect(reply.body == other.body)
    }

    @Test func explainSaysWhatHappened() throws {
        let reply = try retrieve(
            #"{"user":{"id":"u1","features":{"nobody":1}},"context":{"no/body":2,"hour":3},"k":5,"explain":true}"#)
        let timings = try #require(reply["timings_us"] as? [String: Int])
        #expect(Set(timings.keys) == ["decode", "enrich", "embed", "search"] && timings.values.allSatisfy { $0 >= 0 })
        #expect(reply["caches_hit"] as? [String] == ["cross", "cascade"])
        // Among 2,000 items no walk is worth it.
        #expect(reply["ef_used"] == nil && reply["items_scored"] as? Int == 2000)
        #expect(reply["features_ignored"] as? [String] == ["nobody", "no/body"])
        let set = try retrieve(#"{"user":{},"k":5,"search":{"ef":300},"explain":true}"#)
        #expect(set["ef_used"] == nil && set["caches_hit"] as? [String] == [])
        #expect(set["features_ignored"] as? [String] == [])
        let exact = try retrieve(#"{"user":{},"k":5,"search":{"exact":true},"explain":true}"#)
        #expect(exact["ef_used"] == nil && exact["items_scored"] as? Int == 2000)
        #expect(try retrieve(#"{"user":{},"k":5,"explain":false}"#)["timings_us"] == nil)
    }

    @Test func ofTheRightSpaceOnly() throws {
        let space = try manifest()["space_id"] as! String
        _ = try retrieve(#"{"user":{},"k":1,"if_space_id":"\#(space)"}"#)
        let reply = try daemon.post("/v1/retrieve", #"{"user":{},"k":1,"if_space_id":"\#(space)x"}"#)
        #expect(reply.status == 409 && reply.problem == "space-mismatch")
    }

    @Test func aProblemNamesTheField() throws {
        let faults = [
            (#"{"user":{},"nobody":1}"#, "/nobody"), (#"{"user":{"features":{"age":"x"}}}"#, "/user/features/age"),
            (#"{"user":{},"k":0}"#, "/k"), (#"{"user":{},"search":{"nprobe":3}}"#, "/search/nprobe"),
            (#"{"user":{},"exclude":["a",true]}"#, "/exclude/1"), (#"{"user":{},"timeout_ms":0}"#, "/timeout_ms"),
            (#"{"user":{},"a/b~c":1}"#, "/a~1b~0c"), (#"{"user":{},"format":"xml"}"#, "/format"), ("{}", "/user"),
        ]
        for (body, field) in faults {
            let reply = try daemon.post("/v1/retrieve", body)
            #expect(reply.json["field"] as? String == field, "\(body)")
            #expect((reply.json["detail"] as? String)?.isEmpty == false && reply.json["title"] is String)
        }
        let strict = try daemon.post("/v1/retrieve", #"{"user":{},"context":{"nobody":1},"strict":true}"#)
        #expect(strict.json["field"] as? String == "/context/nobody" && strict.json["feature"] as? String == "nobody")
    }

    @Test func embedsOneAndMany() throws {
        let single = try daemon.post("/v1/embed", #"{"user":{"id":"u1"},"context":{"hour":3}}"#)
        #expect(single.isJSON && Set(single.json.keys) == ["snapshot", "embeddings", "cold_start"])
        let embeddings = try #require(single.json["embeddings"] as? [[Double]])
        #expect(embeddings.count == 1 && embeddings[0].count == 32)
        let batch = try daemon.post(
            "/v1/embed", #"{"requests":[{"user":{"id":"u1"},"context":{"hour":3}},{"user":{"id":"nobody"}}]}"#)
        #expect(Set(batch.json.keys) == ["snapshot", "results"])
        let results = try #require(batch.json["results"] as? [Object])
        #expect(results.count == 2 && results.allSatisfy { Set($0.keys) == ["embeddings", "cold_start"] })
        #expect(results[0]["embeddings"] as? [[Double]] == embeddings)
        #expect(results.map { $0["cold_start"] as? Bool } == [false, true])
    }

    @Test func scoresAsItRetrieves() throws {
        let found = try retrieve(#"{"user":{"id":"u1"},"k":50}"#)
        let texts = ids(found).map { "\"\($0)\"" }.joined(separator: ",")
        for list in [texts, ids(found).joined(separator: ",")] {
            let reply = try daemon.post("/v1/score", #"{"user":{"id":"u1"},"items":[\#(list)]}"#)
            #expect(Set(reply.json.keys).isSuperset(of: ["snapshot", "ids", "scores"]))
            #expect(ids(reply.json) == ids(found) && scores(reply.json) == scores(found))
        }
        let first = ids(found)[0]
        let reply = try daemon.post("/v1/score", #"{"user":{"id":"u1"},"items":["nobody","\#(first)",\#(first),1]}"#)
        #expect(ids(reply.json) == ["nobody", first, first, "1"])
        let values = try #require(reply.json["scores"] as? [Any])
        #expect(values[0] is NSNull && values[3] is NSNull && values[1] as? Double == scores(found)[0])
        #expect(values[2] as? Double == scores(found)[0])
    }

    @Test func describesItems() throws {
        let id = golden.lines[0].ids[0]
        let reply = try daemon.get("/v1/items/\(id)")
        #expect(reply.isJSON && reply.json["id"] as? String == id && reply.json["row"] is Int)
        #expect((reply.json["vector"] as? [Double])?.count == 32 && reply.json["attributes"] is Object)
        let encoded = id.utf8.map { "%" + String($0, radix: 16) }.joined()
        #expect(try daemon.get("/v1/items/\(encoded)").body == reply.body)
        // The score is the inner product of the two vectors.
        let user = try daemon.post("/v1/embed", #"{"user":{"id":"u1"}}"#).json["embeddings"] as! [[Double]]
        let score = scores(try daemon.post("/v1/score", #"{"user":{"id":"u1"},"items":["\#(id)"]}"#).json)[0]
        let product = zip(user[0], reply.json["vector"] as! [Double]).map(*).reduce(0, +)
        #expect(abs(product - score) <= 1e-4 * max(1, abs(score)))
    }

    @Test func saysThatItLives() throws {
        let live = try daemon.get("/livez")
        #expect(live.status == 200 && live.isJSON)
        let ready = try daemon.get("/readyz")
        #expect(ready.status == 200 && (ready.json["snapshot"] as? Object)?["id"] is String)
    }

    @Test func describesItself() throws {
        let reply = try daemon.get("/openapi.json")
        #expect(reply.isJSON && reply.json["openapi"] as? String == "3.1.0")
        let paths = try #require(reply.json["paths"] as? [String: Object])
        #expect(
            Set(paths.keys) == [
                "/v1/retrieve", "/v1/embed", "/v1/score", "/v1/items/{id}", "/livez", "/readyz", "/metrics",
                "/openapi.json",
            ])
        for (path, methods) in paths {
            for (method, operation) in methods {
                let responses = try #require((operation as? Object)?["responses"] as? [String: Any])
                #expect(responses["200"] != nil && (responses["406"] != nil || path == "/metrics"), "\(method) \(path)")
            }
        }
        let text = String(decoding: reply.body, as: UTF8.self)
        for match in text.matches(of: /"\$ref": ?"#([^"]+)"/) {
            var value: Any? = reply.json
            for step in match.1.split(separator: "/") { value = (value as? Object)?[String(step)] }
            #expect(value is Object, "\(match.1)")
        }
    }

    @Test func leavesTheConnectionOpenAfterAProblem() throws {
        let connection = try daemon.connect()
        for body in [#"{"user":{},"k":0}"#, "{", #"{"user":{},"k":1}"#, #"{"user":{},"filter":{}}"#] {
            let head = "POST /v1/retrieve HTTP/1.1\r\nHost: b\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
            connection.write(Data((head + body).utf8))
            #expect(try connection.readReply().headers["connection"] != "close")
        }
    }
}
