import Foundation
import TestSupport
import Testing

@testable import LoadTesting

@Suite struct QualityReplyChecksTests {
    private let request = LoadRequest(body: #"{"user":{"id":"u"},"k":3,"exclude":["x"]}"#, k: 3, excluded: ["x"])

    private func faults(_ body: String, _ request: LoadRequest? = nil, _ checks: ReplyChecks = ReplyChecks())
        -> [String: Int]
    {
        let report = checks.check(kept([body]), requests: [request ?? self.request], share: 1)
        #expect(report.checked == 1)
        #expect(report.invalid == (report.faults.isEmpty ? 0 : 1))
        #expect(report.examples.count == report.faults.count)
        return report.faults
    }

    @Test func takesWhatTheContractPromises() {
        #expect(faults(rows([("a", 0.9), ("b", 0.9), ("c", -1)])) == [:])
        #expect(faults(rows([("a", 1)])) == [:])
        let inColumns = LoadRequest(body: #"{"user":{},"k":3,"format":"columns"}"#, k: 3)
        #expect(faults(columns([("a", 0.9), ("b", 0.5)]), inColumns) == [:])
        #expect(faults(rows([], more: #""degraded":["deadline"]"#)) == [:])
        let named = LoadRequest(body: #"{"user":{},"k":3,"request_id":"r-7"}"#, k: 3)
        #expect(faults(rows([("a", 1)], more: #""request_id":"r-7","degraded":[]"#), named) == [:])
        #expect(faults(rows([("a", 1)]), named) == ["request_id": 1])
        #expect(faults(rows([("a", 1)], more: #""request_id":"r-8","degraded":[]"#), named) == ["request_id": 1])
        let filtered = LoadRequest(body: #"{"user":{},"k":3,"filter":{}}"#, k: 3)
        #expect(faults(rows([]), filtered) == [:])
    }

    @Test func namesEachFault() {
        #expect(faults(rows([("a", 0.5), ("b", 0.6)])) == ["unsorted": 1])
        #expect(faults(rows([("a", 0.5), ("a", 0.5)])) == ["duplicate": 1])
        #expect(faults(rows([("a", 0.5), ("x", 0.5)])) == ["excluded": 1])
        #expect(faults(rows([("a", 4), ("b", 3), ("c", 2), ("d", 1)])) == ["count": 1])
        #expect(faults(rows([])) == ["count": 1])
        #expect(faults(columns([("a", 1)])) == ["format": 1])
        #expect(faults(rows([("x", 1), ("x", 2)])) == ["duplicate": 1, "excluded": 1, "unsorted": 1])
        // Two ids that are one to `String`, and two to a catalogue.
        #expect(faults(rows([("\u{E9}", 1), ("e\u{301}", 1)])) == [:])
    }

    @Test(arguments: [
        "", "{", "[]", "null", #"{"snapshot":{"id":"s"},"items":[]"#, #"{"snapshot":{"id":"s"},"items":[]} x"#,
        #"{"snapshot":{"id":"s"},"items":{}}"#, #"{"snapshot":{"id":"s"}}"#, #"{"snapshot":{"id":"s"},"ids":["a"]}"#,
        #"{"snapshot":{"id":"s"},"items":[],"ids":[],"scores":[]}"#,
        #"{"snapshot":{"id":"s"},"ids":["a"],"scores":[1,2]}"#, #"{"snapshot":{"id":"s"},"ids":[7],"scores":[1]}"#,
        #"{"snapshot":{"id":"s"},"items":[{"id":"a"}]}"#, #"{"snapshot":{"id":"s"},"items":[{"id":7,"score":1}]}"#,
        #"{"snapshot":{"id":"s"},"items":[{"id":"a","score":null}]}"#,
        #"{"snapshot":{"id":"s"},"items":[{"id":"a","score":NaN}]}"#,
        #"{"snapshot":{"id":"s"},"items":[{"id":"a","score":1e999}]}"#,
        #"{"snapshot":{"id":"s"},"items":[{"id":"a","id":"b","score":1}]}"#,
        #"{"snapshot":{"id":"s"},"snapshot":{"id":"s"},"items":[]}"#,
        #"{"snapshot":{"id":"s"},"items":[],"degraded":"no"}"#, #"{"snapshot":{"id":"s"},"items":[],"degraded":[1]}"#,
        #"{"snapshot":{"id":"s"},"items":[],"cold_start":0}"#,
    ]) func malformed(_ body: String) {
        #expect(faults(body) == ["malformed": 1])
    }

    @Test(arguments: [
        #"{"items":[]}"#, #"{"snapshot":"s","items":[]}"#, #"{"snapshot":{},"items":[]}"#,
        #"{"snapshot":{"id":7},"items":[]}"#, #"{"snapshot":{"id":""},"items":[]}"#,
    ]) func withoutASnapshot(_ body: String) {
        #expect(faults(body) == ["snapshot": 1])
    }

    @Test func knowsTheCatalogue() throws {
        let directory = try Fixtures.path("plain")  // 1000 items with numbers for ids
        let catalogue = try ItemCatalogue(directory: directory)
        #expect(catalogue.snapshotID == "plain")
        #expect(catalogue.count == 1000)
        let golden = try String(contentsOfFile: "\(directory)/golden.jsonl", encoding: .utf8).split(separator: "\n")
        let line = try JSONSerialization.jsonObject(with: Data(golden[0].utf8)) as! [String: Any]
        let ids = (line["top"] as! [String: Any])["ids"] as! [String]
        let checks = ReplyChecks(catalogues: [catalogue])
        let three = [(ids[0], 3.0), (ids[1], 2.0), (ids[2], 1.0)]
        #expect(faults(rows(three, snapshot: "plain"), nil, checks) == [:])
        #expect(faults(rows(Array(three.prefix(2)), snapshot: "plain"), nil, checks) == ["count": 1])
        #expect(
            faults(rows([(ids[0], 3), ("0" + ids[1], 2), (ids[2], 1)], snapshot: "plain"), nil, checks)
                == ["unknown": 1])
        #expect(faults(rows([("no", 3), ("such", 2), ("item", 1)], snapshot: "plain"), nil, checks) == ["unknown": 1])
        // Of another snapshot nothing is known.
        #expect(faults(rows([("no", 3)], snapshot: "other"), nil, checks) == [:])
        // 1000 less two that exist; the third does not and takes nothing away.
        let most = LoadRequest(body: #"{"user":{},"k":1001,"exclude":["\#(ids[0])",\#(ids[1]),"no"]}"#, k: 1001)
        let report = checks.check(kept([rows(three, snapshot: "plain")]), requests: [most], share: 0.5)
        #expect(report.examples.contains("count: request 0: expected 998 items, got 3"))
        #expect(report.share == 0.5)
    }

    @Test func countsRepliesAndKeepsAFewExamples() {
        let bodies = [String](repeating: "{", count: 20) + [rows([("a", 1), ("a", 2)]), rows([("a", 1)])]
        let report = ReplyChecks().check(
            kept(bodies, requests: bodies.map { _ in 0 }), requests: [request], share: 0.01)
        #expect(report.checked == 22)
        #expect(report.invalid == 21)
        #expect(report.faults == ["malformed": 20, "unsorted": 1, "duplicate": 1])
        #expect(report.examples.count == 5)
    }

    /// Every proper beginning of a reply is malformed.
    @Test func noticesEveryTruncation() {
        let body = rows([("a", 0.9), ("é\\n", 0.25), ("c", -1e-7)])
        let bytes = Array(body.utf8)
        let replies = (0...bytes.count).map {
            RunResult.KeptReply(outcome: $0, request: 0, body: Array(bytes[..<$0]))
        }
        let report = ReplyChecks().check(replies, requests: [request], share: 1)
        #expect(report.checked == bytes.count + 1)
        #expect(report.faults == ["malformed": bytes.count])
    }

    /// Whatever bits flip there is a verdict, and of 3000 damaged replies most are noticed: what is not changed a letter of an
    /// id, a digit of a score, or what no check reads.
    @Test func judgesEveryMutation() throws {
        var random = SeededRandom(seed: 11)
        let bodies = [Array(rows([("a", 0.9), ("b", 0.5), ("c", 0.25)]).utf8), Array(columns([("a", 0.9)]).utf8)]
        let answers =
            #"{"request":{"user":{"id":"u"},"k":3,"exclude":["x"]},"top":{"ids":["a","b","c"],"scores":[0.9,0.5,0.25]}}"#
        let checks = try withLines(answers) { ReplyChecks(expectations: try Expectations([.init($0)])) }
        var invalid = 0
        for round in 0..<3000 {
            var bytes = bodies[round % 2]
            for _ in 0..<1 + random.below(3) { bytes[random.below(bytes.count)] ^= 1 << UInt8(random.below(8)) }
            let replies = [RunResult.KeptReply(outcome: 0, request: 0, body: bytes)]
            invalid += checks.check(replies, requests: [request], share: 1).invalid
            _ = Recall.measure(kept: replies, requests: [request], limit: 1, seed: 1) { _ in ("s1", bytes) }
        }
        #expect(invalid > 1500 && invalid < 3000)
    }
}

@Suite struct QualityExpectationsTests {
    private let answers = """
        {"request": {"user": {"id": "u", "features": {"a": 1, "b": [2, 3]}}, "k": 3}, "embeddings": [[1]], "top": {"ids": ["a", "b", "c"], "scores": [0.9, 0.5, 0.25]}}
        {"request": {"user": {"id": "v"}, "exclude": ["q", "p"], "k": 5}, "embeddings": [[1]], "top": {"ids": ["a", "b"], "scores": [0.9, 0.5]}}
        """

    private func check(_ body: String, _ request: String, source: String = "") throws -> ValidationReport {
        try withLines(answers) { path in
            let checks = ReplyChecks(expectations: try Expectations([.init("\(source)\(path)")]))
            return checks.check(kept([body]), requests: [LoadRequest(body: request, k: 3)], share: 1)
        }
    }

    // The same request as the first line's, written otherwise.
    private let first = #"{"k":3,"search":{"ef":9},"user":{"features":{"b":[2,3],"a":1},"id":"u"},"explain":false}"#

    @Test func comparesScores() throws {
        let good = try check(rows([("a", 0.90005), ("b", 0.5), ("d", 0.25)]), first)
        #expect(good.faults == [:])
        #expect(good.compared == 1)
        #expect(abs((good.worstScoreDifference ?? 0) - 0.00005) < 1e-12)
        let off = try check(rows([("a", 0.9), ("b", 0.4998), ("c", 0.25)]), first)
        #expect(off.faults == ["score": 1])
        #expect(abs((off.worstScoreDifference ?? 0) - 0.0002) < 1e-12)
        // Not in the list, and yet better than its last; and better than its best.
        #expect(try check(rows([("a", 0.9), ("d", 0.4), ("c", 0.25)]), first).faults == ["score": 1])
        #expect(try check(rows([("d", 0.91), ("a", 0.9), ("c", 0.25)]), first).faults == ["score": 1])
        // The list has three, so three have to come.
        #expect(try check(rows([("a", 0.9), ("b", 0.5)]), first).faults == ["count": 1])
    }

    @Test func aListShorterThanItsKIsTheWholeCatalogue() throws {
        let request = #"{"user":{"id":"v"},"exclude":["p","q"],"k":3}"#
        #expect(try check(rows([("a", 0.9), ("b", 0.5)]), request).faults == [:])
        #expect(try check(rows([("a", 0.9)]), request).faults == ["count": 1])
        #expect(try check(rows([("a", 0.9), ("z", 0.1)]), request).faults == ["unknown": 1])
    }

    @Test func aRequestThatIsNotInTheFileIsNotCompared() throws {
        for request in [
            #"{"user":{"id":"w"},"k":3}"#, #"{"user":{"id":"v"},"exclude":["p"],"k":3}"#,
            #"{"user":{"id":"u","features":{"a":1,"b":[3,2]}},"k":3}"#,
        ] {
            #expect(try check(rows([("z", 7)]), request).compared == 0)
        }
        #expect(try check(rows([("z", 7)]), first, source: "s2=").compared == 0)
        #expect(try check(rows([("z", 7)]), first, source: "s1=").compared == 1)
    }

    @Test func readsSources() {
        #expect(Expectations.Source("f.jsonl").snapshotID == nil)
        #expect(Expectations.Source("a_B-1=x=y.jsonl").snapshotID == "a_B-1")
        #expect(Expectations.Source("a_B-1=x=y.jsonl").path == "x=y.jsonl")
        #expect(Expectations.Source("./a=b").snapshotID == nil)
        #expect(Expectations.Source("./a=b").path == "./a=b")
    }

    @Test(arguments: [
        ("", "holds no answer"), ("{", ":1: malformed JSON"),
        (#"{"user":{}}"#, ":1: the key \"request\" is missing"),
        (#"{"request":{"k":1},"top":{"ids":[],"scores":[]}}"#, ":1: /request: the key \"user\" is missing"),
        (#"{"request":{"user":{},"k":0},"top":{"ids":[],"scores":[]}}"#, ":1: /request/k: expected"),
        (#"{"request":{"user":{}}}"#, ":1: /top: expected an object"),
        (#"{"request":{"user":{}},"top":{"ids":["a"],"scores":[]}}"#, ":1: /top: 1 ids and 0 scores"),
        (#"{"request":{"user":{}},"top":{"ids":["a"],"scores":["b"]}}"#, ":1: /top: rank 0"),
        (#"{"request":{"user":{}},"top":{"ids":["a","a"],"scores":[1,1]}}"#, ":1: /top/ids/1: 'a' stands twice"),
        (#"{"request":{"user":{}},"top":{"ids":["a","b"],"scores":[1,2]}}"#, ":1: /top/scores/1: 2.0 is more"),
        (
            "{\"request\":{\"user\":{}},\"top\":{\"ids\":[\"a\"],\"scores\":[1]}}\n{\"request\":{\"k\":2,\"user\":{}},\"top\":{\"ids\":[\"a\"],\"scores\":[2]}}",
            ":2: the request has had another answer before"
        ),
    ]) func namesTheLineAndTheFault(_ text: String, _ fault: String) throws {
        try withLines(text) { path in
            let error = #expect(throws: LoadTestError.self) { try Expectations([.init(path)]) }
            #expect(error?.description.contains(fault) == true, "\(String(describing: error))")
        }
    }

    @Test func theLongestAnswerToARequestIsKept() throws {
        let text = """
            {"request":{"user":{},"k":1},"top":{"ids":["a"],"scores":[2]}}
            {"request":{"user":{},"k":2},"top":{"ids":["a","b"],"scores":[2,1]}}
            {"request":{"user":{},"k":1},"top":{"ids":["a"],"scores":[2]}}
            """
        try withLines(text) { path in
            let expectations = try Expectations([.init(path)])
            #expect(expectations.count == 1)
            let answer = expectations.answer(
                snapshotID: "s", key: Expectations.key(try BodyValue(parsing: #"{"user":{}}"#)))
            #expect(answer?.scores == [2, 1])
            #expect(answer?.isWhole == false)
        }
    }
}
