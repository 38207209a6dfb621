import CFaiss
import Foundation
import TestSupport
import Testing

@testable import ItemIndex

/// What of a graph a walk can come to, and the repair of what it cannot.
@Suite struct GraphReachTests {
    /// Data and graphs of which FAISS leaves rows out of reach: clumps, and few links.
    enum Sparse: CaseIterable {
        case clumpsTwoLinks, clumpsFourLinks, clumpsByProduct

        var links: Int { self == .clumpsTwoLinks ? 2 : 4 }
        var metric: Metric { self == .clumpsByProduct ? .innerProduct : .squaredL2 }
        var efConstruction: Int { 8 }

        func vectors() -> Vectors {
            var vectors = Vectors.clustered(2000, 8, clusters: 40, seed: 21)
            guard metric == .innerProduct else { return vectors }
            // Of one length, so that a row is the best for its own vector by either metric.
            for row in 0..<vectors.count {
                let norm = vectors.row(row).reduce(0) { $0 + $1 * $1 }.squareRoot()
                for component in 0..<8 { vectors.values[row * 8 + component] /= norm }
            }
            return vectors
        }
    }

    @Test(arguments: ["HNSW16", "Flat", "IVF4,Flat"]) func everyRowIsReached(_ factory: String) throws {
        let (index, folder) = try written(factory, .squaredL2, .random(600, 8, seed: 20), efConstruction: 80)
        defer { withExtendedLifetime(folder) {} }
        #expect(try index.unreachableRows(limit: 5) == UnreachableRows(count: 0, first: []))
    }

    @Test func nothingIsReachedInAnEmptyGraph() throws {
        let (index, folder) = try written("HNSW4", .squaredL2, Vectors(dimension: 3, values: []))
        defer { withExtendedLifetime(folder) {} }
        #expect(try index.unreachableRows(limit: 5) == UnreachableRows(count: 0, first: []))
    }

    @Test func onlyTheEntryPointIsReachedWithoutLinks() throws {
        let folder = try TemporaryFolder()
        let stock = try StockFaiss("HNSW4", .innerProduct, .random(300, 8, seed: 11))
        try stock.write(to: folder.file("index.faiss"))
        var file = try FaissFileBytes(path: folder.file("index.faiss"))
        file.cutAllLinks()
        try file.write(to: folder.file("index.faiss"))
        let entry = Int(file.integer("entry point", as: Int32.self))
        let unreachable = try ItemIndex(path: folder.file("index.faiss")).unreachableRows(limit: 3)
        #expect(unreachable.count == 299)
        #expect(unreachable.first == Array((0..<4).filter { $0 != entry }.prefix(3)))
    }

