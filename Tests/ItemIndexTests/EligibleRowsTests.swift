import TestSupport
import Testing

@testable import ItemIndex

@Suite struct EligibleRowsTests {
    @Test func holdsWhatWasNotExcluded() {
        for rowCount in [1, 63, 64, 65, 1000] {
            let set = EligibleRows(rowCount: rowCount)
            #expect(set.isEverything)
            #expect((0..<rowCount).allSatisfy { set.contains($0) })
            #expect(set.exclude(rowCount - 1))
            #expect(!set.exclude(rowCount - 1))
            #expect(set.exclude(0) == (rowCount > 1))
            #expect(set.count == rowCount - min(rowCount, 2))
            for row in 0..<rowCount { #expect(set.contains(row) == (row > 0 && row < rowCount - 1)) }
            #expect(!set.contains(rowCount))
            #expect(!set.contains(-1))
            set.includeAll()
            #expect(set.isEverything)
            #expect((0..<rowCount).allSatisfy { set.contains($0) })
            // No bit stands for a row that there is not.
            #expect(set.words.reduce(0) { $0 + $1.nonzeroBitCount } == rowCount)
        }
    }

    /// Random operations beside a set that does the same in the plainest way.
    @Test(arguments: [1, 63, 64, 65, 200, 1000]) func doesWhatASetWouldDo(rowCount: Int) {
        var random = SeededRandom(seed: 40 + UInt64(rowCount))
        let eligible = EligibleRows(rowCount: rowCount)
        var withdrawn: Set<Int> = []
        var excluded: Set<Int> = []
        for _ in 0..<3000 {
            // Few rows are hit often, so that every operation meets every state of a row.
            let row = random.below(2) == 0 ? random.below(rowCount) : random.below(min(rowCount, 6))
            switch random.below(8) {
            case 0, 1, 2:
                let wasEligible = !withdrawn.contains(row) && !excluded.contains(row)
                #expect(eligible.exclude(row) == wasEligible)
                if wasEligible { excluded.insert(row) }
            case 3, 4:
                eligible.withdraw(row)
                excluded = []
                withdrawn.insert(row)
            case 5, 6:
                eligible.restore(row)
                excluded = []
                withdrawn.remove(row)
            default:
                eligible.includeAll()
                excluded = []
            }
            #expect(eligible.withdrawnCount == withdrawn.count)
            #expect(eligible.count == rowCount - withdrawn.count - excluded.count)
            #expect(eligible.isEverything == (withdrawn.isEmpty && excluded.isEmpty))
            let probe = random.below(rowCount)
            #expect(eligible.contains(probe) == (!withdrawn.contains(probe) && !excluded.contains(probe)))
        }
        let found = Set((0..<rowCount).filter { eligible.contains($0) })
        #expect(found == Set(0..<rowCount).subtracting(withdrawn).subtracting(excluded))
        for row in withdrawn { eligible.restore(row) }
        eligible.includeAll()
        #expect(eligible.words.reduce(0) { $0 + $1.nonzeroBitCount } == rowCount)
    }

    /// Rows beyond the catalogue cannot be restored into it.
    @Test func rowsBeyondTheCatalogueStayOutside() {
        let eligible = EligibleRows(rowCount: 70)
        for row in [-1, 70, 127, 128, Int.max, Int.min] { eligible.restore(row) }
        #expect(eligible.count == 70 && eligible.isEverything)
        #expect(eligible.words.reduce(0) { $0 + $1.nonzeroBitCount } == 70)
    }
}
