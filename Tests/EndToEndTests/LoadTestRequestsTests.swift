import Foundation
import TestSupport
import Testing

@testable import LoadTesting

/// What the load tester draws, and what it says of replies, against the daemon.
@Suite struct LoadTestRequestsTests {
    static let snapshots = ["demo"] + Fixtures.all

    private func path(_ snapshot: String) throws -> String {
        guard snapshot == "demo" else { return try Fixtures.path(snapshot) }
        return URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("models/demo").path
    }

    private func replies(_ requests: [LoadRequest], _ daemon: Daemon) throws -> [RunResult.KeptReply] {
        var kept: [RunResult.KeptReply] = []
        for (index, request) in requests.enumerated() {
            let reply = try daemon.post("/v1/retrieve", request.body)
            #expect(reply.status == 200, "\(request.body): \(String(decoding: reply.body, as: UTF8.self))")
            kept.append(
                .init(
                    outcome: index, request: index, body: Array(reply.body),
                    jsonByteCount: reply.headers["inference-header-content-length"].flatMap { Int($0) }))
        }
        return kept
    }

    /// Every request that is drawn is answered, also where the daemon is told to refuse unknown features, and every answer
    /// holds against the snapshot's own list of items.
    @Test(arguments: snapshots) func everyDrawnRequestIsAnswered(_ snapshot: String) throws {
        let directory = try path(snapshot)
        let options = SnapshotRequests.Options(
            zipfExponent: 0.8, unknownUserShare: 0.1, missingShare: 0.15, outOfVocabularyShare: 0.1,
            excludingShare: 0.3, k: try KMix("1:1,10:4,100:3,500:1,10000:0.2"))
        let drawn = try SnapshotRequests(directory: directory, options: options).draw(300, seed: 42)
        let daemon = try Daemon(snapshot: directory)
        let strict = drawn.map { LoadRequest(body: $0.body.dropLast() + #","strict":true}"#, k: $0.k) }
        let kept = try replies(strict, daemon)
        let report = ReplyChecks(catalogues: [try ItemCatalogue(directory: directory)])
            .check(kept, requests: strict, share: 1)
        #expect(report.checked == 300)
        #expect(report.faults == [:], "\(report.examples)")

        // Exact search answers itself with a recall of 1, and what was asked for holds its floor.
        func exactly(_ request: LoadRequest) throws -> (snapshotID: String, body: [UInt8]) {
            let reply = try daemon.post("/v1/retrieve", try request.repeatingExactly().body)
            #expect(reply.status == 200)
            return (((reply.json["snapshot"] as! [String: Any])["id"] as! String), Array(reply.body))
        }
        let recall = Recall.measure(kept: kept, requests: drawn, limit: 60, seed: 1, repeatExactly: exactly)
        #expect(recall.requests == 60)
        #expect(recall.skipped == [:])
        #expect(recall.estimates.allSatisfy { $0.mean > 0.5 && $0.low <= $0.mean && $0.mean <= $0.high })
        let exact = try drawn.prefix(40).map { try $0.overriding(.init(exact: true, format: "columns")) }
        let perfect = Recall.measure(
            kept: try replies(exact, daemon), requests: exact, limit: 40, seed: 1, repeatExactly: exactly)
        #expect(perfect.requests == 40)
        #expect(perfect.estimates.allSatisfy { $0.mean == 1 })

        // Binary replies say the same, where there are any.
        guard schemaHasNumbers(directory) else { return }
        let binary = try drawn.prefix(40).map { try $0.overriding(.init(exact: true, format: "binary")) }
        let binaryReplies = try replies(binary, daemon)
        #expect(binaryReplies.allSatisfy { $0.jsonByteCount != nil })
        let checked = ReplyChecks(catalogues: [try ItemCatalogue(directory: directory)])
            .check(binaryReplies, requests: binary, share: 1)
        #expect(checked.faults == [:], "\(checked.examples)")
        let same = Recall.measure(kept: binaryReplies, requests: binary, limit: 40, seed: 1, repeatExactly: exactly)
        #expect(same.requests == 40 && same.estimates.allSatisfy { $0.mean == 1 })
        for (one, other) in zip(try replies(exact, daemon), binaryReplies) {
            #expect(try RetrieveReply(one).scores == RetrieveReply(other).scores)
        }
    }

    private func schemaHasNumbers(_ directory: String) -> Bool {
        let manifest = try? String(contentsOfFile: "\(directory)/manifest.json", encoding: .utf8)
        return manifest?.contains(/"item_id_type": ?"u64"/) == true
    }

    /// Schemas at the edge of what the daemon takes: users that are numbers, boundaries and transforms that leave float32.
    @Test(arguments: ["string", "u64"]) func extremeSchemasAreAnswered(_ userIDType: String) throws {
        let copy = try SnapshotCopy(of: "plain")
        let features = copy.value("features/user") as! [[String: Any]]
        func place(_ name: String) -> String {
            "features/user/\(features.firstIndex { $0["name"] as? String == name }!)"
        }
        copy.set("user_id_type", "\"\(userIDType)\"")
        if userIDType == "u64" { copy.set("\(place("user_id"))/type", "\"integer\"") }
        copy.set("\(place("income"))/encoding/boundaries", "[-1e308, -1e-300, 0.5, 1e308]")
        copy.set("\(place("age"))/encoding/boundaries", "[-9e18, 0, 1, 2, 3, 9e18]")
        copy.set(
            "\(place("activity"))/encoding/transforms", #"[{"kind":"clip","minimum":-1,"maximum":3},{"kind":"log1p"}]"#)
        copy.set(
            "\(place("balance"))/encoding/transforms",
            #"[{"kind":"log1p"},{"kind":"standardise","mean":700,"deviation":50}]"#)
        copy.set(
            "\(place("account_days"))/encoding/transforms",
            #"[{"kind":"standardise","mean":1e19,"deviation":1e18}]"#)
        copy.set("\(place("hour"))/encoding/transforms", #"[{"kind":"standardise","mean":0.5,"deviation":1e-40}]"#)
        try copy.write("warmup.jsonl", #"{"user":{}}"# + "\n")
        try copy.seal()
        // PyTorch's golden answers were to another schema; that drawn requests are answered is the question here.
        try copy.write("golden.jsonl", try goldenLine(ofItself: copy.path) + "\n")
        try copy.seal()
        let options = SnapshotRequests.Options(unknownUserShare: 0.2, missingShare: 0.02)
        let drawn = try SnapshotRequests(directory: copy.path, options: options).draw(200, seed: 7)
        #expect(drawn.allSatisfy { ($0.body.contains(#""id":""#)) == (userIDType == "string") })
        let daemon = try Daemon(snapshot: copy.path)
        let report = ReplyChecks().check(try replies(drawn, daemon), requests: drawn, share: 1)
        #expect(report.faults == [:], "\(report.examples)")
    }

    /// The snapshot's golden answers, which PyTorch wrote, hold for the daemon, and would not if they were another model's.
    @Test(arguments: snapshots) func goldenAnswersHold(_ snapshot: String) throws {
        let directory = try path(snapshot)
        let golden = "\(directory)/golden.jsonl"
        let requests = try RequestFile.read(golden)
        let daemon = try Daemon(snapshot: directory)
        let kept = try replies(requests, daemon)
        let expectations = try Expectations([.init(golden)])
        let report = ReplyChecks(expectations: expectations).check(kept, requests: requests, share: 1)
        #expect(report.compared == requests.count)
        #expect(report.faults == [:], "\(report.examples)")
        #expect(report.worstScoreDifference ?? 1 < 1e-4)

        let moved = requests.map {
            LoadRequest(body: $0.body.replacingOccurrences(of: "\"id\":\"", with: "\"id\":\"z"), k: $0.k)
        }
        let others = try replies(moved, daemon)
        let wrong = ReplyChecks(expectations: expectations).check(others, requests: requests, share: 1)
        #expect(wrong.invalid > 0)
    }
}
