/// Finds the row of a 64-bit id. Built once at load over ids that lie in a mapped file.
///
/// Complexity: a look-up is O(1) expected; 8 to 16 bytes of memory per row.
public final class NumberTable: Sendable {
    /// What looks up, for those who must not count references. It owns nothing: the table keeps the slots, and the table's
    /// owner the mapped ids.
    public let view: View

    /// A table's addresses, valid while the table lives; a plain value.
    public struct View: BitwiseCopyable, @unchecked Sendable {
        // Read-only once the table is built.
        fileprivate let ids: UnsafeBufferPointer<UInt64>
        fileprivate let slots: Slots

        /// How many ids there are.
        public var count: Int { ids.count }

        /// The row of an id.
        public func row(of id: UInt64) -> Int? {
            slots.find(hash: mixed(id)) { ids[$0] == id }
        }

        /// The id of a row.
        public func id(of row: Int) -> UInt64 {
            precondition(row >= 0 && row < ids.count, "row out of range")
            return ids[row]
        }
    }

    /// Indexes the ids.
    public init(ids: UnsafeBufferPointer<UInt64>) throws(DuplicateIdentifier) {
        view = View(ids: ids, slots: Slots(rowCount: ids.count))
        for row in 0..<ids.count {
            let id = ids[row]
            let found = view.slots.findOrInsert(row: row, hash: mixed(id)) { ids[$0] == id }
            if let found { throw DuplicateIdentifier(rows: [found, row]) }
        }
    }

    deinit {
        view.slots.deallocate()
    }

    /// How many ids there are.
    public var count: Int { view.count }

    /// The row of an id.
    public func row(of id: UInt64) -> Int? { view.row(of: id) }

    /// The id of a row.
    public func id(of row: Int) -> UInt64 { view.id(of: row) }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): ids are often consecutive, or multiples of
/// a power of two.
@inline(__always)
private func mixed(_ id: UInt64) -> UInt64 {
    var z = id &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
}
