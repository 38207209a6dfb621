import Foundation
import LoadTesting
import TestSupport
import Testing

/// Writes lines to a file of their own and reads them as requests.
func readRequests(_ text: String) throws -> (requests: [LoadRequest]?, fault: String?) {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).jsonl").path
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    do {
        return (try RequestFile.read(path), nil)
    } catch {
        #expect(error.description.hasPrefix(path))
        guard case .failed(let text) = error else { return (nil, "usage") }
        return (nil, String(text.dropFirst(path.count)))
    }
}

@Suite struct RequestsFileTests {
    @Test func readsBodiesAndWrappedBodies() throws {
        let read = try readRequests(
            """
            {"user": {"id": "u1"},  "k": 7, "exclude": ["a", 12, 18446744073709551615]}

            \t\r
            {"request": {"user": {}, "context": {"hour": 3.0}}, "top": {"ids": []}}\r
            """)
        let requests = try #require(read.requests)
        #expect(requests.count == 2)
        // A body is sent as it stands.
        #expect(requests[0].body == #"{"user": {"id": "u1"},  "k": 7, "exclude": ["a", 12, 18446744073709551615]}"#)
        #expect(requests[0].k == 7)
        #expect(requests[0].excluded == ["a", "12", "18446744073709551615"])
        #expect(requests[1].body == #"{"user":{},"context":{"hour":3.0}}"#)
        #expect(requests[1].k == 100)
        #expect(requests[1].excluded.isEmpty)
    }

    @Test(arguments: [
        ("", ": holds no request"),
        ("\n \n", ": holds no request"),
        ("{\"user\":{}}\n\n{\"user\":{}", ":3: malformed JSON"),
        ("[1]", ":1: expected an object, got a list"),
        ("{\"user\":{}}\n7", ":2: expected an object, got an integer"),
        ("{\"k\":1}", ":1: the key \"user\" is missing"),
        ("{\"user\":\"u1\"}", ":1: /user: expected an object"),
        ("{\"user\":{},\"k\":0}", ":1: /k: expected an integer of 1 ... 10000, got 0"),
        ("{\"user\":{},\"k\":10001}", ":1: /k: expected an integer of 1 ... 10000, got 10001"),
        ("{\"user\":{},\"k\":1.0}", ":1: /k: expected an integer of 1 ... 10000, got 1.0"),
        ("{\"user\":{},\"k\":\"9\"}", ":1: /k: expected an integer of 1 ... 10000, got \"9\""),
        ("{\"user\":{},\"k\":18446744073709551615}", ":1: /k: expected an integer"),
        ("{\"user\":{},\"exclude\":\"a\"}", ":1: /exclude: expected a list of ids"),
        ("{\"user\":{},\"exclude\":[\"a\",-1]}", ":1: /exclude/1: expected a string or a number of at least 0"),
        ("{\"user\":{},\"user\":{}}", ":1: /user: this key stands twice"),
        ("{\"request\":[]}", ":1: expected an object, the body of a request"),
        ("{\"user\":{}} {}", ":1: content after the JSON value"),
    ]) func namesTheLineAndTheFault(_ text: String, _ fault: String) throws {
        let read = try readRequests(text)
        #expect(read.requests == nil)
        #expect(read.fault?.hasPrefix(fault) == true, "\(read.fault ?? "none")")
    }

    @Test func refusesLinesThatAreTooLong() throws {
        let filler = String(repeating: "x", count: RequestFile.lineByteCountMax)
        let read = try readRequests("{\"user\":{}}\n{\"user\":{},\"request_id\":\"\(filler)\"}\n")
        #expect(read.fault?.hasPrefix(":2: has 419") == true)
    }

