import Testing

@testable import ItemIndex

/// Hits say how they were found.
@Suite struct SearchWayTests {
    private let items = Vectors.random(20_000, 8, seed: 41)
    private let query = Vectors.random(1, 8, seed: 42).values

    @Test func aWalkSaysHowWideItWas() throws {
        let (index, _) = try loadedIndex("HNSW8", .innerProduct, items, efConstruction: 20)
        let scratch = SearchScratch(for: index)
        func ef(k: Int, _ parameters: SearchParameters) throws -> Int? {
            let hits = try index.search(query, k: k, parameters: parameters, scratch: scratch)
            #expect(hits.nprobe == nil)
            return hits.ef
        }
        #expect(try ef(k: 10, .literally(ef: 100)) == 100)
        // Never narrower than what is wanted, and a little wider where codes decide.
        let narrowest = try #require(try ef(k: 10, .literally(ef: 1)))
        #expect((10...19).contains(narrowest))
        // To compare 20,000 items by their codes takes less than to walk past a tenth of them.
        #expect(try ef(k: 10, SearchParameters(ef: 2000)) == nil)
        #expect(try ef(k: 10, SearchParameters(exact: true)) == nil)
    }

    @Test func listsSayHowManyWereRead() throws {
        let (index, _) = try loadedIndex("IVF100,Flat", .innerProduct, items)
        let scratch = SearchScratch(for: index)
        func nprobe(k: Int, _ parameters: SearchParameters) throws -> Int? {
            let hits = try index.search(query, k: k, parameters: parameters, scratch: scratch)
            #expect(hits.ef == nil)
            return hits.nprobe
        }
        #expect(try nprobe(k: 10, SearchParameters(nprobe: 7)) == 7)
        // A list holds 200: twice as many lists as hold what is wanted.
        #expect(try nprobe(k: 2000, SearchParameters(nprobe: 1)) == 20)
        #expect(try nprobe(k: 10, SearchParameters(nprobe: 100)) == nil)
        #expect(try nprobe(k: 10, SearchParameters(exact: true)) == nil)
    }

    @Test func aFlatIndexComparesEverything() throws {
        let (index, _) = try loadedIndex("Flat", .squaredL2, items)
        let hits = try index.search(query, k: 10, scratch: SearchScratch(for: index))
        #expect(hits.ef == nil && hits.nprobe == nil && hits.scoredCount == 20_000)
    }
}
