import Foundation
import TestSupport
import Testing

@testable import LoadTesting

/// Replies recomputed from the snapshot they name.
@Suite struct SwapBelongingTests {
    private let sources: SwapSources
    private let belonging: Belonging

    init() throws {
        sources = try SwapSources()
        belonging = try sources.belonging(["one": 0, "two": 1, "one-again": 0])
    }

    private func check(_ items: [(String, Double)], _ id: String, _ space: String?, user: Int = 1) throws
        -> ValidationReport
    {
        let body = SwapSources.reply(items, id: id, space: space)
        return ReplyChecks(belonging: belonging).check(
            kept([body]), requests: [SwapSources.request(user: user)], share: 1)
    }

    /// User 1 has (2, 2) in the first: items 72 with 8 and 70 and 71 with 2 each, 73 with 2. In the second (2, -2): 71 with 10,
    /// 73 with 6.
    @Test func whatIsAsItShouldBePasses() throws {
        for (items, id, space, source) in [
            ([("72", 8.0), ("70", 2.0)], "one", "space-0", 0), ([("72", 8), ("73", 2)], "one-again", "space-0", 0),
            ([("71", 10), ("73", 6)], "two", "space-1", 1), ([], "two", "space-1", 1),
        ] {
            let report = try check(items, id, space)
            #expect(report.invalid == (items.isEmpty ? 1 : 0), "\(report.examples)")
            #expect(report.faults["mixed"] == nil)
            let belonging = try #require(report.belonging)
            #expect(belonging.recomputed == 1 && belonging.mixed == 0 && belonging.unknownRequests == 0)
            #expect(belonging.scores == items.count)
            #expect(belonging.bySource == (source == 0 ? [1] : [0, 1]))
            #expect(belonging.worstDifference == 0)
        }
    }

    /// Ids, scores, snapshot and space of two snapshots in every combination that is none.
    @Test func whatIsMixedIsFound() throws {
        let mixtures: [(String, [(String, Double)], String, String?)] = [
            ("ids of one, scores of the other", [("72", 10), ("70", 6)], "one", "space-0"),
            ("a whole answer of the other under this name", [("71", 10), ("73", 6)], "one", "space-0"),
            ("the other's name", [("72", 8), ("70", 2)], "two", "space-1"),
            ("the other's space", [("72", 8), ("70", 2)], "one", "space-1"),
            ("no space", [("72", 8), ("70", 2)], "one", nil),
            ("one item of the other", [("71", 10), ("72", 8)], "one", "space-0"),
            // 71 has (0, 1) in the first, which is 2: right as a score, and not what a search of the first would give.
            ("items that the other's search found, scored right", [("71", 2), ("73", 2)], "one", "space-0"),
            ("an item that nobody has", [("72", 8), ("74", 2)], "one", "space-0"),
            ("a score that is a little off", [("72", 8.0005), ("70", 2)], "one", "space-0"),
            ("a snapshot that nobody published", [("72", 8), ("70", 2)], "three", "space-0"),
        ]
        for (what, items, id, space) in mixtures {
            let report = try check(items, id, space)
            #expect(report.faults["mixed"] == 1, "\(what)")
            #expect(report.belonging?.mixed == 1, "\(what)")
            #expect(report.invalid == 1, "\(what)")
        }
        // The same answer for another user is as wrong as for another snapshot.
        #expect(try check([("72", 8), ("70", 2)], "one", "space-0", user: 0).faults["mixed"] == 1)
    }

    private func binary(_ items: [(UInt64, Float)], _ id: String, _ space: String, more: String = "")
        -> RunResult.KeptReply
    {
        let head = #"{"snapshot":{"model":"m","id":"\#(id)","space_id":"\#(space)"},"degraded":[]\#(more)}"#
        var body = Array(head.utf8)
        for (id, _) in items { withUnsafeBytes(of: id.littleEndian) { body += $0 } }
        for (_, score) in items { withUnsafeBytes(of: score.bitPattern.littleEndian) { body += $0 } }
        return RunResult.KeptReply(outcome: 0, request: 0, body: body, jsonByteCount: head.utf8.count)
    }

