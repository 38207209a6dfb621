/// The rows that a search may find: a bitmap over a catalogue. All of them at first. Two things make a row ineligible:
/// withdrawing it, which lasts until it is restored, and excluding it, which `includeAll` takes back at a cost of what was
/// excluded, not of what the catalogue holds. Not for two threads at once.
///
///     let eligible = EligibleRows(rowCount: index.count)  // once per worker
///     eligible.withdraw(4)  // not to be found until further notice
///     eligible.exclude(17)  // not to be found by this request
///     let hits = try index.search(query, k: 100, eligible: eligible, scratch: scratch)
///     eligible.includeAll()
public final class EligibleRows {
    /// How many rows the catalogue has; rows of the set are below it.
    public let rowCount: Int
    // (rowCount + 63) / 64 words; row i is bit i % 64 of word i / 64. Bits beyond the catalogue are 0.
    let words: UnsafeMutableBufferPointer<UInt64>
    // Rows that are eligible but for this request.
    private var excluded: [UInt32] = []
    /// How many rows are withdrawn.
    public private(set) var withdrawnCount = 0

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
    public var count: Int { rowCount - withdrawnCount - excluded.count }
    /// Whether every row is.
    public var isEverything: Bool { excluded.isEmpty && withdrawnCount == 0 }

    /// Excludes a row, which must be in `0 ..< rowCount`, until `includeAll`; says whether it was eligible before.
    @discardableResult
    public func exclude(_ row: Int) -> Bool {
        guard clear(row) else { return false }
        excluded.append(UInt32(row))
        return true
    }

    /// Whether a row may be found.
    public func contains(_ row: Int) -> Bool {
        row >= 0 && row < rowCount && words[row >> 6] >> UInt64(row & 63) & 1 == 1
    }

    /// Takes all exclusions back and keeps the memory; rows that are withdrawn stay so. O(rows that were excluded).
    public func includeAll() {
        for row in excluded { set(row) }
        excluded.removeAll(keepingCapacity: true)
    }

    /// Withdraws a row, which must be in `0 ..< rowCount`, until it is restored. Takes all exclusions back. Without effect on a
    /// row that is withdrawn.
    public func withdraw(_ row: Int) {
        includeAll()
        if clear(row) { withdrawnCount += 1 }
    }

    /// Makes a withdrawn row eligible again. Takes all exclusions back. Without effect on a row that is not withdrawn.
    public func restore(_ row: Int) {
        includeAll()
        guard row >= 0, row < rowCount, !contains(row) else { return }
        set(UInt32(row))
        withdrawnCount -= 1
    }

    /// Clears a row's bit; says whether it was set.
    private func clear(_ row: Int) -> Bool {
        precondition(row >= 0 && row < rowCount, "row \(row) of \(rowCount)")
        let bit = UInt64(1) << UInt64(row & 63)
        guard words[row >> 6] & bit != 0 else { return false }
        words[row >> 6] &= ~bit
        return true
    }

    private func set(_ row: UInt32) {
        words[Int(row) >> 6] |= 1 << UInt64(row & 63)
    }
}
