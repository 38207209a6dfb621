import CFaiss
import TestSupport
import Testing

@testable import ItemIndex

@Suite struct GraphBuilderTests {
    enum Data: CaseIterable {
        case random, clustered, clumps

        /// `clumps` lie so close that codes do not tell their items apart.
        func vectors(_ count: Int, _ dimension: Int, seed: UInt64) -> Vectors {
            switch self {
            case .random: return .random(count, dimension, seed: seed)
            case .clustered: return .clustered(count, dimension, clusters: 20, seed: seed)
            case .clumps:
                var vectors = Vectors.clustered(count, dimension, clusters: 40, seed: seed)
                let centres = Vectors.random(40, dimension, seed: 77)
                for row in 0..<count {
                    let own = vectors.row(row)
                    let nearest = (0..<40).min { distance(own, centres.row($0)) < distance(own, centres.row($1)) }
                    guard let nearest else { continue }
                    for (component, centre) in centres.row(nearest).enumerated() {
                        let offset = (own[component] - centre) / 50
                        vectors.values[row * dimension + component] = centre + offset
                    }
                }
                return vectors
            }
        }
    }

    /// A graph of ours finds what one by FAISS of the same shape finds, built by one thread or several. Neither is mended.
    @Test(arguments: Data.allCases, [Metric.innerProduct, .squaredL2])
    func itIsAsGoodAsFaisss(_ data: Data, _ metric: Metric) throws {
        let folder = try TemporaryFolder()
        let items = data.vectors(4000, 20, seed: 1)
        let queries = data.vectors(50, 20, seed: 2)
        let truths = (0..<queries.count).map { reference(items, queries.row($0), metric) }
        let (theirs, _) = try loadedIndex("HNSW8", metric, items, efConstruction: 60)
        let mapped = try items.mapped(folder, "items.fbin")
        let bar = try found(theirs, queries, truths)
        for threads in [1, 3] {
            let builder = try GraphBuilder(
                items: mapped, metric: metric, links: 8, efConstruction: 60, threads: threads)
            let graph = try builder.build(step: .max) { _ in }
            guard belfry_faiss_write(graph.handle, folder.file("index.faiss")) == 0 else { throw FaissFailure() }
            let ours = try ItemIndex(path: folder.file("index.faiss"))
            let share = try found(ours, queries, truths)
            // Two graphs over the same rows differ by chance: 500 neighbours are looked for.
            #expect(share >= bar - 0.03, "\(threads) threads: \(share) against \(bar)")
        }
    }

    /// Every row has links on each of its levels, none to itself and none twice, as many as fit, to rows of that level. With 20 links
    /// a walk lists more of them than the least that a scratch has room for.
    @Test(arguments: [1, 2, 7], [(1, 4), (2, 4), (50, 4), (3000, 4), (3000, 20)])
    func linksAreSound(_ threads: Int, _ shape: (count: Int, links: Int)) throws {
        let count = shape.count
        let folder = try TemporaryFolder()
        let items = try Vectors.clustered(count, 8, clusters: 5, seed: 3).mapped(folder, "items.fbin")
        let builder = try GraphBuilder(
            items: items, metric: .squaredL2, links: shape.links, efConstruction: 2 * shape.links + 12,
            threads: threads)
        var progress: [Int] = []
        let index = try builder.build(step: 1000) { progress.append($0) }
        #expect(progress.last == count)
        #expect(progress == progress.sorted())
        #expect(progress.count <= count / 1000 + 1)
        let graph = try index.graph(path: "")
        for row in 0..<count {
            for level in 0..<Int(graph.levels[row]) {
                let links = graph.neighbours + graph.offsets[row] + Int(graph.level_ends[level])
                let slots = (0..<Int(graph.level_ends[level + 1] - graph.level_ends[level])).map { links[$0] }
                let targets = slots.prefix { $0 >= 0 }
                #expect(slots.dropFirst(targets.count).allSatisfy { $0 == -1 })
                #expect(Set(targets).count == targets.count)
                #expect(targets.allSatisfy { $0 != row && $0 < count && Int(graph.levels[Int($0)]) > level })
                if level == 0 && count > 1 { #expect(!targets.isEmpty, "row \(row)") }
            }
        }
        #expect(Double(GraphReach(graph, count: count).reachedCount) >= 0.98 * Double(count))
    }

    @Test func oneThreadGivesTheSameGraphEachTime() throws {
        let folder = try TemporaryFolder()
        let items = try Vectors.random(2500, 12, seed: 4).mapped(folder, "items.fbin")
        let graphs = try (0..<2).map { _ in
            let builder = try GraphBuilder(
                items: items, metric: .innerProduct, links: 6, efConstruction: 30, threads: 1)
            return try builder.build(step: 10_000) { _ in }
        }
        let links = try graphs.map { index in
            let graph = try index.graph(path: "")
            return (0..<graph.neighbour_count).map { graph.neighbours[$0] }
        }
        #expect(links[0] == links[1])
    }

    private func found(_ index: ItemIndex, _ queries: Vectors, _ truths: [[(row: Int, score: Double)]]) throws -> Double
    {
        let scratch = SearchScratch(for: index)
        var sum = 0.0
        for (number, truth) in truths.enumerated() {
            let hits = try index.search(queries.row(number), k: 10, parameters: .literally(ef: 40), scratch: scratch)
            sum += recall(hits.copy.rows, truth, 10)
        }
        return sum / Double(truths.count)
    }
}

private func distance(_ one: [Float], _ other: [Float]) -> Float {
    zip(one, other).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
}