    @Test func namesAMissingFile() {
        #expect(throws: LoadTestError.failed("/nowhere/f.jsonl: cannot open: No such file or directory")) {
            try RequestFile.read("/nowhere/f.jsonl")
        }
    }

    /// Every golden line of every fixture is a request, with the k that Foundation reads from it.
    @Test(arguments: Fixtures.all) func readsGoldenLines(_ fixture: String) throws {
        let path = "\(try Fixtures.path(fixture))/golden.jsonl"
        let requests = try RequestFile.read(path)
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(requests.count == lines.count)
        for (request, line) in zip(requests, lines) {
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as! [String: Any]
            let body = object["request"] as! [String: Any]
            let read = try JSONSerialization.jsonObject(with: Data(request.body.utf8)) as! NSDictionary
            #expect(read == body as NSDictionary)
            #expect(request.k == body["k"] as? Int ?? 100)
        }
    }
}

@Suite struct RequestsOverridesTests {
    private let request = LoadRequest(
        body:
            #"{"k":5,"user":{"id":"é\u0000\"\\","features":{"a":1,"b":1.0,"c":-0.0,"d":1e30,"e":18446744073709551615,"f":-9223372036854775808,"g":0.1,"h":[true,null,"x"]}},"search":{"ef":10,"exact":false},"timeout_ms":5,"format":"columns"}"#,
        k: 5)

    @Test func replacesFieldsWhereTheyStand() throws {
        let changed = try request.overriding(.init(k: 50, ef: 64, format: "rows"))
        #expect(changed.k == 50)
        #expect(
            changed.body
                == #"{"k":50,"user":{"id":"é\u0000\"\\","features":{"a":1,"b":1.0,"c":-0.0,"d":1e+30,"e":18446744073709551615,"f":-9223372036854775808,"g":0.1,"h":[true,null,"x"]}},"search":{"ef":64,"exact":false},"timeout_ms":5,"format":"rows"}"#
        )
    }

    @Test func addsWhatIsNotThere() throws {
        let plain = LoadRequest(body: #"{"user":{},"exclude":["i1",7]}"#, k: 100, excluded: ["i1", "7"])
        let changed = try plain.overriding(.init(k: 3, nprobe: 8, exact: true))
        #expect(changed.body == #"{"user":{},"exclude":["i1",7],"k":3,"search":{"nprobe":8,"exact":true}}"#)
        #expect(changed.excluded == ["i1", "7"])
        #expect(try plain.overriding(.init()) == plain)
    }

    @Test func repeatsExactly() throws {
        let exact = try request.repeatingExactly()
        #expect(exact.body.hasSuffix(#""search":{"exact":true},"format":"rows"}"#))
        #expect(exact.body.hasPrefix(#"{"k":5,"user":{"id":"#))
        #expect(!exact.body.contains("timeout_ms"))
        #expect(
            try LoadRequest(body: #"{"user":{}}"#, k: 100).repeatingExactly().body
                == #"{"user":{},"search":{"exact":true},"format":"rows"}"#)
    }

    @Test func refusesWhatIsNoRequest() {
        for body in ["", "{", "[]", "{}"] {
            #expect(throws: LoadTestError.self) { try LoadRequest(body: body, k: 1).repeatingExactly() }
        }
        #expect(throws: LoadTestError.usage("k is 0, expected 1 ... 10000")) {
            try LoadRequest(body: #"{"user":{}}"#, k: 1).overriding(.init(k: 0))
        }
    }
}

@Suite struct RequestsKMixTests {
    @Test func readsOneKOrAMix() throws {
        #expect(try KMix("100") == KMix(k: 100))
        let mix = try KMix("10:8,500:2")
        #expect(mix.parts.map(\.k) == [10, 500])
        #expect(mix.parts.map(\.share) == [0.8, 0.2])
        #expect(try KMix("10:0.8,500:0.2").parts.map(\.share) == [0.8, 0.2])
    }

    @Test(arguments: [
        "", "x", "0", "10001", "-1", "1.5", "10:", "10:0", "10:-1", "10:x", "10:nan", "10:inf", "10:1:2", "10,20",
        "10:1,20", "10:1,10:2", "10:1,", ",", ":1",
    ]) func refuses(_ text: String) {
        let error = #expect(throws: LoadTestError.self) { try KMix(text) }
        guard case .usage? = error else {
            Issue.record("not a usage error: \(String(describing: error))")
            return
        }
    }
}
