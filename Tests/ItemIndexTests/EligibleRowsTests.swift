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
}