    /// A reply with the same ids and scores as one that was right is counted as that was, and only where it is from the same
    /// snapshot.
    @Test func repliesLikeARightOneAreRecomputedOnlyWhereTheyMayDiffer() throws {
        let right: [(UInt64, Float)] = [(72, 8), (70, 2)]
        let theirs: [(UInt64, Float)] = [(71, 10), (73, 6)]
        let replies: [(RunResult.KeptReply, isMixed: Bool)] = [
            (binary(right, "one", "space-0"), false), (binary(right, "one", "space-0", more: #","took_us":7"#), false),
            (binary(right, "two", "space-1"), true), (binary(right, "one", "space-1"), true),
            (binary(right, "three", "space-0"), true), (binary(right, "one-again", "space-0"), false),
            (binary(right, "one-again", "space-0"), false), (binary(theirs, "two", "space-1"), false),
            (binary(theirs, "one", "space-0"), true), (binary(theirs, "one", "space-0"), true),
            (binary(theirs, "two", "space-1"), false), (binary([(72, 8), (70, 2.5)], "one", "space-0"), true),
            (binary([(72, 8), (71, 2)], "one", "space-0"), false), (binary(right, "one", "space-0"), false),
        ]
        let request = LoadRequest(body: #"{"user":{"id":"u1"},"k":2,"format":"binary"}"#, k: 2)
        let checks = ReplyChecks(belonging: belonging)
        func report(_ replies: [RunResult.KeptReply]) -> ValidationReport {
            checks.check(replies, requests: [request], share: 1)
        }
        let together = report(replies.map(\.0))
        let mixed = replies.count(where: \.isMixed)
        #expect(together.faults == ["mixed": mixed] && together.invalid == mixed, "\(together.examples)")
        #expect(together.belonging?.recomputed == replies.count && together.belonging?.mixed == mixed)
        // Together they come to what each comes to alone.
        let alone = replies.map { report([$0.0]) }
        for (one, (_, isMixed)) in zip(alone, replies) { #expect(one.belonging?.mixed == (isMixed ? 1 : 0)) }
        for figure in [\BelongingReport.scores, \.found, \.wanted] {
            #expect(together.belonging?[keyPath: figure] == alone.reduce(0) { $0 + $1.belonging![keyPath: figure] })
        }
        #expect(together.belonging?.bySource == [6, 2])
    }

    /// What the head alone says is checked in each reply.
    @Test func repliesLikeARightOneStillAnswerTheirOwnRequest() {
        let request = LoadRequest(body: #"{"user":{"id":"u1"},"k":2,"format":"binary","request_id":"r"}"#, k: 2)
        let report = ReplyChecks(belonging: belonging).check(
            ["r", "r", "s"].map { binary([(72, 8), (70, 2)], "one", "space-0", more: #","request_id":"\#($0)""#) },
            requests: [request], share: 1)
        #expect(report.faults == ["request_id": 1])
    }

    /// |u||v| of user 1 and item 72 is sqrt(8) sqrt(10) = 8.944: 8.9e-5 is allowed.
    @Test func theToleranceIsOfTheLengths() throws {
        #expect(try check([("72", 8.00008), ("70", 2)], "one", "space-0").invalid == 0)
        #expect(try check([("72", 8.0001), ("70", 2)], "one", "space-0").faults["mixed"] == 1)
        let worst = try check([("72", 8.00008), ("70", 2)], "one", "space-0").belonging?.worstDifference
        #expect(abs(try #require(worst) - 0.00008 / 80.0.squareRoot()) < 1e-12)
    }

    @Test func aRequestOfWhichNothingIsExpectedIsNoSuccess() throws {
        let report = try check([("72", 8), ("70", 2)], "one", "space-0", user: 7)
        #expect(report.belonging?.unknownRequests == 1)
        #expect(report.invalid == 1)
    }

    /// PyTorch's own answers, over every kind of index that holds the vectors and over both metrics.
    @Test(arguments: Fixtures.all) func goldenAnswersBelong(_ fixture: String) throws {
        let directory = try Fixtures.path(fixture)
        let source = try SnapshotSource(directory: directory, expectations: "\(directory)/golden.jsonl")
        let belonging = Belonging(sources: [source], sourceByID: ["published": 0])
        let lines = try String(contentsOfFile: "\(directory)/golden.jsonl", encoding: .utf8).split(separator: "\n")
        for (number, line) in lines.enumerated() {
            let golden = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            let key = Expectations.key(try #require(try BodyValue(parsing: String(line))["request"]))
            let top = try #require(golden["top"] as? [String: Any])
            let ids = try #require(top["ids"] as? [String])
            var scores = try #require(top["scores"] as? [Double])
            func verdict() throws -> Belonging.Verdict {
                let body = SwapSources.reply(Array(zip(ids, scores)), id: "published", space: source.spaceID)
                return belonging.check(try RetrieveReply(Array(body.utf8)), key: key)
            }
            guard case .belongs(0, let scoreCount, let worst, let found, let wanted) = try verdict() else {
                Issue.record("line \(number) of \(fixture): \(try verdict())")
                continue
            }
            #expect(scoreCount == ids.count && found == wanted && worst < 1e-6)
            // A hundredth more than the largest score, which is less than the vectors are long.
            scores[scores.count / 2] += 0.01 * max(1, abs(scores[0]))
            guard case .mixed = try verdict() else {
                Issue.record("line \(number) of \(fixture): a score that is 0.01 too high passed")
                continue
            }
        }
    }

    @Test func damagedIndexesHoldNoVectors() throws {
        let file = try Data(contentsOf: URL(fileURLWithPath: "\(try Fixtures.path("cross-only"))/index.faiss"))
        func places(_ data: Data, count: Int = 1500, dimension: Int = 33) -> [Int]? {
            data.withUnsafeBytes { FaissVectors($0, count: count, dimension: dimension).places }
        }
        let whole = try #require(places(file))
        #expect(Set(whole).count == 1500 && whole.allSatisfy { $0 >= 0 && $0 + 132 <= file.count })
        #expect(places(file, count: 1499) == nil)
        #expect(places(file, dimension: 32) == nil)
        for end in stride(from: 0, to: file.count, by: 997) { #expect(places(file.prefix(end)) == nil) }
        var random = SeededRandom(seed: 5)
        for _ in 0..<2000 {
            var damaged = file
            damaged[Int(random.next() % 400)] = UInt8(truncatingIfNeeded: random.next())
            if let found = places(damaged) { #expect(found.allSatisfy { $0 + 132 <= file.count }) }
        }
    }
}
