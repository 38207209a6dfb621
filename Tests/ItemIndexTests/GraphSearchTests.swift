import Testing

@testable import ItemIndex

@Suite struct GraphSearchTests {
    enum Data: CaseIterable {
        case random, clustered

        func vectors(_ count: Int, _ dimension: Int, seed: UInt64) -> Vectors {
            switch self {
            case .random: .random(count, dimension, seed: seed)
            case .clustered: .clustered(count, dimension, clusters: 20, seed: seed)
            }
        }
    }

    /// Our walk and FAISS's over the same graph with the same ef: ours may lose nothing. FAISS 1.7.3's bounded heap
    /// loses a little itself, which is why ours may find more.
    @Test(arguments: Data.allCases, [Metric.innerProduct, .squaredL2])
    func walkFindsAtLeastWhatFaissFinds(_ data: Data, _ metric: Metric) throws {
        let items = data.vectors(3000, 24, seed: 1)
        let queries = data.vectors(40, 24, seed: 2)
        let (index, stock) = try loadedIndex("HNSW12", metric, items, efConstruction: 60)
        let scratch = SearchScratch(for: index)
        for ef in [10, 30, 100] {
            stock.setEF(ef)
            var ours = 0.0
            var theirs = 0.0
            for number in 0..<queries.count {
                let query = queries.row(number)
                let truth = reference(items, query, metric)
                let hits = try index.search(query, k: 10, parameters: SearchParameters(ef: ef), scratch: scratch)
                ours += recall(hits.copy.rows, truth, 10)
                theirs += recall(try stock.search(query, k: 10, ef: ef).rows, truth, 10)
            }
            #expect(ours >= theirs - 0.1, "ef \(ef): \(ours / 40) against \(theirs / 40)")
        }
    }
}
