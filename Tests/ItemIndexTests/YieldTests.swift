import Foundation
import TestSupport
import Testing

@testable import ItemIndex

/// Others that a search lets through.
private final class YieldingTo: SearchYielding {
    private let body: () -> Void

    init(_ body: @escaping () -> Void) {
        self.body = body
    }

    func letOthers() {
        body()
    }
}

/// Searches that let others through.
@Suite struct YieldTests {
    /// Every way of searching: what is found is the same, whoever searches the same index in between.
    @Test(arguments: ["Flat", "HNSW8", "IVF20,Flat"], [Metric.innerProduct, .squaredL2])
    func whatIsFoundIsTheSame(_ factory: String, _ metric: Metric) throws {
        let items = Vectors.random(20_000, 8, seed: 1)
        let (index, _) = try loadedIndex(factory, metric, items, efConstruction: 20)
        let (scratch, other) = (SearchScratch(for: index), SearchScratch(for: index))
        let query = Vectors.random(1, 8, seed: 2).values
        let between = Vectors.random(1, 8, seed: 3).values
        let few = EligibleRows(rowCount: 20_000)
        for row in 0..<20_000 where row % 3 != 0 { few.exclude(row) }
        var searches: [(SearchParameters, EligibleRows?, k: Int)] = [
            (SearchParameters(exact: true), nil, k: 10), (SearchParameters(exact: true), few, k: 10),
            (SearchParameters(exact: true), nil, k: 2_500),  // by vectors
        ]
        if factory == "HNSW8" { searches.append((.literally(ef: 3000), nil, k: 100)) }
        if factory == "IVF20,Flat" { searches.append((.literally(nprobe: 15), few, k: 100)) }
        for (parameters, eligible, k) in searches {
            func search() throws -> (rows: [Int], scores: [Float]) {
                try index.search(query, k: k, parameters: parameters, eligible: eligible, scratch: scratch).copy
            }
            let alone = try search()
            let expectedBetween = try index.search(between, k: 5, parameters: parameters, scratch: other).copy
            var yieldCount = 0
            var differing = 0
            let others = YieldingTo {
                yieldCount += 1
                let hits = try? index.search(between, k: 5, parameters: parameters, scratch: other).copy
                if hits?.rows != expectedBetween.rows || hits?.scores != expectedBetween.scores { differing += 1 }
            }
            scratch.yield(to: others)
            let together = try search()
            #expect(together == alone)
            #expect(yieldCount > 0 && differing == 0, "\(parameters): \(yieldCount) yields, \(differing) differ")
            scratch.yield(to: nil)
            let before = yieldCount
            #expect(try search() == alone)
            #expect(yieldCount == before)
        }
    }

    /// What others take counts as time: the deadline may pass meanwhile.
    @Test func theDeadlineMayPassMeanwhile() throws {
        let items = Vectors.random(50_000, 8, seed: 6)
        let (index, _) = try loadedIndex("Flat", .innerProduct, items)
        let scratch = SearchScratch(for: index)
        let query = Vectors.random(1, 8, seed: 7).values
        let deadline = monotonic() + 500_000_000
        let others = YieldingTo { while monotonic() < deadline {} }
        scratch.yield(to: others)
        let hits = try index.search(
            query, k: 10, parameters: SearchParameters(deadline: deadline), scratch: scratch)
        #expect(!hits.isComplete)
        #expect(hits.scoredCount < 50_000)
    }

    private func monotonic() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
    /// What is told to be long is what compares much: by its vectors where codes exclude little, and otherwise by codes.
    @Test func longSearchesAreTold() throws {
        let items = Vectors.random(20_000, 8, seed: 8)
        var spread = items
        var generator = SeededRandom(seed: 9)
        for row in 0..<items.count {
            let length = exp(0.8 * generator.normal())
            for component in 0..<8 { spread.values[row * 8 + component] *= length }
        }
        func nanoseconds(_ index: ItemIndex, k: Int = 10, _ parameters: SearchParameters = SearchParameters()) -> Double
        {
            index.mayTakeNanoseconds(k: k, parameters: parameters)
        }
        let (flat, _) = try loadedIndex("Flat", .innerProduct, items)
        let (lists, _) = try loadedIndex("IVF100,Flat", .innerProduct, items)
        let (spreadFlat, _) = try loadedIndex("Flat", .innerProduct, spread)
        // A flat index is not long because of its size alone: its codes are read in no time.
        #expect(nanoseconds(flat) < 100_000)
        #expect(nanoseconds(spreadFlat) > 1.5 * nanoseconds(flat))
        #expect(nanoseconds(lists, SearchParameters(exact: true)) > 5 * nanoseconds(lists, SearchParameters(nprobe: 2)))
        // Whatever nprobe says, ten thousand items lie in many lists.
        #expect(nanoseconds(lists, k: 10_000, SearchParameters(nprobe: 1)) > 500_000)
        // More lists than all of them are all of them.
        #expect(
            nanoseconds(lists, SearchParameters(nprobe: 65_536)) <= nanoseconds(lists, SearchParameters(exact: true)))
        let (graph, _) = try loadedIndex("HNSW4", .innerProduct, Vectors.random(9000, 4, seed: 3), efConstruction: 8)
        #expect(nanoseconds(graph, k: 1, SearchParameters(ef: 4)) < nanoseconds(graph, k: 1, SearchParameters(ef: 8)))
        #expect(
            nanoseconds(graph, SearchParameters(ef: 20_000)) <= nanoseconds(graph, SearchParameters(exact: true)))
    }
}
