import Foundation
import TestSupport
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
        let items = data.vectors(2000, 24, seed: 1)
        let queries = data.vectors(40, 24, seed: 2)
        let (index, stock) = try loadedIndex("HNSW12", metric, items, efConstruction: 60)
        let scratch = SearchScratch(for: index)
        let truths = (0..<queries.count).map { reference(items, queries.row($0), metric) }
        for ef in [10, 30, 100] {
            stock.setEF(ef)
            var ours = 0.0
            var theirs = 0.0
            for (number, truth) in truths.enumerated() {
                let query = queries.row(number)
                let hits = try index.search(query, k: 10, parameters: .literally(ef: ef), scratch: scratch)
                ours += recall(hits.copy.rows, truth, 10)
                theirs += recall(try stock.search(query, k: 10, ef: ef).rows, truth, 10)
            }
            // One item of 400 for the rounding that may turn a comparison.
            #expect(ours >= theirs - 0.1, "ef \(ef): \(ours / 40) against \(theirs / 40)")
        }
    }

    @Test(arguments: [1, 3, 16, 17, 20, 64, 100, 512], [Metric.innerProduct, .squaredL2])
    func everyDimensionIsWalked(_ dimension: Int, _ metric: Metric) throws {
        let items = Vectors.random(600, dimension, seed: 3)
        let queries = Vectors.random(10, dimension, seed: 4)
        let (index, stock) = try loadedIndex("HNSW16", metric, items, efConstruction: 80)
        let scratch = SearchScratch(for: index)
        stock.setEF(64)
        var ours = 0.0
        var theirs = 0.0
        for number in 0..<queries.count {
            let query = queries.row(number)
            let truth = reference(items, query, metric)
            let hits = try index.search(query, k: 10, parameters: .literally(ef: 64), scratch: scratch)
            #expect(hits.count == 10)
            ours += recall(hits.copy.rows, truth, 10)
            theirs += recall(try stock.search(query, k: 10, ef: 64).rows, truth, 10)
        }
        #expect(ours >= theirs - 0.1, "\(ours / 10) against \(theirs / 10)")
    }

    /// FAISS 1.7.3 cannot exceed the index's own ef; ours takes the request's, below it and above it.
    @Test func aRequestsEFCountsAtAnyValue() throws {
        let items = Vectors.clustered(2000, 32, clusters: 30, seed: 5)
        let queries = Vectors.clustered(30, 32, clusters: 30, seed: 6)
        let (index, _) = try loadedIndex("HNSW6", .squaredL2, items, efConstruction: 20)
        #expect(index.defaults == SearchParameters(ef: 16))
        let scratch = SearchScratch(for: index, capacity: 4)
        let truths = (0..<queries.count).map { reference(items, queries.row($0), .squaredL2) }
        var recalls: [Double] = []
        var scored: [Int] = []
        for ef in [5, 16, 64, 200, 1999, 5000] {
            var sum = 0.0
            var count = 0
            for (number, truth) in truths.enumerated() {
                let hits = try index.search(
                    queries.row(number), k: 5, parameters: ef > 1000 ? SearchParameters(ef: ef) : .literally(ef: ef),
                    scratch: scratch)
                sum += recall(hits.copy.rows, truth, 5)
                count += hits.scoredCount
            }
            recalls.append(sum / 30)
            scored.append(count)
        }
        #expect(recalls[0] < recalls[2])
        #expect(recalls[2] <= recalls[3])
        #expect(recalls[5] == 1)
        for step in 1..<5 { #expect(scored[step - 1] < scored[step]) }
        // Where ef is a good part of the catalogue, all items are compared, once.
        #expect(scored[4] == 30 * 2000)
        #expect(scored[5] == 30 * 2000)
        // Nil is the index's own, and an ef below k counts as k.
        let query = queries.row(0)
        let own = try index.search(query, k: 5, parameters: .literally(), scratch: scratch)
        let (ownRows, ownScored) = (own.copy.rows, own.scoredCount)
        let same = try index.search(query, k: 5, parameters: .literally(ef: 16), scratch: scratch)
        #expect(same.copy.rows == ownRows)
        #expect(same.scoredCount == ownScored)
        let raised = try index.search(query, k: 40, parameters: .literally(ef: 1), scratch: scratch)
        #expect(raised.count == 40)
        let raisedScored = raised.scoredCount
        let forty = try index.search(query, k: 40, parameters: .literally(ef: 40), scratch: scratch)
        #expect(forty.scoredCount == raisedScored)
    }

    /// Where codes are too coarse an exact search reads vectors, which takes four times as long: up to four times the ef, a walk is the
    /// cheaper.
    @Test func aGraphWithoutCodesIsWalkedWhereScansReadVectors() throws {
        // Forty clumps whose items lie closer together than two levels of a code.
        var items = Vectors.random(40, 64, seed: 30)
        for _ in 1..<200 { items.values += items.values[..<(40 * 64)] }
        var generator = SeededRandom(seed: 31)
        for place in items.values.indices { items.values[place] += 0.002 * generator.normal() }
        let (index, _) = try loadedIndex("HNSW8", .squaredL2, items)
        #expect(index.byteCount < 8000 * (64 * 4 + 64 + 64), "the items have codes: nothing is tested")
        let scratch = SearchScratch(for: index)
        let walked = try index.search(items.row(7), k: 30, parameters: SearchParameters(ef: 30), scratch: scratch)
        #expect(walked.count == 30)
        #expect(walked.scoredCount < 4000)
        let compared = try index.search(items.row(7), k: 30, parameters: SearchParameters(ef: 1000), scratch: scratch)
        #expect(compared.scoredCount == 8000)
    }

    @Test(arguments: Data.allCases)
    func exclusionKeepsTheRecall(_ data: Data) throws {
        let items = data.vectors(2000, 16, seed: 7)
        let queries = data.vectors(30, 16, seed: 8)
        let (index, _) = try loadedIndex("HNSW12", .innerProduct, items, efConstruction: 60)
        let scratch = SearchScratch(for: index)
        let eligible = EligibleRows(rowCount: 2000)
        var generator = SeededRandom(seed: 9)
        var whole = 0.0
        for share in [0.0, 0.1, 0.5, 0.9] {
            eligible.includeAll()
            for row in 0..<2000 where Double.random(in: 0..<1, using: &generator) < share { eligible.exclude(row) }
            var sum = 0.0
            for number in 0..<queries.count {
                let query = queries.row(number)
                let truth = reference(items, query, .innerProduct).filter { eligible.contains($0.row) }
                // Where nine of ten are excluded, it is for the search to see that a walk does not pay.
                let hits = try index.search(
                    query, k: 10, parameters: share < 0.9 ? .literally(ef: 60) : SearchParameters(ef: 60),
                    eligible: eligible, scratch: scratch
                ).copy
                #expect(hits.rows.count == 10)
                #expect(hits.rows.allSatisfy { eligible.contains($0) })
                sum += recall(hits.rows, truth, 10)
            }
            if share == 0 { whole = sum }
            // Three items of 300. (What is lost without exclusion is the graph's: clusters are badly linked.)
            #expect(sum >= whole - 0.35, "\(share) excluded: \(sum / 30) against \(whole / 30)")
            #expect(data == .clustered || sum / 30 >= 0.95, "\(share) excluded: \(sum / 30)")
        }
    }

    @Test func excludingAllButThreeFindsTheThree() throws {
        let items = Vectors.random(1500, 16, seed: 10)
        let (index, _) = try loadedIndex("HNSW8", .squaredL2, items)
        let scratch = SearchScratch(for: index)
        let eligible = EligibleRows(rowCount: 1500)
        let kept: Set<Int> = [0, 63, 1499]
        for row in 0..<1500 where !kept.contains(row) { eligible.exclude(row) }
        let hits = try index.search(items.row(63), k: 10, eligible: eligible, scratch: scratch)
        #expect(Set(hits.copy.rows) == kept)
        #expect(hits.rows[0] == 63)
        #expect(hits.scoredCount == 3)
        for row in kept { eligible.exclude(row) }
        #expect(try index.search(items.row(63), k: 10, eligible: eligible, scratch: scratch).count == 0)
    }

    /// A graph need not be connected: what its walk cannot reach is found by comparing every item.
    @Test func aWalkThatFindsTooFewIsCompleted() throws {
        let items = Vectors.random(300, 8, seed: 11)
        let folder = try TemporaryFolder()
        let stock = try StockFaiss("HNSW4", .innerProduct, items)
        try stock.write(to: folder.file("whole.faiss"))
        var file = try FaissFileBytes(path: folder.file("whole.faiss"))
        file.cutAllLinks()
        try file.write(to: folder.file("cut.faiss"))
        let index = try ItemIndex(path: folder.file("cut.faiss"))
        let scratch = SearchScratch(for: index)
        let query = Vectors.random(1, 8, seed: 12).values
        let hits = try index.search(query, k: 20, parameters: .literally(ef: 20), scratch: scratch)
        #expect(hits.copy.rows == reference(items, query, .innerProduct).prefix(20).map(\.row))
    }

    /// A query of zeros scores all items alike. The walk must neither run through the whole graph nor break the order.
    @Test func aPlateauEndsTheWalk() throws {
        let items = Vectors.random(2000, 16, seed: 13)
        let (index, _) = try loadedIndex("HNSW8", .innerProduct, items)
        let scratch = SearchScratch(for: index)
        let hits = try index.search(
            [Float](repeating: 0, count: 16), k: 10, parameters: .literally(ef: 10), scratch: scratch)
        #expect(hits.copy.scores == [Float](repeating: 0, count: 10))
        #expect(hits.copy.rows == hits.copy.rows.sorted())
        #expect(hits.scoredCount < 1500)
    }

    /// Two versions of a catalogue may have as many items and not as many links.
    @Test func aScratchKnowsItsIndex() throws {
        let items = Vectors.random(300, 8, seed: 17)
        let (narrow, _) = try loadedIndex("HNSW4", .innerProduct, items)
        let (wide, _) = try loadedIndex("HNSW64", .innerProduct, items)
        let (wider, _) = try loadedIndex("HNSW66", .innerProduct, items)
        let (lists, _) = try loadedIndex("IVF4,Flat", .innerProduct, items)
        let (fewer, _) = try loadedIndex("HNSW4", .innerProduct, Vectors.random(299, 8, seed: 17))
        #expect(SearchScratch(for: narrow).fits(narrow))
        #expect(SearchScratch(for: wide).fits(narrow))
        #expect(!SearchScratch(for: narrow).fits(wide))
        #expect(!SearchScratch(for: wide).fits(wider))
        #expect(!SearchScratch(for: narrow).fits(lists))
        #expect(!SearchScratch(for: narrow).fits(fewer))
    }

    /// The visited marks' 16-bit epoch comes round after 65,535 queries.
    @Test func marksOutliveTheirEpochs() throws {
        let items = Vectors.random(40, 4, seed: 14)
        let (index, _) = try loadedIndex("HNSW4", .innerProduct, items)
        let scratch = SearchScratch(for: index)
        let parameters = SearchParameters.literally(ef: 8)
        let expected = try index.search(items.row(5), k: 4, parameters: parameters, scratch: scratch).copy
        for _ in 0..<65_600 {
            _ = try index.search(items.row(6), k: 4, parameters: parameters, scratch: scratch)
        }
        let again = try index.search(items.row(5), k: 4, parameters: parameters, scratch: scratch).copy
        #expect(again.rows == expected.rows)
        #expect(again.scores == expected.scores)
    }

    @Test(arguments: ["HNSW8", "IVF8,Flat", "Flat"])
    func threadsWithTheirOwnScratchFindTheSame(_ factory: String) throws {
        let items = Vectors.random(800, 12, seed: 15)
        let queries = Vectors.random(40, 12, seed: 16)
        let (index, _) = try loadedIndex(factory, .innerProduct, items)
        @Sendable func rows() -> [[Int]] {
            let scratch = SearchScratch(for: index)
            let eligible = EligibleRows(rowCount: 800)
            return (0..<queries.count).map { number in
                eligible.includeAll()
                eligible.exclude(number)
                // swift-format-ignore: NeverUseForceTry
                return try! index.search(queries.row(number), k: 10, eligible: eligible, scratch: scratch).copy.rows
            }
        }
        let alone = rows()
        let different = DifferenceCount()
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            for _ in 0..<5 where rows() != alone { different.add() }
        }
        #expect(different.value == 0)
    }
}

/// Counts from several threads.
final class DifferenceCount: @unchecked Sendable {
    // Unchecked: `count` is read and written under the lock only.
    private let lock = NSLock()
    private var count = 0

    func add() {
        lock.withLock { count += 1 }
    }

    var value: Int { lock.withLock { count } }
}
