import CKernels
import Foundation
import TestSupport
import Testing

@testable import ItemIndex

@Suite struct FlatSearchTests {
    @Test(arguments: [1, 3, 16, 17, 20, 64, 100, 512], [Metric.innerProduct, .squaredL2])
    func findsWhatFaissFinds(_ dimension: Int, _ metric: Metric) throws {
        let items = Vectors.random(300, dimension, seed: 1)
        let queries = Vectors.random(5, dimension, seed: 2)
        let (index, stock) = try loadedIndex("Flat", metric, items)
        #expect(index.count == 300)
        #expect(index.dimension == dimension)
        #expect(index.metric == metric)
        #expect(index.kind == .flat)
        // Float32, half a byte for each of eight components in 19 blocks of 16, five runs of 24 bytes, and a distance's bias.
        let lineCount = (dimension + 7) / 8
        #expect(
            index.byteCount == 300 * dimension * 4 + 19 * lineCount * 64 + 5 * 24 + (metric == .squaredL2 ? 1200 : 0))
        let scratch = SearchScratch(for: index)
        for number in 0..<queries.count {
            let query = queries.row(number)
            let hits = try index.search(query, k: 20, scratch: scratch).copy
            let expected = try stock.search(query, k: 20)
            // FAISS adds in another order, so two rows may change places where their scores are equal up to rounding.
            let tolerance = 1e-5 * Float(dimension) + 1e-4
            for place in 0..<20 {
                let theirs = metric == .innerProduct ? expected.scores[place] : -expected.scores[place]
                #expect(abs(hits.scores[place] - theirs) <= tolerance)
                if hits.rows[place] != expected.rows[place] {
                    #expect(abs(index.score(query, expected.rows[place]) - hits.scores[place]) <= tolerance)
                }
            }
        }
    }

    /// Where norms spread widely, one step of the codes is too coarse for the short vectors and too narrow for the long ones. More
    /// may then be among the best than there is room for, and they are settled as the scan goes.
    @Test(arguments: ["Flat", "IVF16,Flat", "HNSW4"], [Metric.innerProduct, .squaredL2])
    func vectorsOfManyLengthsAreSearchedExactly(_ factory: String, _ metric: Metric) throws {
        var items = Vectors.random(12_000, 16, seed: 21)
        var generator = SeededRandom(seed: 22)
        for row in 0..<items.count {
            let length = exp(0.6 * generator.normal())
            for component in 0..<16 { items.values[row * 16 + component] *= length }
        }
        let queries = Vectors.random(2, 16, seed: 23)
        // The last thousand stand in it twice, so that equal scores are settled at different times.
        for row in 11_000..<12_000 {
            for component in 0..<16 {
                items.values[row * 16 + component] = items.values[(row - 11_000) * 16 + component]
            }
        }
        let (index, _) = try loadedIndex(factory, metric, items, efConstruction: 8)
        let scratch = SearchScratch(for: index)
        let third = EligibleRows(rowCount: items.count)
        for row in 0..<items.count where row % 3 != 0 { third.exclude(row) }
        var settledCount = 0
        for number in 0..<queries.count {
            // By the scores that hits have, so that no rounding decides.
            let query = queries.row(number)
            let scored = (0..<items.count).map { (row: $0, score: index.score(query, $0)) }
            let truth = scored.sorted { $0.score > $1.score || ($0.score == $1.score && $0.row < $1.row) }.map(\.row)
            for (eligible, rows) in [(nil, truth), (third, truth.filter { $0 % 3 == 0 })] {
                // Of an eighth of the catalogue and more, everything is compared by its vector.
                for k in [1, 10, 300, 1499] {
                    let hits = try index.search(
                        query, k: k, parameters: SearchParameters(exact: true), eligible: eligible, scratch: scratch)
                    let isTheSame = hits.copy.rows == Array(rows.prefix(k))
                    #expect(isTheSame, "k \(k), query \(number)")
                    if scratch.state.rescored > 2 * k + 1024 { settledCount += 1 }
                }
            }
        }
        // 8-bit codes exclude more.
        #expect(
            settledCount > 0 || factory == "HNSW4", "no search had more candidates than it keeps: nothing was tested")
    }

    /// A query next to the origin is as far from each item as that is long, and items of one length differ by roundings only: codes
    /// must not exclude by them.
    @Test(arguments: ["Flat", "HNSW4", "IVF8,Flat"])
    func roundingExcludesNothing(_ factory: String) throws {
        var items = Vectors.random(4000, 16, seed: 31)
        for row in 0..<items.count {
            let length = items.row(row).reduce(0) { $0 + $1 * $1 }.squareRoot()
            for component in 0..<16 { items.values[row * 16 + component] /= length }
        }
        let (index, _) = try loadedIndex(factory, .squaredL2, items, efConstruction: 8)
        let scratch = SearchScratch(for: index)
        for scale in [Float(0), 1e-8, 1e-7, 1e-6] {
            let query = Vectors.random(1, 16, seed: 32).values.map { scale * $0 }
            let scored = (0..<items.count).map { (row: $0, score: index.score(query, $0)) }
            let truth = scored.sorted { $0.score > $1.score || ($0.score == $1.score && $0.row < $1.row) }.map(\.row)
            let hits = try index.search(query, k: 100, parameters: SearchParameters(exact: true), scratch: scratch)
            let isTheSame = withExtendedLifetime(scratch) { hits.copy.rows } == Array(truth.prefix(100))
            #expect(isTheSame, "times \(scale)")
        }
    }

    @Test(arguments: InstructionSet.allCases.filter(\.isAvailable))
    func scoresAreThoseOfScoreBitForBit(_ set: InstructionSet) throws {
        for (factory, metric) in [("Flat", Metric.innerProduct), ("HNSW8", .squaredL2), ("IVF8,Flat", .innerProduct)] {
            let items = Vectors.random(400, 20, seed: 8)
            let (index, _) = try loadedIndex(factory, metric, items, set: set)
            #expect(index.instructionSet == set)
            let scratch = SearchScratch(for: index)
            let query = Vectors.random(1, 20, seed: 9).values
            for exact in [true, false] {
                let hits = try index.search(query, k: 50, parameters: SearchParameters(exact: exact), scratch: scratch)
                #expect(hits.count == 50)
                for place in 0..<hits.count {
                    #expect(index.score(query, Int(hits.rows[place])).bitPattern == hits.scores[place].bitPattern)
                }
            }
        }
    }

    @Test(arguments: ["Flat", "HNSW8", "IVF4,Flat"])
    func vectorsAreThoseThatWereAdded(_ factory: String) throws {
        let items = Vectors.random(200, 17, seed: 10)
        let (index, _) = try loadedIndex(factory, .innerProduct, items)
        for row in 0..<200 {
            #expect(Array(index.vector(row)) == items.row(row))
        }
    }

    @Test(arguments: ["Flat", "HNSW8", "IVF4,Flat"], [Metric.innerProduct, .squaredL2])
    func tiesGoToTheLowerRow(_ factory: String, _ metric: Metric) throws {
        // Every vector stands in it four times, a hundred rows apart.
        let distinct = Vectors.random(100, 8, seed: 11)
        let items = Vectors(
            dimension: 8, values: distinct.values + distinct.values + distinct.values + distinct.values)
        let (index, _) = try loadedIndex(factory, metric, items)
        let scratch = SearchScratch(for: index)
        let query = Vectors.random(1, 8, seed: 12).values
        let exact = try index.search(query, k: 100, parameters: SearchParameters(exact: true), scratch: scratch).copy
        for place in 1..<100 {
            let (before, after) = (exact.scores[place - 1], exact.scores[place])
            #expect(before > after || (before == after && exact.rows[place - 1] < exact.rows[place]))
        }
        #expect(Set(exact.rows.map { $0 % 100 }).count == 25)
        // And whatever an approximate search finds is in that order too.
        let found = try index.search(query, k: 100, scratch: scratch).copy
        for place in 1..<100 {
            let (before, after) = (found.scores[place - 1], found.scores[place])
            #expect(before > after || (before == after && found.rows[place - 1] < found.rows[place]))
        }
    }

    @Test(arguments: ["Flat", "HNSW8", "IVF4,Flat"])
    func kAboveTheCountFindsAll(_ factory: String) throws {
        let items = Vectors.random(60, 16, seed: 13)
        let (index, _) = try loadedIndex(factory, .squaredL2, items)
        let scratch = SearchScratch(for: index, capacity: 1)
        let query = items.row(7)
        let truth = reference(items, query, .squaredL2).map(\.row)
        for k in [59, 60, 61, 10_000] {
            let hits = try index.search(query, k: k, scratch: scratch).copy
            #expect(hits.rows.count == min(k, 60))
            #expect(hits.rows[0] == 7)
            #expect(Set(hits.rows).count == hits.rows.count)
            if k >= 60 { #expect(hits.rows == truth) }
        }
    }

    @Test(arguments: ["Flat", "HNSW8"])
    func anEmptyIndexFindsNothing(_ factory: String) throws {
        let (index, _) = try loadedIndex(factory, .innerProduct, Vectors(dimension: 4, values: []))
        #expect(index.count == 0)
        let scratch = SearchScratch(for: index)
        let none = EligibleRows(rowCount: 0)
        #expect(index.mayTakeNanoseconds(k: 10, parameters: SearchParameters()) == 0)
        #expect(try index.search([1, 2, 3, 4], k: 10, scratch: scratch).count == 0)
        #expect(
            try index.search(
                [1, 2, 3, 4], k: 10, parameters: SearchParameters(exact: true), eligible: none, scratch: scratch
            ).count == 0)
    }

    @Test(arguments: ["Flat", "HNSW8", "IVF4,Flat"])
    func excludedRowsAreNeverFound(_ factory: String) throws {
        let items = Vectors.random(200, 16, seed: 14)
        let (index, _) = try loadedIndex(factory, .innerProduct, items)
        let scratch = SearchScratch(for: index)
        let eligible = EligibleRows(rowCount: 200)
        let query = Vectors.random(1, 16, seed: 15).values
        let truth = reference(items, query, .innerProduct).map(\.row)
        for kept in [200, 199, 130, 64, 3, 1, 0] {
            // The best are excluded: what remains has to be ranked as if they had never been there.
            eligible.includeAll()
            for row in truth.prefix(200 - kept) { eligible.exclude(row) }
            for parameters in [SearchParameters(), SearchParameters(exact: true)] {
                let hits = try index.search(
                    query, k: 10, parameters: parameters, eligible: eligible, scratch: scratch
                ).copy
                #expect(hits.rows.count == min(10, kept))
                #expect(hits.rows.allSatisfy { eligible.contains($0) })
                if parameters.exact { #expect(hits.rows == Array(truth.suffix(kept).prefix(10))) }
            }
        }
    }

    @Test func parametersOfAnotherKindAreRefused() throws {
        let items = Vectors.random(50, 4, seed: 16)
        let query = items.row(0)
        for (factory, kind) in [("Flat", IndexKind.flat), ("HNSW4", .hnsw), ("IVF2,Flat", .ivfFlat)] {
            let (index, _) = try loadedIndex(factory, .innerProduct, items)
            #expect(index.kind == kind)
            let scratch = SearchScratch(for: index)
            func search(_ k: Int, _ parameters: SearchParameters) throws(SearchError) {
                _ = try index.search(query, k: k, parameters: parameters, scratch: scratch)
            }
            #expect(throws: SearchError.tooSmall(.k, got: 0)) { try search(0, SearchParameters()) }
            #expect(throws: SearchError.tooSmall(.k, got: -4)) { try search(-4, SearchParameters()) }
            if kind != .hnsw {
                #expect(throws: SearchError.notForKind(.ef, kind: kind)) { try search(5, SearchParameters(ef: 9)) }
            } else {
                #expect(throws: SearchError.tooSmall(.ef, got: 0)) { try search(5, SearchParameters(ef: 0)) }
            }
            if kind != .ivfFlat {
                #expect(throws: SearchError.notForKind(.nprobe, kind: kind)) {
                    try search(5, SearchParameters(nprobe: 9))
                }
            } else {
                #expect(throws: SearchError.tooSmall(.nprobe, got: 0)) { try search(5, SearchParameters(nprobe: 0)) }
            }
        }
    }
}
