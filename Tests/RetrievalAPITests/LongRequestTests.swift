import Foundation
import HTTPServer
import Metrics
import RetrievalAPI
import TestSupport
import Testing

/// Requests that are set aside are answered as any other.
@Suite struct LongRequestTests {
    /// Every search is long, and gives way whenever it can.
    private static func everything() -> LongRequests {
        var all = LongRequests(yieldNanoseconds: 0)
        all.searchNanosecondsMax = 0
        all.batchUserCountMax = 0
        return all
    }

    @Test(arguments: ["cs3-one-cycle", "plain"])
    func repliesAreTheSame(_ fixture: String) throws {
        let usual = try Serving(fixture)
        let setAside = try Serving(fixture, longRequests: Self.everything())
        let user = try usual.warmup()
        let bodies: [(path: String, body: String)] = [
            ("/v1/retrieve", try usual.warmup(#""k":20"#)),
            ("/v1/retrieve", try usual.warmup(#""k":200,"format":"columns","search":{"exact":true}"#)),
            ("/v1/retrieve", try usual.warmup(#""k":7,"request_id":"r-1","timeout_ms":60000"#)),
            ("/v1/retrieve", #"{"user":{"id":"nobody"},"k":3}"#),
            ("/v1/retrieve", #"{"user":{},"k":0}"#),
            ("/v1/retrieve", try usual.warmup(#""if_space_id":"another""#)),
            ("/v1/embed", "{\"requests\":[\((0..<40).map { _ in user }.joined(separator: ","))]}"),
            ("/v1/embed", "{\"requests\":[\(user),{\"user\":{},\"context\":{\"\":1}}]}"),
            ("/v1/embed", user),
        ]
        for (path, body) in bodies {
            let (expected, got) = (try usual.send("POST", path, body), try setAside.send("POST", path, body))
            #expect(got.status == expected.status)
            #expect(got.text == expected.text && !got.text.isEmpty)
        }
        // Each is counted once, as what it is.
        for endpoint in [RequestMetrics.Endpoint.retrieve, .embed] {
            for status in [200, 409, 422] {
                #expect(
                    setAside.metrics.replies(endpoint, status: status).value
                        == usual.metrics.replies(endpoint, status: status).value)
            }
        }
        #expect(setAside.metrics.replies(.retrieve, status: 200).value == 4)
    }

    /// What is short is not set aside: nobody could tell from a reply.
    @Test func onlyLongOnesAreSetAside() throws {
        let counts = Counts()
        let serving = try Serving("cs3-one-cycle", longRequests: LongRequests(yieldNanoseconds: 0)) { handler in
            { exchange in
                if exchange.isSetAside { counts.add() }
                handler.handle(exchange)
            }
        }
        let user = try serving.warmup()
        #expect(try serving.post("/v1/retrieve", serving.warmup(#""search":{"exact":true}"#)).status == 200)
        #expect(try serving.post("/v1/embed", "{\"requests\":[\(user)]}").status == 200)
        #expect(counts.value == 0)
        let many = (0..<33).map { _ in user }.joined(separator: ",")
        #expect(try serving.post("/v1/embed", "{\"requests\":[\(many)]}").status == 200)
        #expect(counts.value == 1)
    }

    /// One that is late is refused at once, and does not wait for its turn.
    @Test func whatIsLateIsNotSetAside() throws {
        let counts = Counts()
        let serving = try Serving("cs3-one-cycle", longRequests: Self.everything()) { handler in
            { exchange in
                if exchange.isSetAside {
                    counts.add()
                } else {
                    usleep(20_000)
                }
                handler.handle(exchange)
            }
        }
        let late = try serving.post("/v1/retrieve", serving.warmup(#""timeout_ms":1"#))
        let problem = try late.problem()
        #expect(problem == "504 deadline-exceeded /timeout_ms")
        #expect(counts.value == 0)
        #expect(try serving.post("/v1/retrieve", serving.warmup(#""timeout_ms":60000"#)).status == 200)
        #expect(counts.value == 1)
    }

    private final class Counts: @unchecked Sendable {
        // Guarded by `lock`.
        private let lock = NSLock()
        private var count = 0
        func add() { lock.withLock { count += 1 } }
        var value: Int { lock.withLock { count } }
    }
}
