import Foundation
import ItemIndex
import RetrievalAPI
import Snapshots
import TestSupport
import Testing

@testable import SnapshotLife

/// How a candidate's answers are held to those of what serves. The figures are computed again here: cosines of embeddings, and
/// overlaps of the best items, found by going through all vectors.
@Suite struct SkewTests {
    private static let k = 20

    /// Warm-up requests of a fixture, each with a k and with exact search.
    private func requests(_ fixture: String, count: Int = 40, search: String = #"{"exact":true}"#) throws -> [String] {
        let text = try String(contentsOfFile: "\(try Fixtures.path(fixture))/warmup.jsonl", encoding: .utf8)
        return try text.split(separator: "\n").prefix(count).map { line in
            var object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            object["k"] = Self.k
            object["search"] = try JSONSerialization.jsonObject(with: Data(search.utf8))
            return String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self)
        }
    }

    private func record(_ requests: [String], _ shelf: Shelf) throws -> String {
        let path = shelf.scratchPath("requests.jsonl")
        try Data(requests.map { "\($0)\n" }.joined().utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    struct Figures {
        var cosines: [Double] = []
        var overlaps: [Double] = []
        func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
    }

    /// What the two snapshots answer, by plain arithmetic over their embeddings and vectors.
    private func figures(_ requests: [String], _ shelf: Shelf, candidate: String, serving: String) throws -> Figures {
        let asker = try Asker()
        let generations = try [serving, candidate].map {
            Generation(snapshot: try Snapshot(loading: try SnapshotFiles(path: "\(shelf.path)/\($0)")), workerCount: 1)
        }
        let ids = try [serving, candidate].map { try shelf.itemIDs($0) }
        var figures = Figures()
        for request in requests {
            let embeddings = try generations.map { try asker.ask(request, $0, worker: 0).embedding.map(Double.init) }
            if generations[0].snapshot.manifest.spaceID == generations[1].snapshot.manifest.spaceID {
                let product = zip(embeddings[0], embeddings[1]).reduce(0) { $0 + $1.0 * $1.1 }
                let norms = embeddings.map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
                figures.cosines.append(product / (norms[0] * norms[1]))
            }
            let best = zip(zip(generations, embeddings), ids).map { pair, ids in
                let ((generation, embedding), index) = (pair, pair.0.snapshot.index)
                let scores = (0..<index.count).map { row -> Double in
                    let vector = index.vector(row)
                    return generation.snapshot.manifest.metric == .innerProduct
                        ? zip(embedding, vector).reduce(0) { $0 + $1.0 * Double($1.1) }
                        : -zip(embedding, vector).reduce(0) { $0 + ($1.0 - Double($1.1)) * ($1.0 - Double($1.1)) }
                }
                return Set((0..<index.count).sorted { scores[$0] > scores[$1] }.prefix(Self.k).map { ids[$0] })
            }
            figures.overlaps.append(Double(best[0].intersection(best[1]).count) / Double(Self.k))
        }
        return figures
    }

    @Test func figuresAreThoseOfPlainArithmetic() throws {
        let shelf = try Shelf(("cascade-only", "a"))
        try shelf.publish("cascade-only", as: "b", edit: RefusalTests.rename)
        let requests = try requests("cascade-only")
        let path = try record(requests, shelf)
        let tested = try LifeUnderTest.started(shelf) { $0.recordedRequests = path }
        #expect(try tested.record("a").skew == nil)
        try tested.activate("b")
        let expected = try figures(requests, shelf, candidate: "b", serving: "a")
        let skew = try #require(try tested.record("b").skew)
        #expect(skew.requestCount == 40 && skew.refusedCount == 0)
        // The model that does not know `balance` answers otherwise, or there would be nothing to see here.
        #expect(expected.mean(expected.overlaps) < 0.999 && expected.cosines.min()! < 0.9999)
        #expect(abs(try #require(skew.cosineMean) - expected.mean(expected.cosines)) < 1e-9)
        #expect(abs(try #require(skew.cosineMin) - expected.cosines.min()!) < 1e-9)
        #expect(abs(try #require(skew.overlapMean) - expected.mean(expected.overlaps)) < 1e-9)
        #expect(try #require(skew.latencyRatio) > 0)
    }

    @Test func gatesRefuseWhatIsBelowThemAndNothingElse() throws {
        let shelf = try Shelf(("cascade-only", "a"))
        try shelf.publish("cascade-only", as: "b", edit: RefusalTests.rename)
        let requests = try requests("cascade-only")
        let path = try record(requests, shelf)
        let expected = try figures(requests, shelf, candidate: "b", serving: "a")
        let (cosine, overlap) = (expected.mean(expected.cosines), expected.mean(expected.overlaps))
        for (cosineMin, overlapMin, word) in [
            (cosine + 1e-6, nil, "cosine"), (nil, overlap + 1e-6, "share"), (cosine - 1e-6, overlap - 1e-6, nil),
        ] as [(Double?, Double?, String?)] {
            let tested = try LifeUnderTest.started(shelf) {
                $0.recordedRequests = path
                $0.skew.cosineMin = cosineMin
                $0.skew.overlapMin = overlapMin
            }
            if let word {
                let fault = try tested.refusal(of: "b")
                #expect(fault.stage == .skew && fault.description.contains(word), "\(fault)")
                // The figures are shown all the same.
                #expect(try tested.record("b").skew?.requestCount == 40)
                #expect(tested.servingID == "a")
            } else {
                try tested.activate("b")
                #expect(tested.servingID == "b")
            }
            tested.end()
            try FileManager.default.removeItem(atPath: shelf.statePath)
        }
    }

    @Test func theSameModelHasNoSkew() throws {
        let shelf = try Shelf(("plain", "a"), ("plain", "b"))
        let path = try record(try requests("plain"), shelf)
        let tested = try LifeUnderTest.started(shelf) {
            $0.recordedRequests = path
            $0.skew.cosineMin = 0.999999
            $0.skew.overlapMin = 1
        }
        // A pause is no skew: it holds for both.
        try tested.pause(try shelf.itemIDs("a")[17])
        try tested.activate("b")
        let skew = try #require(try tested.record("b").skew)
        #expect(skew.overlapMean == 1)
        #expect(abs(try #require(skew.cosineMean) - 1) < 1e-12)
    }

    /// Embeddings of different spaces have nothing to do with each other; their results do.
    @Test func otherSpacesAreComparedByResultsAlone() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("cross-only", "b"))
        let requests = try requests("cascade-only")
        let path = try record(requests, shelf)
        let tested = try LifeUnderTest.started(shelf) {
            $0.recordedRequests = path
            $0.skew.cosineMin = 1
        }
        try tested.activate("b")
        let skew = try #require(try tested.record("b").skew)
        #expect(skew.cosineMean == nil && skew.cosineMin == nil)
        let expected = try figures(requests, shelf, candidate: "b", serving: "a")
        #expect(abs(try #require(skew.overlapMean) - expected.mean(expected.overlaps)) < 1e-9)
    }

    @Test func requestsThatOnlyTheCandidateRefusesAreCounted() throws {
        let shelf = try Shelf(("plain", "a"), ("cross-only", "b"))
        // A graph takes an ef, inverted lists do not. What neither takes is nobody's fault.
        let good = try requests("plain", count: 6)
        let onlyForGraphs = try requests("plain", count: 4, search: #"{"ef":50}"#)
        let path = try record(good + onlyForGraphs + [#"{"user":{},"k":0}"#, "no JSON", #"{"usr":1}"#], shelf)
        var tested = try LifeUnderTest.started(shelf) { $0.recordedRequests = path }
        try tested.activate("b")
        let skew = try #require(try tested.record("b").skew)
        #expect(skew.requestCount == 10 && skew.refusedCount == 4)
        tested.end()
        try FileManager.default.removeItem(atPath: shelf.statePath)
        tested = try LifeUnderTest.started(shelf) {
            $0.recordedRequests = path
            $0.skew.overlapMin = 0
        }
        let fault = try tested.refusal(of: "b")
        #expect(fault.stage == .skew && fault.description.contains("4 of 10"), "\(fault)")
    }

    @Test func latencyCanBeRequired() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("cross-only", "b"))
        let path = try record(try requests("cascade-only", count: 9), shelf)
        let tested = try LifeUnderTest.started(shelf) {
            $0.recordedRequests = path
            $0.skew.latencyRatioMax = 1e-9
        }
        #expect(try tested.refusal(of: "b").description.contains("processor time"))
    }

    @Test func aFileOfRequestsThatIsMissingIsSaid() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("cross-only", "b"))
        let tested = try LifeUnderTest.started(shelf) { $0.recordedRequests = shelf.scratchPath("nothing") }
        let fault = try tested.refusal(of: "b")
        #expect(fault.stage == .skew && fault.file == shelf.scratchPath("nothing"))
    }
}
