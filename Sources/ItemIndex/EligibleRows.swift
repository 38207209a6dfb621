/// The rows that a search may find: a bitmap over a catalogue. All of them at first; excluding a row and taking all
/// exclusions back cost what was excluded, not what the catalogue holds. Not for two threads at once.
///
///     let eligible = EligibleRows(rowCount: index.count)  // once per worker
///     eligible.exclude(17)
///     let hits = try index.search(query, k: 100, eligible: eligible, scratch: scratch)
///     eligible.includeAll()
public final class EligibleRows {
    /// How many rows the catalogue has; rows of the set are below it.
    public let rowCount: Int
    // (rowCount + 63) / 64 words; row i is bit i % 64 of word i / 64. Bits beyond the catalogue are 0.
    let words: UnsafeMutableBufferPointer<UInt64>
    private var excluded: [UInt32] = []

    /// Creates the set of all rows of a catalogue of `rowCount`.
    public init(rowCount: Int) {
        self.rowCount = rowCount
        words = .allocate(capacity: max((rowCount + 63) / 64, 1))
        words.initialize(repeating: UInt64.max)
        if rowCount % 64 != 0 { words[rowCount / 64] = (1 << UInt64(rowCount % 64)) - 1 }
        if rowCount == 0 { words[0] = 0 }
    }

    deinit {
        words.deallocate()
    }

    /// How many rows are eligible.
    public var count: Int { rowCount - excluded.count }
    /// Whether every row is.
    public var isEverything: Bool { excluded.isEmpty }

    /// Excludes a row, which must be in `0 ..< rowCount`; says whether it was eligible before.
    @discardableResult
    public func exclude(_ row: Int) -> Bool {
        precondition(row >= 0 && row < rowCount, "row \(row) of \(rowCount)")
        let bit = UInt64(1) << UInt64(row & 63)
        guard words[row >> 6] & bit != 0 else { return false }
        words[row >> 6] &= ~bit
        excluded.append(UInt32(row))
        return true
    }

    /// Whether a row may be found.
    public func contains(_ row: Int) -> Bool {
        row >= 0 && row < rowCount && words[row >> 6] >> UInt64(row & 63) & 1 == 1
    }

    /// Makes every row eligible again and keeps the memory. O(rows that were excluded).
    public func includeAll() {
        for row in excluded {
            words[Int(row) >> 6] |= 1 << UInt64(row & 63)
        }
        excluded.removeAll(keepingCapacity: true)
    }
}
