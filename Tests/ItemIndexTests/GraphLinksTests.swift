import CFaiss
import Testing

@testable import ItemIndex

/// Links that are taken over from FAISS and given back are the same, on all levels.
@Suite struct GraphLinksTests {
    @Test(arguments: [1, 2, 60, 3000]) func linksComeBackAsTheyWere(count: Int) throws {
        // Of 3,000 rows some hundred are on two levels, and a few on three.
        let stock = try StockFaiss("HNSW8", .innerProduct, .random(count, 8, seed: 5))
        let graph = try stock.index.graph(path: "")
        let before = (0..<graph.neighbour_count).map { graph.neighbours[$0] }
        #expect(count < 3000 || graph.maximum_level >= 2)

        let links = GraphLinks(takingOver: graph, count: count)
        for row in 0..<count {
            let first = graph.offsets[row]
            let expected = before[first..<first + Int(graph.level_ends[1])].prefix { $0 >= 0 }
            #expect(links.neighbours(row) == expected.map(UInt32.init))
        }
        var after = [Int32](repeating: -2, count: before.count)
        after.withUnsafeMutableBufferPointer { links.write(to: $0.baseAddress!) }
        #expect(after == before)
        #expect(links.byteCount == before.count * 4)
    }

    /// A graph that is about to be built has none.
    @Test func emptyLinksAreNone() throws {
        let stock = try StockFaiss("HNSW8", .innerProduct, .random(300, 8, seed: 5))
        let graph = try stock.index.graph(path: "")
        let links = GraphLinks(emptyFor: graph, count: 300)
        #expect((0..<300).allSatisfy { links.neighbours($0).isEmpty })
        var after = [Int32](repeating: 0, count: graph.neighbour_count)
        after.withUnsafeMutableBufferPointer { links.write(to: $0.baseAddress!) }
        #expect(after.allSatisfy { $0 == -1 })
    }
}
