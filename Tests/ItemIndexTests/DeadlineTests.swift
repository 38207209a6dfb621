import Foundation
import TestSupport
import Testing

@testable import ItemIndex

/// Deadlines that pass while a search goes on: when it first looks at the clock.
@Suite struct DeadlineTests {
    /// Every 16 rows that a walk expands, or a few less, it looks at the clock.
    @Test(arguments: [true, false])
    func aWalkIsCutShort(hasCodes: Bool) throws {
        let index = try graph(600, hasCodes: hasCodes)
        for eligible in [nil, twoThirds(of: index)] {
            let few = try cutShort(index, k: 10, .literally(ef: 200), eligible)
            #expect(few.rows.count == 10 && few.scoredCount < few.wholeScoredCount)
            // Sixteen rows have 16 links each at most.
            let many = try cutShort(index, k: 300, .literally(ef: 300), eligible)
            #expect(many.rows.count < 300 && many.scoredCount < many.wholeScoredCount)
        }
    }

    /// What a walk has scored when the deadline passes is in the answer: where it keeps all that it meets, only the scores of the
    /// descent, which are the same in both, are not.
    @Test func whatAWalkHasScoredCounts() throws {
        let (index, _) = try loadedIndex("HNSW8", .squaredL2, Vectors.random(600, 16, seed: 58), efConstruction: 80)
        let cut = try cutShort(index, k: 600, .literally(ef: 600))
        #expect(cut.rows.count < 600)
        #expect(cut.wholeScoredCount < 700, "not all can be reached: nothing is tested")
        #expect(cut.scoredCount - cut.rows.count == cut.wholeScoredCount - 600)
    }

    /// The clock is looked at every 8,192 items that are compared by their codes, or a few more: lists are scanned 256 at a time.
    @Test(arguments: [Metric.innerProduct, .squaredL2])
    func listsAreCutShort(_ metric: Metric) throws {
        let (index, _) = try loadedIndex("IVF8,Flat", metric, Vectors.random(10_000, 8, seed: 51))
        for eligible in [nil, twoThirds(of: index)] {
            for k in [10, 9_000] {
                let cut = try cutShort(index, k: k, .literally(nprobe: 8), eligible)
                #expect(cut.wholeScoredCount == 10_000)
                #expect(cut.scoredCount < 10_000, "k \(k)")
                #expect(k == 10 ? cut.rows.count == 10 : cut.rows.count < 8_500, "k \(k)")
            }
        }
    }

    /// With few items in the lists, the clock is first looked at when what was found by codes is scored by vectors. There is time for
    /// k of them.
    @Test func whatListsFoundIsScoredAllTheSame() throws {
        let (index, _) = try loadedIndex("IVF8,Flat", .squaredL2, Vectors.random(4000, 8, seed: 52))
        let cut = try cutShort(index, k: 1500, .literally(nprobe: 8))
        #expect(cut.rows.count == 1500 && cut.scoredCount == 4000)
    }

    /// By codes the clock is looked at every 8,192 rows; of an eighth of the catalogue and more, by vectors every 1,024.
    @Test(arguments: ["Flat", "IVF8,Flat"])
    func exactScansAreCutShort(_ factory: String) throws {
        // In two dimensions codes exclude enough, so that nothing is settled before that.
        let (index, _) = try loadedIndex(factory, .innerProduct, Vectors.random(10_000, 2, seed: 53))
        for eligible in [nil, twoThirds(of: index)] {
            for k in [10, 1250] {
                let cut = try cutShort(index, k: k, SearchParameters(exact: true), eligible)
                #expect(cut.scoredCount < cut.wholeScoredCount, "k \(k)")
                guard factory == "Flat" else { continue }
                let compared = (0..<cut.scoredCount).filter { eligible?.contains($0) ?? true }
                let isTheBest = cut.rows == best(k, of: compared, in: index)
                #expect(isTheBest, "k \(k)")
            }
        }
    }

    /// By 8-bit codes the clock is looked at every 2,048 rows, by vectors every 1,024.
    @Test(arguments: [true, false])
    func exactScansOfAGraphAreCutShort(hasCodes: Bool) throws {
        let index = try graph(2200, hasCodes: hasCodes)
        for eligible in [nil, twoThirds(of: index)] {
            for k in [10, 275] {
                let cut = try cutShort(index, k: k, SearchParameters(exact: true), eligible)
                #expect(cut.wholeScoredCount == 2200)
                #expect(cut.scoredCount < 2200, "k \(k)")
                let compared = (0..<cut.scoredCount).filter { eligible?.contains($0) ?? true }
                let isTheBest = cut.rows == best(k, of: compared, in: index)
                #expect(isTheBest, "k \(k)")
            }
        }
    }

    /// Where few rows are eligible, these alone are scored, and the clock is looked at every 1,024.
    @Test(arguments: [("HNSW8", 6000, 5), ("IVF8,Flat", 26_000, 24)])
    func fewEligibleRowsAreCutShort(_ factory: String, _ count: Int, _ each: Int) throws {
        let items = Vectors.random(count, 20, seed: 54)
        let (index, _) = try loadedIndex(factory, .innerProduct, items, efConstruction: 8)
        let eligible = EligibleRows(rowCount: count)
        for row in 0..<count where row % each != 0 { eligible.exclude(row) }
        for k in [10, 1100] {
            let cut = try cutShort(index, k: k, SearchParameters(exact: true), eligible)
            #expect(cut.wholeScoredCount == eligible.count, "others are scored too: nothing is tested")
            #expect(cut.scoredCount < eligible.count, "k \(k)")
            let compared = (0..<cut.scoredCount).map { $0 * each }
            let isTheBest = cut.rows == best(k, of: compared, in: index)
            #expect(isTheBest, "k \(k)")
        }
    }

