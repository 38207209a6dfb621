import Foundation
import TestSupport
import Testing

@testable import LoadTesting

@Suite struct QualityRecallTests {
    private struct Down: Error {}

    private func reply(_ items: [(String, Double)]) throws -> RetrieveReply {
        try RetrieveReply(Array(rows(items).utf8))
    }

    private func request(_ user: Int, k: Int) -> LoadRequest {
        LoadRequest(body: #"{"user":{"id":"\#(user)"},"k":\#(k)}"#, k: k)
    }

    @Test func countsHitsByHand() throws {
        let exact = try reply([("a", 9), ("b", 8), ("c", 7), ("d", 6)])
        let timed = try reply([("a", 9), ("c", 7), ("d", 6), ("e", 1)])
        #expect(Recall.recall(timed: timed, exact: exact, at: 1) == 1)
        #expect(Recall.recall(timed: timed, exact: exact, at: 2) == 0.5)
        #expect(Recall.recall(timed: timed, exact: exact, at: 3) == 2.0 / 3)
        #expect(Recall.recall(timed: timed, exact: exact, at: 4) == 0.75)
        // Deeper than the catalogue: all four are what there is to find.
        #expect(Recall.recall(timed: timed, exact: exact, at: 100) == 0.75)
        #expect(Recall.recall(timed: try reply([]), exact: exact, at: 4) == 0)
        #expect(Recall.recall(timed: timed, exact: try reply([]), at: 4) == nil)
    }

    @Test func equalScoresAreInterchangeable() throws {
        let exact = try reply([("a", 9), ("b", 5), ("c", 5), ("d", 5)])
        // Any two of b, c, d, and one that the exact reply had no place for, are as good.
        #expect(Recall.recall(timed: try reply([("a", 9), ("d", 5), ("c", 5)]), exact: exact, at: 2) == 1)
        #expect(Recall.recall(timed: try reply([("a", 9), ("e", 5), ("f", 5), ("d", 5)]), exact: exact, at: 4) == 1)
        // Three that reach the second's score are no more than two hits.
        #expect(Recall.recall(timed: try reply([("b", 5), ("c", 5)]), exact: exact, at: 2) == 1)
        // Claiming a score does not make a hit: exact search knows a's score, and of e that it is at most 5.
        #expect(Recall.recall(timed: try reply([("e", 9), ("a", 9)]), exact: exact, at: 1) == 0)
        #expect(Recall.recall(timed: try reply([("d", 9)]), exact: exact, at: 1) == 0)
        // The same item again is no further hit.
        #expect(Recall.recall(timed: try reply([("a", 9), ("a", 9)]), exact: exact, at: 2) == 0.5)
    }

    /// 40 requests for 20 items, of which every fourth misses 2 of 20 at the end, and 10 for 5 items, all perfect.
    @Test func measuresEachDepthAsFarAsKReaches() throws {
        let requests = (0..<40).map { request($0, k: 20) } + (40..<50).map { request($0, k: 5) }
        let exact = (0..<20).map { ("i\($0)", Double(20 - $0)) }
        let bodies = requests.indices.map { index in
            let items = Array(exact.prefix(requests[index].k))
            return rows(index < 40 && index % 4 == 0 ? Array(items.dropLast(2)) + [("x", 0.5), ("y", 0.25)] : items)
        }
        var asked: [String] = []
        let report = Recall.measure(kept: kept(bodies), requests: requests, limit: 1000, seed: 5) { request in
            asked.append(request.body)
            return ("s1", Array(rows(Array(exact.prefix(request.k))).utf8))
        }
        #expect(report.requests == 50)
        #expect(report.skipped == [:])
        #expect(Set(asked).count == 50)
        #expect(report.estimates.map(\.at) == [5, 10, 20])
        #expect(report.estimates[0].mean == 1)
        #expect(report.estimates[1].mean == 1)
        // (30 * 1 + 10 * 0.9) / 40
        #expect(abs(report.estimates[2].mean - 0.975) < 1e-12)
        for estimate in report.estimates {
            #expect(estimate.low < estimate.mean && estimate.mean <= estimate.high && estimate.high <= 1)
        }
        // The mean's deviation is 0.0433 / sqrt(40) = 0.0068: the interval reaches about twice that to either side.
        #expect(abs(report.estimates[2].high - 0.975 - 0.0134) < 0.004)
        #expect(abs(0.975 - report.estimates[2].low - 0.0134) < 0.008)
    }

    /// 200 perfect requests at depth 10: of 201 with one at 0.9 the 97.5th percentile of how often that one is drawn is 3, so
    /// the lower end is 1 - 3 * 0.1 / 201.
    @Test func aPerfectSampleIsNotCertain() {
        var draws = SeededDraws(seed: 1)
        let interval = Recall.interval([Double](repeating: 1, count: 200), depth: 10, &draws)
        #expect(abs(interval.low - (1 - 0.3 / 201)) < 1e-9)
        #expect(interval.high == 1)
    }

    /// Of 300 samples of 60 requests whose recall is 1, 0.9 or 0.5 with chances 0.8, 0.15 and 0.05 (mean 0.96) the interval
    /// holds the mean in about 95 %: 285, and four deviations are 15.
    @Test func theIntervalCoversTheMean() {
        var random = SeededRandom(seed: 3)
        var covered = 0
        for _ in 0..<300 {
            let recalls = (0..<60).map { _ in
                let point = random.below(100)
                return point < 80 ? 1 : point < 95 ? 0.9 : 0.5
            }
            var draws = SeededDraws(seed: random.next())
            let interval = Recall.interval(recalls, depth: 10, &draws)
            if interval.low <= 0.96 && 0.96 <= interval.high { covered += 1 }
        }
        #expect(covered >= 265, "\(covered) of 300")
    }

    @Test func theSeedPicksDistinctRequests() {
        let requests = (0..<100).map { request($0, k: 1) } + (0..<100).map { request($0, k: 1) }
        let bodies = requests.map { _ in rows([("a", 1)]) }
        func asked(_ seed: UInt64) -> [String] {
            var asked: [String] = []
            let report = Recall.measure(kept: kept(bodies), requests: requests, limit: 30, seed: seed) { request in
                asked.append(request.body)
                return ("s1", Array(rows([("a", 1)]).utf8))
            }
            #expect(report.requests == 30)
            return asked
        }
        #expect(asked(1) == asked(1))
        #expect(asked(1) != asked(2))
        #expect(Set(asked(1)).count == 30)
    }

    @Test func saysWhatItCouldNotRepeat() {
        let requests = (0..<5).map { request($0, k: 2) }
        var bodies = requests.map { _ in rows([("a", 2), ("b", 1)]) }
        bodies[0] = "{"
        let report = Recall.measure(kept: kept(bodies), requests: requests, limit: 10, seed: 1) { asked in
            switch asked.body {
            case requests[1].body: throw Down()
            case requests[2].body: ("s1", Array("[]".utf8))
            case requests[3].body: ("s1", Array(rows([("a", 2)], more: #""degraded":["deadline"]"#).utf8))
            default: ("s1", Array(rows([("b", 2), ("a", 2)]).utf8))
            }
        }
        #expect(report.requests == 1)
        #expect(
            report.skipped == [
                "the timed reply is malformed": 1, "the repetition failed: Down()": 1,
                "the repetition's reply is malformed": 1, "the repetition is degraded": 1,
            ])
        #expect(report.estimates.map(\.at) == [2])
    }

    /// Of 100 replies 50 are of the snapshot before a swap: it is noticed at the first, and none of the 20 repetitions is spent on
    /// the others.
    @Test func repetitionsGoToTheSnapshotThatServes() {
        let requests = (0..<100).map { request($0, k: 1) }
        let bodies = requests.indices.map { rows([("a", 1)], snapshot: $0 % 2 == 0 ? "old" : "new") }
        var tries = 0
        let report = Recall.measure(kept: kept(bodies), requests: requests, limit: 20, seed: 1) { _ in
            tries += 1
            return ("new", Array(rows([("a", 1)], snapshot: "new").utf8))
        }
        #expect(tries == 20)
        #expect(report.requests >= 19)
        #expect(report.skipped.keys.elementsEqual(["another snapshot serves"]))
    }

    @Test func givesUpOnAServerThatIsGone() {
        let requests = (0..<100).map { request($0, k: 1) }
        var tries = 0
        let report = Recall.measure(
            kept: kept(requests.map { _ in rows([("a", 1)]) }), requests: requests, limit: 100, seed: 1
        ) { _ in
            tries += 1
            throw Down()
        }
        #expect(tries == 10)
        #expect(report.skipped == ["the repetition failed: Down()": 10, "given up after 10 failures in a row": 90])
        #expect(report.estimates == [])
    }
}
