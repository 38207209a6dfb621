import Foundation
import JSON
import Retrieval
import RetrievalAPI
import Snapshots
import TestSupport
import Testing
import Towers

/// The API over HTTP, on snapshots that PyTorch drew.
@Suite struct RetrievalHandlerTests {
    /// A graph over numbered items, users by name, cross and cascade vectors.
    let serving = try! Serving("cs3-one-cycle")

    func warmup(_ more: String = "") throws -> String {
        try serving.warmup(more)
    }

    @Test func retrievesRowsAndColumns() throws {
        let rows = try serving.post("/v1/retrieve", warmup(#""k":50,"request_id":"r-7""#))
        #expect(rows.status == 200)
        #expect(rows.headers["content-type"] == "application/json")
        #expect(try rows.member("request_id").string() == "r-7")
        #expect(try rows.member("snapshot").member("id").string() == serving.snapshot.manifest.id)
        #expect(try rows.member("snapshot").member("space_id").string() == serving.snapshot.manifest.spaceID)
        #expect(try rows.member("snapshot").member("model").string() == "default")
        #expect(try rows.member("degraded").elements().isEmpty)
        let columns = try serving.post("/v1/retrieve", warmup(#""k":50,"format":"columns""#))
        #expect(try columns.root?.optionalMember("request_id") == nil)
        let (ids, scores) = try rows.hits()
        #expect(ids.count == 50 && Set(ids).count == 50)
        #expect(scores == scores.sorted(by: >))
        #expect(try columns.hits() == (ids, scores))
    }

    @Test func defaultsAndExcludes() throws {
        let first = try serving.post("/v1/retrieve", warmup(#""search":{"exact":true}"#)).hits()
        #expect(first.ids.count == 100)
        let excluded = first.ids.prefix(3)
        let body = try warmup(
            #""k":97,"search":{"exact":true},"exclude":["\#(excluded[0])",\#(excluded[1]),"\#(excluded[2])","no such"]"#
        )
        #expect(try serving.post("/v1/retrieve", body).hits().ids == Array(first.ids.dropFirst(3)))
    }

    @Test func coldUsersAreServed() throws {
        let known = try serving.post("/v1/retrieve", warmup())
        let unknown = try serving.post("/v1/retrieve", #"{"user":{"id":"nobody knows me"}}"#)
        let nameless = try serving.post("/v1/retrieve", #"{"user":{}}"#)
        #expect(try !known.member("cold_start").boolean())
        #expect(try unknown.member("cold_start").boolean())
        #expect(try nameless.member("cold_start").boolean())
    }

    @Test func moreThanThereAreGivesAll() throws {
        let reply = try serving.post("/v1/retrieve", warmup(#""k":10000"#))
        #expect(try reply.hits().ids.count == serving.snapshot.items.count)
    }

    @Test func explains() throws {
        let reply = try serving.post(
            "/v1/retrieve",
            #"{"user":{"features":{"nonsense":1}},"context":{"more nonsense":[2]},"k":10,"search":{"ef":77},"explain":true}"#
        )
        for step in ["decode", "enrich", "embed", "search"] {
            #expect(try reply.member("timings_us").member(step).integer() >= 0)
        }
        // Among so few items a walk of 77 would take longer than to compare them all.
        #expect(try reply.root?.optionalMember("ef_used") == nil)
        #expect(try reply.member("items_scored").integer() == serving.snapshot.items.count)
        #expect(try reply.member("caches_hit").strings() == [])
        #expect(try reply.member("features_ignored").strings() == ["nonsense", "more nonsense"])
        let known = try serving.post("/v1/retrieve", warmup(#""explain":true,"search":{"exact":true}"#))
        #expect(try known.member("caches_hit").strings() == ["cross", "cascade"])
        #expect(try known.member("items_scored").integer() == serving.snapshot.items.count)
        #expect(try known.root?.optionalMember("ef_used") == nil)
        let lists = try Serving("cross-only").post("/v1/retrieve", #"{"user":{},"search":{"nprobe":3},"explain":true}"#)
        #expect(try lists.member("nprobe_used").integer() == 3)
    }

    @Test func embedsOneAndMany() throws {
        let one = try serving.post("/v1/embed", warmup(#""request_id":"e""#))
        let embedding = try one.member("embeddings").elements()[0].numbers()
        #expect(embedding.count == serving.snapshot.manifest.dimension)
        #expect(try one.member("request_id").string() == "e")
        let many = try serving.post("/v1/embed", #"{"requests":[{"user":{}},\#(try warmup())]}"#)
        let results = try many.member("results").elements()
        #expect(results.count == 2)
        #expect(try results[0].member("cold_start").boolean() && !results[1].member("cold_start").boolean())
        #expect(try results[1].member("embeddings").elements()[0].numbers() == embedding)
        #expect(try serving.post("/v1/embed", #"{"requests":[]}"#).member("results").elements().isEmpty)
    }

    /// However many users a request has, each gets what it would get by itself.
    @Test(arguments: ["cs3-one-cycle", "plain", "cs3-three-cycles", "cross-only", "cascade-only"])
    func embedsManyAsOneByOne(fixture: String) throws {
        let serving = try Serving(fixture)
        let users = try (0..<11).map { $0 == 2 || $0 == 7 ? #"{"user":{}}"# : try serving.warmup(line: $0) }
        func answer(_ node: JSONNode) throws -> [Double] {
            try node.member("embeddings").elements()[0].numbers() + [node.member("cold_start").boolean() ? 1 : 0]
        }
        let expected = try users.map { try answer(try #require(try serving.post("/v1/embed", $0).root)) }
        #expect(Set(expected).count >= 9)
        for range in [0..<1, 0..<2, 0..<3, 1..<5, 2..<7, 3..<11, 0..<9, 0..<11] {
            let reply = try serving.post("/v1/embed", #"{"requests":[\#(users[range].joined(separator: ","))]}"#)
            #expect(try reply.member("results").elements().map { try answer($0) } == Array(expected[range]))
        }
    }

    /// The first user at fault is named, at its place, whichever step finds the fault.
    @Test func embedsNoneIfOneIsAtFault() throws {
        let fine = try serving.warmup()
        let faults = [
            (#"{"user":{"id":7}}"#, "422 id-type /requests/%/user/id"),
            (#"{"user":{"features":{"country":{}}}}"#, "422 feature-type /requests/%/user/features/country"),
            (#"{"user":{"features":{"activity":1e300}}}"#, "422 feature-range /requests/%/user/features/activity"),
        ]
        for (number, (fault, problem)) in faults.enumerated() {
            for place in 0..<10 {
                var users = [String](repeating: fine, count: 10)
                users[9] = faults[(number + 1) % faults.count].0
                if place < 8 { users[8] = faults[(number + 2) % faults.count].0 }
                users[place] = fault
                let reply = try serving.post("/v1/embed", #"{"requests":[\#(users.joined(separator: ","))]}"#)
                #expect(try reply.problem() == problem.replacing("%", with: "\(place)"))
            }
        }
        // And the next request is not the worse for it.
        #expect(try serving.post("/v1/embed", fine).status == 200)
    }

    @Test(arguments: ["cs3-one-cycle", "plain", "cs3-three-cycles", "cross-only", "cascade-only"])
    func scoresAreThoseOfRetrieve(fixture: String) throws {
        let serving = try Serving(fixture)
        let (ids, scores) = try serving.post("/v1/retrieve", serving.warmup(#""k":20"#)).hits()
        let list = ids.map { "\"\($0)\"" }.joined(separator: ",")
        let reply = try serving.post("/v1/score", serving.warmup(#""items":[\#(list),"no such item"]"#))
        #expect(try reply.member("ids").strings() == ids + ["no such item"])
        let scored = try reply.member("scores").elements()
        #expect(try scored.dropLast().map { try $0.number() } == scores)
        #expect(scored.last?.kind == .null)
    }

    @Test func describesItems() throws {
        let (ids, _) = try serving.post("/v1/retrieve", #"{"user":{},"k":1}"#).hits()
        let reply = try serving.get("/v1/items/\(ids[0])")
        #expect(reply.status == 200)
        #expect(try reply.member("id").string() == ids[0])
        #expect(try reply.member("vector").numbers().count == serving.snapshot.manifest.dimension)
        let attributes = try reply.member("attributes").members()
        #expect(attributes.map(\.name) == serving.snapshot.manifest.attributes.map(\.name))
        for (attribute, value) in zip(serving.snapshot.manifest.attributes, attributes) {
            #expect((value.node.kind == .array) == attribute.isMultiValued)
        }
        // Any byte of an id may be encoded.
        let encoded = ids[0].utf8.map { "%" + String($0, radix: 16) }.joined()
        #expect(try serving.get("/v1/items/\(encoded)").member("row").integer() == reply.member("row").integer())
        #expect(try serving.get("/v1/items/none").problem() == "404 unknown-item")
        #expect(try serving.get("/v1/items/0\(ids[0])").problem() == "404 unknown-item")
        #expect(try serving.get("/v1/items/%zz").problem() == "400 malformed-path")
        #expect(try serving.get("/v1/items/%ff").problem() == "400 malformed-path")
        #expect(try serving.get("/v1/items/").problem() == "404 unknown-path")
    }

    @Test func servesTheRest() throws {
        #expect(try serving.get("/livez").member("status").string() == "live")
        #expect(try serving.get("/readyz").member("status").string() == "ready")
        #expect(try serving.get("/openapi.json").member("openapi").string() == "3.1.0")
        #expect(try serving.get("/livez?x=1").status == 200)
        serving.readiness.set(false)
        let reply = try serving.get("/readyz")
        #expect(try reply.problem() == "503 not-ready")
        #expect(reply.headers["retry-after"] == "1")
        #expect(try serving.get("/livez").status == 200)
        #expect(try serving.post("/v1/retrieve", #"{"user":{}}"#).status == 200)
    }

    @Test func refusesWhatHTTPSays() throws {
        let body = #"{"user":{}}"#
        #expect(try serving.get("/metric").problem() == "404 unknown-path")
        #expect(try serving.post("/v1/nothing", body).problem() == "404 unknown-path")
        let get = try serving.get("/v1/retrieve")
        #expect(try get.problem() == "405 method-not-allowed")
        #expect(get.headers["allow"] == "POST")
        #expect(try serving.send("PUT", "/v1/embed", body).problem() == "405 method-not-allowed")
        #expect(try serving.send("DELETE", "/v1/items/7").headers["allow"] == "GET, HEAD")
        for (name, value, expected) in [
            ("Accept", "text/html", "406 not-acceptable"),
            ("Content-Type", "text/plain", "415 unsupported-media-type"),
            ("Content-Encoding", "gzip", "415 unsupported-content-encoding"),
        ] {
            #expect(try serving.post("/v1/retrieve", body, headers: [name: value]).problem() == expected)
        }
        #expect(try serving.get("/livez", headers: ["Accept": "text/html"]).problem() == "406 not-acceptable")
        let accepted = [
            "Content-Type": "application/json; charset=utf-8", "Accept": "text/html, */*;q=0.1",
            "Content-Encoding": "identity", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ]
        #expect(try serving.post("/v1/retrieve", body, headers: accepted).status == 200)
    }

    @Test(
        arguments: [
            ("/v1/retrieve", "", "400 empty-body"),
            ("/v1/retrieve", "{", "400 malformed-json"),
            ("/v1/retrieve", #"{"user":{}} x"#, "400 trailing-content"),
            ("/v1/retrieve", #"{"user":{},"k":1e999}"#, "400 number-out-of-range"),
            ("/v1/retrieve", String(repeating: "[", count: 99), "400 nested-too-deeply"),
            ("/v1/retrieve", #"{"user":{},"bogus":1}"#, "400 unknown-field /bogus"),
            ("/v1/retrieve", #"{"user":{},"user":{}}"#, "400 duplicate-key /user"),
            ("/v1/retrieve", "{}", "400 missing-field /user"),
            ("/v1/retrieve", #"{"user":{},"k":"x"}"#, "400 wrong-type /k"),
            ("/v1/retrieve", "[]", "400 wrong-type "),
            ("/v1/embed", #"{"user":{},"requests":[]}"#, "400 conflicting-fields /user"),
            ("/v1/retrieve", #"{"user":{},"model":"other"}"#, "404 unknown-model /model"),
            ("/v1/retrieve", #"{"user":{},"if_space_id":"other"}"#, "409 space-mismatch /if_space_id"),
            ("/v1/embed", #"{"user":{},"if_space_id":"other"}"#, "409 space-mismatch /if_space_id"),
            ("/v1/score", #"{"user":{},"items":[],"if_space_id":"other"}"#, "409 space-mismatch /if_space_id"),
            ("/v1/retrieve", #"{"user":{},"k":0}"#, "422 out-of-range /k"),
            ("/v1/retrieve", #"{"user":{"id":""}}"#, "422 text-length /user/id"),
            ("/v1/retrieve", #"{"user":{},"format":"xml"}"#, "422 unknown-format /format"),
            ("/v1/retrieve", #"{"user":{},"search":{"nprobe":1}}"#, "422 search-parameter /search/nprobe"),
            ("/v1/retrieve", #"{"user":{"id":7}}"#, "422 id-type /user/id"),
            ("/v1/embed", #"{"requests":[{"user":{}},{"user":{"id":7}}]}"#, "422 id-type /requests/1/user/id"),
            (
                "/v1/retrieve", #"{"user":{},"context":{"a/b":1},"strict":true}"#,
                "422 unknown-feature /context/a~1b"
            ),
            ("/v1/retrieve", #"{"user":{},"filter":{}}"#, "501 not-built /filter"),
            ("/v1/retrieve", #"{"user":{},"timeout_ms":0}"#, "422 out-of-range /timeout_ms"),
            ("/v1/retrieve", #"{"user":{},"return":[]}"#, "501 not-built /return"),
        ])
    func refusesWhatABodySays(path: String, body: String, expected: String) throws {
        #expect(try serving.post(path, body).problem() == expected)
    }

    @Test func refusesBytesThatAreNotUTF8() throws {
        // A string would have been repaired, so the byte is an escape in the body's own source.
        let decoder = try RequestDecoder(maximumBodyByteCount: 64)
        var query = RetrievalQuery()
        #expect(throws: RequestError.syntax(JSONSyntaxError(.invalidUTF8, offset: 10))) {
            try Body(Array(#"{"user":{""#.utf8) + [0xff] + Array("\":1}}".utf8)).lend {
                try decoder.decodeRetrieve($0, into: &query)
            }
        }
    }

    @Test func namesTheFeatureOfTheWrongType() throws {
        for feature in serving.snapshot.manifest.user.features where feature.source == .user {
            // An object fits no feature.
            let reply = try serving.post("/v1/retrieve", #"{"user":{"features":{"\#(feature.name)":{}}}}"#)
            #expect(try reply.problem() == "422 feature-type /user/features/\(feature.name)")
            #expect(try reply.member("feature").string() == feature.name)
        }
    }

    @Test func stringCataloguesTakeStringsOnly() throws {
        let strings = try Serving("cs3-three-cycles")
        #expect(
            try strings.post("/v1/retrieve", #"{"user":{},"exclude":["a",7]}"#).problem() == "422 id-type /exclude/1")
        #expect(try strings.post("/v1/score", #"{"user":{},"items":[7]}"#).problem() == "422 id-type /items/0")
    }

    @Test func hugeNumbersAreRefusedNotServed() throws {
        // Finite features may still make an embedding or a score that is not.
        for feature in serving.snapshot.manifest.user.features where feature.source == .user && feature.type == .number
        {
            for value in ["1e300", "3e38", "-3e38"] {
                let reply = try serving.post("/v1/retrieve", #"{"user":{"features":{"\#(feature.name)":\#(value)}}}"#)
                #expect(try reply.status == 200 || reply.problem().hasPrefix("422 feature-range"))
            }
        }
    }
}