    /// Where norms spread widely codes exclude little, and what they leave is scored by vectors, 1,024 at a time. Of so few rows
    /// the clock is looked at only between these.
    @Test func settlingIsCutShort() throws {
        var items = Vectors.random(4000, 16, seed: 55)
        var generator = SeededRandom(seed: 56)
        for row in 0..<items.count {
            let length = exp(0.8 * generator.normal())
            for component in 0..<16 { items.values[row * 16 + component] *= length }
        }
        let (index, _) = try loadedIndex("Flat", .squaredL2, items)
        for eligible in [nil, twoThirds(of: index)] {
            let cut = try cutShort(index, k: 1, SearchParameters(exact: true), eligible)
            #expect(cut.rows.count == 1)
        }
    }

    /// A search that was cut short, and how many items the whole one compares.
    private struct Cut {
        let rows: [Int]
        let scoredCount: Int
        let wholeScoredCount: Int
    }

    /// What is found before the deadline is right as far as it goes, and without a deadline the same search is complete.
    private func cutShort(
        _ index: ItemIndex, k: Int, _ parameters: SearchParameters, _ eligible: EligibleRows? = nil
    ) throws -> Cut {
        let query = query(for: index)
        let scratch = SearchScratch(for: index)
        let wait = DeadlineWait()
        scratch.yield(to: wait)
        defer { scratch.yield(to: nil) }
        let whole = try index.search(query, k: k, parameters: parameters, eligible: eligible, scratch: scratch)
        #expect(whole.isComplete && whole.count == min(k, eligible?.count ?? index.count))
        let wholeScoredCount = whole.scoredCount
        let wholeCallCount = wait.callCount
        #expect(wholeCallCount > 0, "the clock is never looked at: nothing is tested")

        var limited = parameters
        wait.deadline = monotonicNanoseconds() + 5_000_000
        limited.deadline = wait.deadline
        let hits = try index.search(query, k: k, parameters: limited, eligible: eligible, scratch: scratch)
        #expect(wait.callCount > wholeCallCount)
        #expect(!hits.isComplete, "k \(k)")
        #expect(hits.count > 0 && hits.count <= k, "k \(k)")
        let (rows, scores) = hits.copy
        let haveTheirScores = zip(rows, scores).allSatisfy { index.score(query, $0).bitPattern == $1.bitPattern }
        #expect(haveTheirScores, "k \(k)")
        let areInOrder = rows.indices.dropFirst().allSatisfy { place in
            let (before, after) = (scores[place - 1], scores[place])
            return before > after || (before == after && rows[place - 1] < rows[place])
        }
        #expect(areInOrder, "k \(k)")
        let areDistinct = Set(rows).count == rows.count
        #expect(areDistinct, "k \(k)")
        let areEligible = rows.allSatisfy { eligible?.contains($0) ?? true }
        #expect(areEligible, "k \(k)")
        return Cut(rows: rows, scoredCount: hits.scoredCount, wholeScoredCount: wholeScoredCount)
    }

    private func query(for index: ItemIndex) -> [Float] {
        Vectors.random(1, index.dimension, seed: 57).values
    }

    /// The best of some rows by their own scores.
    private func best(_ k: Int, of rows: [Int], in index: ItemIndex) -> [Int] {
        let query = query(for: index)
        let scored = rows.map { (row: $0, score: index.score(query, $0)) }
        let ranked = scored.sorted { $0.score > $1.score || ($0.score == $1.score && $0.row < $1.row) }
        return ranked.prefix(k).map(\.row)
    }

    private func twoThirds(of index: ItemIndex) -> EligibleRows {
        let eligible = EligibleRows(rowCount: index.count)
        for row in stride(from: 0, to: index.count, by: 3) { eligible.exclude(row) }
        return eligible
    }

    /// A graph over random items. One that lies far off makes codes too coarse for the others.
    private func graph(_ count: Int, hasCodes: Bool) throws -> ItemIndex {
        var items = Vectors.random(count, 16, seed: 58)
        if !hasCodes {
            for component in 0..<16 { items.values[5 * 16 + component] = 1e4 }
        }
        let (index, _) = try loadedIndex("HNSW8", .squaredL2, items, efConstruction: 20)
        // A row's vector, its links of level 0, an offset and a level; and a line of codes, which are more than all other links.
        let areThere = index.byteCount >= count * (16 * 4 + 16 * 4 + 12 + 64)
        #expect(areThere == hasCodes, "there are codes: \(areThere)")
        return index
    }
}

/// Lets a search go on when its deadline has passed.
private final class DeadlineWait: SearchYielding {
    var deadline: UInt64 = 0
    private(set) var callCount = 0

    func letOthers() {
        callCount += 1
        while monotonicNanoseconds() < deadline {}
    }
}

private func monotonicNanoseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}
