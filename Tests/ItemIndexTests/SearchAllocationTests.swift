import CAllocationCount
import Testing

@testable import ItemIndex

#if DEBUG
    private let isOptimised = false
#else
    private let isOptimised = true
#endif

/// A search allocates nothing once its scratch has room for what it keeps, whichever way it goes. Snapshots of tests are too small
/// for walks, so `AnswerAllocationTests` sees none.
@Suite(.enabled(if: belfry_counts_allocations() == 1 && isOptimised)) struct SearchAllocationTests {
    @Test(arguments: ["Flat", "HNSW8", "IVF20,Flat"], [Metric.innerProduct, .squaredL2])
    func searchingAllocatesNothing(_ factory: String, _ metric: Metric) throws {
        let (index, _) = try loadedIndex(factory, metric, Vectors.random(5000, 8, seed: 61), efConstruction: 20)
        let query = Vectors.random(1, 8, seed: 62).values
        let scratch = SearchScratch(for: index)
        let few = EligibleRows(rowCount: 5000)
        for row in 0..<5000 where row % 3 != 0 { few.exclude(row) }
        var ways = [SearchParameters(exact: true), SearchParameters(exact: true, deadline: .max)]
        if factory == "HNSW8" { ways += [.literally(ef: 10), .literally(ef: 300)] }
        if factory == "IVF20,Flat" { ways += [.literally(nprobe: 3), SearchParameters(nprobe: 1)] }
        for parameters in ways {
            for eligible in [nil, few] {
                for k in [10, 300] {
                    func search() throws -> Hits {
                        try index.search(query, k: k, parameters: parameters, eligible: eligible, scratch: scratch)
                    }
                    _ = try search()
                    let before = belfry_allocation_count()
                    let hits = try search()
                    let count = belfry_allocation_count() - before
                    #expect(count == 0, "\(parameters), k \(k)")
                    #expect(hits.count == k)
                    if parameters.isLiteral { #expect(hits.ef != nil || hits.nprobe != nil) }
                }
            }
        }
    }
}