    /// FAISS's own graphs, against a plain search through the file's bytes.
    @Test(arguments: Sparse.allCases) func unreachableRowsAreThoseOfThePlainSearch(_ sparse: Sparse) throws {
        let (index, folder) = try written(
            "HNSW\(sparse.links)", sparse.metric, sparse.vectors(), efConstruction: Int32(sparse.efConstruction))
        let expected = try unreachable(FaissFileBytes(path: folder.file("index.faiss")))
        #expect(!expected.isEmpty)
        #expect(
            try index.unreachableRows(limit: 4)
                == UnreachableRows(count: expected.count, first: Array(expected.prefix(4))))
    }

    enum Builder: CaseIterable {
        case faiss, ours

        func graph(_ sparse: Sparse, _ items: VectorFile) throws -> FaissIndex {
            switch self {
            case .faiss:
                return try StockFaiss(
                    "HNSW\(sparse.links)", sparse.metric, sparse.vectors(),
                    efConstruction: Int32(sparse.efConstruction)
                ).index
            case .ours:
                return try GraphBuilder(
                    items: items, metric: sparse.metric, links: sparse.links, efConstruction: sparse.efConstruction,
                    threads: 1
                ).build(step: .max) { _ in }
            }
        }
    }

    @Test(arguments: Sparse.allCases, Builder.allCases)
    func mendingReachesEveryRow(_ sparse: Sparse, _ builder: Builder) throws {
        let folder = try TemporaryFolder()
        let vectors = sparse.vectors()
        let items = try vectors.mapped(folder, "items.fbin")
        let graph = try builder.graph(sparse, items)
        try write(graph, folder.file("index.faiss"))
        let unmended = try FaissFileBytes(path: folder.file("index.faiss"))
        let lost = unreachable(unmended)
        let repair = try GraphMender.mend(graph, items: items, metric: sparse.metric, path: "")
        #expect(repair.unreachableCount == lost.count)
        #expect(repair.remainingCount == 0)
        #expect(lost.isEmpty || repair.addedLinkCount + repair.replacedLinkCount >= 1)

        try write(graph, folder.file("mended.faiss"))
        let mended = try FaissFileBytes(path: folder.file("mended.faiss"))
        #expect(unreachable(mended).isEmpty)
        #expect(mended.bytes.count == unmended.bytes.count)
        #expect(mended.integer("ef search", as: Int32.self) == unmended.integer("ef search", as: Int32.self))
        let index = try ItemIndex(path: folder.file("mended.faiss"))
        #expect(try index.unreachableRows(limit: 5).count == 0)
        let scratch = SearchScratch(for: index)
        let missed = try lost.filter { row in
            // As wide as the catalogue: the walk goes wherever links lead, which is what is asked here.
            let hits = try index.search(
                vectors.row(row), k: 1, parameters: .literally(ef: index.count), scratch: scratch)
            return Int(hits.rows[0]) != row
        }
        #expect(missed.isEmpty, "\(missed.count) of \(lost.count) are not found")

        let again = try builder.graph(sparse, items)
        _ = try GraphMender.mend(again, items: items, metric: sparse.metric, path: "")
        try write(again, folder.file("again.faiss"))
        #expect(try FaissFileBytes(path: folder.file("again.faiss")).bytes == mended.bytes)
    }

    @Test(arguments: Sparse.allCases) func buildingMends(_ sparse: Sparse) throws {
        let folder = try TemporaryFolder()
        let items = try sparse.vectors().mapped(folder, "items.fbin")
        var builder = IndexBuilder(factory: .hnsw(links: sparse.links))
        builder.metric = sparse.metric
        builder.efConstruction = sparse.efConstruction
        let repair = try #require(try builder.build(items: items, to: folder.file("index.faiss")))
        #expect(repair.remainingCount == 0)
        #expect(unreachable(try FaissFileBytes(path: folder.file("index.faiss"))).isEmpty)
    }

    @Test func aWholeGraphIsLeftAsItIs() throws {
        let vectors = Vectors.random(600, 8, seed: 20)
        let folder = try TemporaryFolder()
        let items = try vectors.mapped(folder, "items.fbin")
        let stock = try StockFaiss("HNSW16", .squaredL2, vectors, efConstruction: 80)
        try stock.write(to: folder.file("index.faiss"))
        let repair = try GraphMender.mend(stock.index, items: items, metric: .squaredL2, path: "")
        #expect(
            repair
                == GraphRepair(unreachableCount: 0, addedLinkCount: 0, replacedLinkCount: 0, remainingCount: 0))
        try stock.write(to: folder.file("mended.faiss"))
        #expect(
            try FaissFileBytes(path: folder.file("mended.faiss")).bytes
                == FaissFileBytes(path: folder.file("index.faiss")).bytes)
        #expect(try IndexBuilder(factory: .flat).build(items: items, to: folder.file("flat.faiss")) == nil)
    }

    private func write(_ index: FaissIndex, _ path: String) throws {
        guard belfry_faiss_write(index.handle, path) == 0 else { throw FaissFailure() }
    }

    /// Rows in one place, of which none is nearer than another.
    @Test func manyEqualRowsAreReached() throws {
        let folder = try TemporaryFolder()
        let vectors = Vectors(dimension: 4, values: [Float](repeating: 0.5, count: 4 * 3000))
        let items = try vectors.mapped(folder, "items.fbin")
        var builder = IndexBuilder(factory: .hnsw(links: 2))
        builder.efConstruction = 4
        let repair = try #require(try builder.build(items: items, to: folder.file("index.faiss")))
        #expect(repair.remainingCount == 0)
        #expect(unreachable(try FaissFileBytes(path: folder.file("index.faiss"))).isEmpty)
    }

    @Test func linksAreSetWithinTheirBounds() throws {
        let stock = try StockFaiss("HNSW4", .squaredL2, .random(50, 4, seed: 22))
        var graph = belfry_faiss_graph()
        #expect(belfry_faiss_get_graph(stock.index.handle, &graph) == 0)
        let links = graph.neighbours + graph.offsets[3]
        let used = (0..<8).first { links[$0] < 0 } ?? 8
        let target = links[0] == 9 ? 10 : 9
        #expect(belfry_faiss_set_link(stock.index.handle, 3, 0, target) == 0)
        #expect(links[0] == Int32(target))
        for (row, slot, target) in [(50, 0, 1), (3, 8, 1), (3, 0, 50), (3, 0, 3)] {
            #expect(belfry_faiss_set_link(stock.index.handle, row, slot, target) != 0, "\(row) \(slot) \(target)")
        }
        if used < 7 { #expect(belfry_faiss_set_link(stock.index.handle, 3, used + 1, 1) != 0) }
        #expect(links[0] == Int32(target))
        let flat = try StockFaiss("Flat", .squaredL2, .random(50, 4, seed: 22))
        #expect(belfry_faiss_set_link(flat.index.handle, 3, 0, 1) != 0)
    }

    private func written(
        _ factory: String, _ metric: Metric, _ vectors: Vectors, efConstruction: Int32 = 0
    ) throws -> (index: ItemIndex, folder: TemporaryFolder) {
        let folder = try TemporaryFolder()
        let path = folder.file("index.faiss")
        try StockFaiss(factory, metric, vectors, efConstruction: efConstruction).write(to: path)
        return (try ItemIndex(path: path), folder)
    }

    /// The rows that no links lead to, ascending, level by level through sets.
    private func unreachable(_ file: FaissFileBytes) -> [Int] {
        func element<Number: FixedWidthInteger>(_ name: String, _ index: Int, _: Number.Type) -> Int {
            Int(file.integer(at: file.place(name) + index * MemoryLayout<Number>.size, as: Number.self))
        }
        let count = Int(file.integer("count", as: Int64.self))
        var reached: Set = [Int(file.integer("entry point", as: Int32.self))]
        var level = Int(file.integer("maximum level", as: Int32.self))
        while level >= 0 {
            let begin = element("level ends", level, Int32.self)
            let end = element("level ends", level + 1, Int32.self)
            var front = reached
            while !front.isEmpty {
                var next: Set<Int> = []
                for row in front {
                    let first = element("offsets", row, Int64.self)
                    for place in begin..<end {
                        let link = element("links", first + place, Int32.self)
                        if link < 0 { break }
                        if !reached.contains(link) { next.insert(link) }
                    }
                }
                reached.formUnion(next)
                front = next
            }
            level -= 1
        }
        return (0..<count).filter { !reached.contains($0) }
    }
}
