import Foundation
import Testing

@testable import ItemIndex

/// Searches that let others through.
@Suite struct YieldTests {
    /// Every way of searching: what is found is the same, whoever searches the same index in between.
    @Test(arguments: ["Flat", "HNSW8", "IVF40,Flat"], [Metric.innerProduct, .squaredL2])
    func whatIsFoundIsTheSame(_ factory: String, _ metric: Metric) throws {
        let items = Vectors.random(40_000, 8, seed: 1)
        let (index, _) = try loadedIndex(factory, metric, items, efConstruction: 20)
        let (scratch, other) = (SearchScratch(for: index), SearchScratch(for: index))
        let query = Vectors.random(1, 8, seed: 2).values
        let between = Vectors.random(1, 8, seed: 3).values
        let few = EligibleRows(rowCount: 40_000)
        for row in 0..<40_000 where row % 3 != 0 { few.exclude(row) }
        var searches: [(SearchParameters, EligibleRows?, k: Int)] = [
            (SearchParameters(exact: true), nil, k: 10), (SearchParameters(exact: true), few, k: 10),
            (SearchParameters(exact: true), nil, k: 10_000),  // by vectors
        ]
        if factory == "HNSW8" { searches.append((.literally(ef: 3000), nil, k: 100)) }
        if factory == "IVF40,Flat" { searches.append((.literally(nprobe: 30), few, k: 100)) }
        for (parameters, eligible, k) in searches {
            func search() throws -> (rows: [Int], scores: [Float]) {
                try index.search(query, k: k, parameters: parameters, eligible: eligible, scratch: scratch).copy
            }
            let alone = try search()
            let expectedBetween = try index.search(between, k: 5, parameters: parameters, scratch: other).copy
            var yieldCount = 0
            var differing = 0
            scratch.yield(every: 0) {
                yieldCount += 1
                let hits = try? index.search(between, k: 5, parameters: parameters, scratch: other).copy
                if hits?.rows != expectedBetween.rows || hits?.scores != expectedBetween.scores { differing += 1 }
            }
            let together = try search()
            #expect(together == alone)
            #expect(yieldCount > 0 && differing == 0, "\(parameters): \(yieldCount) yields, \(differing) differ")
            scratch.yield(every: 0, nil)
            let before = yieldCount
            #expect(try search() == alone)
            #expect(yieldCount == before)
        }
    }

    /// The search goes on for as long as it was told, and for a quarter of what the others took.
    @Test func howOften() throws {
        let items = Vectors.random(100_000, 8, seed: 4)
        let (index, _) = try loadedIndex("Flat", .innerProduct, items)
        let scratch = SearchScratch(for: index)
        let query = Vectors.random(1, 8, seed: 5).values
        var count = 0
        scratch.yield(every: 3_600_000_000_000) { count += 1 }
        // The first call is due at once: the search was set aside so that others come first.
        _ = try index.search(query, k: 10, scratch: scratch)
        #expect(count == 1)
        _ = try index.search(query, k: 10, scratch: scratch)
        #expect(count == 1)
        count = 0
        scratch.yield(every: 0) {
            count += 1
            var now = monotonic()
            let end = now + 1_000_000_000
            while now < end { now = monotonic() }
        }
        // A quarter of a second is more than this search takes.
        _ = try index.search(query, k: 10, scratch: scratch)
        #expect(count == 1)
    }

    /// What others take counts as time: the deadline may pass meanwhile.
    @Test func theDeadlineMayPassMeanwhile() throws {
        let items = Vectors.random(100_000, 8, seed: 6)
        let (index, _) = try loadedIndex("Flat", .innerProduct, items)
        let scratch = SearchScratch(for: index)
        let query = Vectors.random(1, 8, seed: 7).values
        let deadline = monotonic() + 500_000_000
        scratch.yield(every: 0) { while monotonic() < deadline {} }
        let hits = try index.search(
            query, k: 10, parameters: SearchParameters(deadline: deadline), scratch: scratch)
        #expect(!hits.isComplete)
        #expect(hits.scoredCount < 100_000)
    }

    private func monotonic() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}
