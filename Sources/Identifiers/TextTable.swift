internal import CKernels
public import Memory

/// Two rows carry the same identifier.
public struct DuplicateIdentifier: Error, Equatable {
    /// The row that has it first, and the row that repeats it.
    public let rows: [Int]
}

/// Finds the row of a text among texts that lie end to end in a mapped file: `offsets[i] ..< offsets[i + 1]` are the
/// bytes of row i. Built once at load; a look-up costs one hash and, nearly always, one comparison.
///
///     let table = try TextTable(bytes: words, offsets: offsets)
///     table.row(of: Text("red"))    // 3
///
/// Complexity: a look-up is O(1) expected; 8 to 16 bytes of memory per row.
public final class TextTable: Sendable {
    /// What looks up, for those who must not count references. It owns nothing: the table keeps the slots, and the table's
    /// owner the mapped texts.
    public let view: View

    /// A table's addresses, valid while the table lives; a plain value.
    public struct View: BitwiseCopyable, @unchecked Sendable {
        /// How many texts there are.
        public let count: Int
        // Read-only once the table is built.
        fileprivate let bytes: UnsafeRawBufferPointer
        fileprivate let offsets: UnsafePointer<UInt64>
        fileprivate let slots: Slots

        /// The row that holds exactly these bytes.
        public func row(of text: Text) -> Int? {
            slots.find(hash: hashOf(text)) { self.text($0) == text }
        }

        /// The text of a row.
        public func text(of row: Int) -> Text {
            precondition(row >= 0 && row < count, "row out of range")
            return text(row)
        }

        @inline(__always)
        fileprivate func text(_ row: Int) -> Text {
            Text(UnsafeRawBufferPointer(rebasing: bytes[Int(offsets[row])..<Int(offsets[row + 1])]))
        }
    }

    /// Indexes `offsets.count - 1` texts. The offsets must ascend within `bytes`; whoever read the file has checked that.
    public init(bytes: UnsafeRawBufferPointer, offsets: UnsafeBufferPointer<UInt64>) throws(DuplicateIdentifier) {
        precondition(offsets.count >= 1, "offsets hold one more number than there are texts")
        let count = offsets.count - 1
        view = View(count: count, bytes: bytes, offsets: offsets.baseAddress!, slots: Slots(rowCount: count))
        for row in 0..<count {
            let text = view.text(row)
            let found = view.slots.findOrInsert(row: row, hash: hashOf(text)) { [view] in view.text($0) == text }
            if let found { throw DuplicateIdentifier(rows: [found, row]) }
        }
    }

    deinit {
        view.slots.deallocate()
    }

    /// How many texts there are.
    public var count: Int { view.count }

    /// The row that holds exactly these bytes.
    public func row(of text: Text) -> Int? { view.row(of: text) }

    /// The text of a row.
    public func text(of row: Int) -> Text { view.text(of: row) }
}

@inline(__always)
private func hashOf(_ text: Text) -> UInt64 {
    belfry_xxh64(text.bytes.baseAddress, text.byteCount, 0)
}

/// Open addressing with linear probing over row numbers, at most half full. A slot holds row + 1; 0 is empty.
/// A plain value: the table that makes it frees it.
struct Slots: BitwiseCopyable {
    private let mask: Int
    // Written only while its table is being built, before anyone else sees it.
    private let base: UnsafeMutablePointer<UInt32>

    init(rowCount: Int) {
        precondition(rowCount < Int(UInt32.max), "more rows than a slot can name")
        var capacity = 8
        while capacity < rowCount * 2 { capacity *= 2 }
        mask = capacity - 1
        base = .allocate(capacity: capacity)
        base.initialize(repeating: 0, count: capacity)
    }

    func deallocate() {
        base.deallocate()
    }

    @inline(__always)
    func find(hash: UInt64, isSame: (Int) -> Bool) -> Int? {
        var position = Int(truncatingIfNeeded: hash) & mask
        while base[position] != 0 {
            let row = Int(base[position]) - 1
            if isSame(row) { return row }
            position = (position + 1) & mask
        }
        return nil
    }

    /// The row that is the same, or nil after this one has been entered.
    @inline(__always)
    func findOrInsert(row: Int, hash: UInt64, isSame: (Int) -> Bool) -> Int? {
        var position = Int(truncatingIfNeeded: hash) & mask
        while base[position] != 0 {
            let other = Int(base[position]) - 1
            if isSame(other) { return other }
            position = (position + 1) & mask
        }
        base[position] = UInt32(row + 1)
        return nil
    }
}
