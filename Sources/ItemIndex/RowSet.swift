/// A set of item rows, one per worker: the items a request excludes. Clearing takes time in proportion to the rows that
/// were set, not to the catalogue, so that a request pays for what it excludes.
///
///     excluded.removeAll()
///     excluded.insert(17)
///     let hits = try index.search(query, k: 100, excluding: excluded, scratch: scratch)
public final class RowSet {
    /// How many rows the catalogue has; rows of the set are below it.
    public let rowCount: Int
    // (rowCount + 63) / 64 words; row i is bit i % 64 of word i / 64.
    let words: UnsafeMutableBufferPointer<UInt64>
    private var rows: [UInt32] = []

    /// Creates an empty set for a catalogue of `rowCount` rows.
    public init(rowCount: Int) {
        self.rowCount = rowCount
        words = .allocate(capacity: max((rowCount + 63) / 64, 1))
        words.initialize(repeating: 0)
    }

    deinit {
        words.deallocate()
    }

    /// How many rows are in the set.
    public var count: Int { rows.count }
    /// Whether no row is in the set.
    public var isEmpty: Bool { rows.isEmpty }

    /// Adds a row, which must be in `0 ..< rowCount`; says whether it was not in the set before.
    @discardableResult
    public func insert(_ row: Int) -> Bool {
        precondition(row >= 0 && row < rowCount, "row \(row) of \(rowCount)")
        let bit = UInt64(1) << UInt64(row & 63)
        guard words[row >> 6] & bit == 0 else { return false }
        words[row >> 6] |= bit
        rows.append(UInt32(row))
        return true
    }

    /// Whether a row is in the set.
    public func contains(_ row: Int) -> Bool {
        row >= 0 && row < rowCount && words[row >> 6] >> UInt64(row & 63) & 1 == 1
    }

    /// Empties the set and keeps the memory. O(rows in the set).
    public func removeAll() {
        for row in rows {
            words[Int(row) >> 6] = 0
        }
        rows.removeAll(keepingCapacity: true)
    }
}
