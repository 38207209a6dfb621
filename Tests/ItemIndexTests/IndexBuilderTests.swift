import Foundation
import Testing

@testable import ItemIndex

@Suite struct IndexBuilderTests {
    @Test func factoriesAreRead() {
        #expect(IndexFactory("Flat") == .flat)
        #expect(IndexFactory("HNSW24") == .hnsw(links: 24))
        #expect(IndexFactory("HNSW24,Flat") == .hnsw(links: 24))
        #expect(IndexFactory("IVF1024,Flat") == .ivfFlat(lists: 1024))
        for text in [
            "", "flat", "Flat,", "HNSW", "HNSW1", "HNSW257", "HNSW-4", "HNSW+4", "HNSW4,SQ8", "HNSW4,Flat,Flat", "IVF4",
            "IVF0,Flat", "IVF,Flat", "IVF4,PQ8", "IVF99999999999999999999,Flat", " Flat", "HNSW٣",
        ] {
            #expect(IndexFactory(text) == nil, "\(text)")
        }
        for factory in [IndexFactory.flat, .hnsw(links: 8), .ivfFlat(lists: 5)] {
            #expect(IndexFactory(factory.description) == factory)
        }
    }

    @Test(arguments: [IndexFactory.flat, .hnsw(links: 8), .ivfFlat(lists: 4)], [Metric.innerProduct, .squaredL2])
    func whatIsBuiltLoadsAndFinds(_ factory: IndexFactory, _ metric: Metric) throws {
        let folder = try TemporaryFolder()
        let vectors = Vectors.random(500, 12, seed: 1)
        let items = try vectors.mapped(folder, "items.fbin")
        var builder = IndexBuilder(factory: factory)
        #expect(builder.metric == .innerProduct)
        builder.metric = metric
        builder.efConstruction = 60
        var progress: [[Int]] = []
        try builder.build(items: items, to: folder.file("index.faiss")) { progress.append([$0, $1]) }
        #expect(progress == [[500, 500]])
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        #expect(files == ["index.faiss", "items.fbin"])

        let index = try ItemIndex(path: folder.file("index.faiss"))
        #expect(index.metric == metric)
        #expect(index.count == 500)
        let scratch = SearchScratch(for: index)
        let query = vectors.row(11)
        let hits = try index.search(query, k: 10, parameters: SearchParameters(exact: true), scratch: scratch)
        #expect(hits.copy.rows == reference(vectors, query, metric).prefix(10).map(\.row))
    }

    @Test func manyItemsAreAddedInSlices() throws {
        let folder = try TemporaryFolder()
        let items = try Vectors.random(40_000, 2, seed: 2).mapped(folder, "items.fbin")
        var progress: [Int] = []
        try IndexBuilder(factory: .flat).build(items: items, to: folder.file("index.faiss")) { done, total in
            #expect(total == 40_000)
            progress.append(done)
        }
        #expect(progress == [16_384, 32_768, 40_000])
        #expect(try ItemIndex(path: folder.file("index.faiss")).count == 40_000)
    }

    /// A graph that grew slice by slice is as good as one that was built at once, and the same each time.
    @Test func aSlicedGraphIsWhole() throws {
        let folder = try TemporaryFolder()
        let vectors = Vectors.random(20_000, 2, seed: 3)
        let items = try vectors.mapped(folder, "items.fbin")
        var builder = IndexBuilder(factory: .hnsw(links: 4))
        builder.metric = .squaredL2
        builder.efConstruction = 16
        for name in ["one.faiss", "two.faiss"] { try builder.build(items: items, to: folder.file(name)) }
        let files = try ["one.faiss", "two.faiss"].map { try Data(contentsOf: URL(fileURLWithPath: folder.file($0))) }
        #expect(files[0] == files[1])
        let index = try ItemIndex(path: folder.file("one.faiss"))
        let scratch = SearchScratch(for: index)
        var found = 0
        for row in stride(from: 0, to: 20_000, by: 97) {
            let hits = try index.search(vectors.row(row), k: 1, parameters: SearchParameters(ef: 64), scratch: scratch)
            if hits.rows[0] == row { found += 1 }
        }
        #expect(found >= 200)
    }

    @Test func whatCannotBeBuiltIsRefused() throws {
        let folder = try TemporaryFolder()
        let items = try Vectors.random(3, 2, seed: 4).mapped(folder, "items.fbin")
        do {
            try IndexBuilder(factory: .ivfFlat(lists: 4)).build(items: items, to: folder.file("index.faiss"))
            Issue.record("it was built")
        } catch {
            #expect(error.description == "3 items cannot be divided among 4 lists")
        }
        do {
            try IndexBuilder(factory: .flat).build(items: items, to: folder.file("none/index.faiss"))
            Issue.record("it was written")
        } catch {
            #expect(error.description.contains("none/index.faiss"))
        }
        let none = try Vectors(dimension: 2, values: []).mapped(folder, "none.fbin")
        try IndexBuilder(factory: .hnsw(links: 4)).build(items: none, to: folder.file("none.faiss"))
        #expect(try ItemIndex(path: folder.file("none.faiss")).count == 0)
    }
}
