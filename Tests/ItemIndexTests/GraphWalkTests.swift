import CFaiss
import TestSupport
import Testing

@testable import ItemIndex

/// The walk is the one that graph_walk.h describes: the same rows, the same scores, and as many rows compared, as with sorted arrays in
/// place of heaps and nothing asked for in advance.
@Suite struct GraphWalkTests {
    @Test(arguments: [40, 700], [nil, 3])
    func itMeetsTheRowsThatItShould(count: Int, eachThatIsNotEligible: Int?) throws {
        // One item far off makes codes too coarse, so that the walk goes by the scores that are known here.
        var items = Vectors.random(count, 16, seed: 61)
        for component in 0..<16 { items.values[5 * 16 + component] = 1e4 }
        let (index, stock) = try loadedIndex("HNSW8", .squaredL2, items, efConstruction: 20)
        let graph = try stock.index.graph(path: "")
        #expect(count < 700 || graph.maximum_level >= 2)
        let eligible = eachThatIsNotEligible.map { each in
            let eligible = EligibleRows(rowCount: count)
            for row in stride(from: 0, to: count, by: each) { eligible.exclude(row) }
            return eligible
        }
        let scratch = SearchScratch(for: index)
        for number in 0..<20 {
            let query = Vectors.random(1, 16, seed: 100 + UInt64(number)).values
            for ef in [1, 2, 3, 10, 25] {
                var walk = ReferenceWalk(graph: graph, eligible: eligible) { index.score(query, $0) }
                let expected = walk.best(ef)
                let hits = try index.search(
                    query, k: ef, parameters: .literally(ef: ef), eligible: eligible, scratch: scratch)
                #expect(hits.copy.rows == expected, "query \(number), ef \(ef)")
                #expect(hits.scoredCount == walk.scoredCount, "query \(number), ef \(ef)")
            }
        }
    }
}

private struct ReferenceWalk {
    let graph: belfry_faiss_graph
    let eligible: EligibleRows?
    let score: (Int) -> Float
    private(set) var scoredCount = 0
    private var seen: Set<Int> = []

    init(graph: belfry_faiss_graph, eligible: EligibleRows?, score: @escaping (Int) -> Float) {
        (self.graph, self.eligible, self.score) = (graph, eligible, score)
    }

    private func links(_ row: Int, _ level: Int) -> [Int] {
        let first = graph.offsets[row] + Int(level > 0 ? graph.level_ends[level] : 0)
        return (first..<graph.offsets[row] + Int(graph.level_ends[level + 1])).lazy.map { Int(graph.neighbours[$0]) }
            .prefix { $0 >= 0 }
    }

    private func precedes(_ one: Int, _ other: Int) -> Bool {
        let (first, second) = (score(one), score(other))
        return first > second || (first == second && one < other)
    }

    /// Greedy, level by level, down to the one above level 0.
    private mutating func descend() -> Int {
        var here = Int(graph.entry_point)
        scoredCount += 1
        for level in stride(from: Int(graph.maximum_level), to: 0, by: -1) {
            while true {
                let found = links(here, level)
                scoredCount += found.count
                guard let best = found.min(by: precedes), precedes(best, here) else { break }
                here = best
            }
        }
        return here
    }

    /// The `ef` best eligible rows that are met, best first.
    mutating func best(_ ef: Int) -> [Int] {
        var (frontier, kept): ([Int], [Int]) = ([], [])
        func add(_ row: Int) {
            guard kept.count < ef || precedes(row, kept[ef - 1]) else { return }
            frontier.append(row)
            guard eligible?.contains(row) ?? true else { return }
            kept = ((kept + [row]).sorted(by: precedes)).prefix(ef).map { $0 }
        }
        for row in [descend(), Int(graph.entry_point)] where seen.insert(row).inserted {
            frontier.append(row)
            guard eligible?.contains(row) ?? true else { continue }
            kept = ((kept + [row]).sorted(by: precedes)).prefix(ef).map { $0 }
        }
        var (chosen, scored): ([Int], [Int]) = ([], [])
        while true {
            let listed = chosen.flatMap { links($0, 0) }.filter { seen.insert($0).inserted }
            for row in scored { add(row) }
            chosen = []
            while chosen.count < 2, let next = frontier.min(by: precedes),
                kept.count < ef || !precedes(kept[ef - 1], next)
            {
                frontier.removeAll { $0 == next }
                chosen.append(next)
            }
            if chosen.isEmpty && listed.isEmpty { return kept }
            scoredCount += listed.count
            scored = listed
        }
    }
}
