import Testing

@testable import ItemIndex

@Suite struct RowSetTests {
    @Test func holdsWhatWasInserted() {
        for rowCount in [1, 63, 64, 65, 1000] {
            let set = RowSet(rowCount: rowCount)
            #expect(set.isEmpty)
            #expect(set.insert(rowCount - 1))
            #expect(!set.insert(rowCount - 1))
            #expect(set.insert(0) == (rowCount > 1))
            #expect(set.count == min(rowCount, 2))
            for row in 0..<rowCount { #expect(set.contains(row) == (row == 0 || row == rowCount - 1)) }
            #expect(!set.contains(rowCount))
            #expect(!set.contains(-1))
            set.removeAll()
            #expect(set.isEmpty)
            #expect((0..<rowCount).allSatisfy { !set.contains($0) })
            #expect(set.words.allSatisfy { $0 == 0 })
        }
    }
}
