import Testing

@testable import ItemIndex

@Suite struct InvertedFileTests {
    @Test(arguments: [Metric.innerProduct, .squaredL2], [1, 2, 5, 20, 100])
    func nprobeListsAreRead(_ metric: Metric, _ nprobe: Int) throws {
        let items = Vectors.clustered(1200, 20, clusters: 20, seed: 1)
        let queries = Vectors.clustered(20, 20, clusters: 20, seed: 2)
        let (index, stock) = try loadedIndex("IVF20,Flat", metric, items)
        #expect(index.defaults == SearchParameters(nprobe: 1))
        let scratch = SearchScratch(for: index)
        var reached = 0
        for number in 0..<queries.count {
            let query = queries.row(number)
            let hits = try index.search(
                query, k: 5, parameters: .literally(nprobe: nprobe), scratch: scratch
            ).copy
            #expect(hits.rows.count == 5)
            // What is found has its vector's own score, and the fifth is seldom worse than where FAISS looks: codes
            // decide what is scored.
            for (row, score) in zip(hits.rows, hits.scores) { #expect(score == index.score(query, row)) }
            let expected = try stock.search(query, k: 5, nprobe: nprobe)
            let worst = (metric == .innerProduct ? expected.scores[4] : -expected.scores[4]) - 1e-3
            reached += hits.scores.filter { $0 >= worst }.count
            let exact = try index.search(query, k: 5, parameters: SearchParameters(exact: true), scratch: scratch).copy
            #expect(exact.rows == reference(items, query, metric).prefix(5).map(\.row))
        }
        #expect(reached >= 97, "\(reached) of 100")
    }

    @Test func exclusionAgreesWithFaissSelector() throws {
        let items = Vectors.random(900, 16, seed: 3)
        let queries = Vectors.random(20, 16, seed: 4)
        let (index, stock) = try loadedIndex("IVF6,Flat", .squaredL2, items)
        let scratch = SearchScratch(for: index)
        let eligible = EligibleRows(rowCount: 900)
        for row in stride(from: 0, to: 900, by: 3) { eligible.exclude(row) }
        for number in 0..<queries.count {
            let query = queries.row(number)
            let hits = try index.search(
                query, k: 10, parameters: .literally(nprobe: 3), eligible: eligible, scratch: scratch
            ).copy
            let expected = try stock.search(query, k: 10, nprobe: 3, eligible: eligible)
            #expect(hits.rows == expected.rows)
            #expect(zip(hits.scores, expected.scores).allSatisfy { abs($0 + $1) < 1e-3 })
        }
    }

    /// One list of a few items is not enough for k: the rest is read too.
    @Test func tooFewInTheListsIsCompleted() throws {
        let items = Vectors.clustered(300, 8, clusters: 30, seed: 5)
        let (index, _) = try loadedIndex("IVF30,Flat", .squaredL2, items)
        let scratch = SearchScratch(for: index)
        let query = items.row(0)
        let hits = try index.search(query, k: 200, parameters: SearchParameters(nprobe: 1), scratch: scratch)
        #expect(hits.copy.rows == reference(items, query, .squaredL2).prefix(200).map(\.row))
    }
    /// Nor is it for so few lists: more of them are read, and not the whole catalogue.
    @Test func tooFewInTheListsReadsMoreLists() throws {
        let items = Vectors.clustered(3000, 8, clusters: 100, seed: 6)
        let (index, _) = try loadedIndex("IVF100,Flat", .squaredL2, items)
        let scratch = SearchScratch(for: index)
        for row in stride(from: 0, to: 3000, by: 300) {
            let query = items.row(row)
            let hits = try index.search(query, k: 100, parameters: .literally(nprobe: 1), scratch: scratch)
            #expect(hits.count == 100)
            #expect(hits.scoredCount >= 100 && hits.scoredCount < 1500, "\(hits.scoredCount) compared")
            #expect(recall(hits.copy.rows, reference(items, query, .squaredL2), 100) > 0.5)
        }
    }
}
