internal import Safetensors

/// The ids of a safetensors file, by row and by text: `ids` U64, or `ids.bytes` and `ids.offsets`.
final class IdentifierColumn: Sendable {
    /// How many ids.
    let count: Int
    let isNumber: Bool
    private let file: SafetensorsFile
    // They point into the file's mapping, which lives as long as `file`.
    private nonisolated(unsafe) let numbers: UnsafeBufferPointer<UInt64>
    private nonisolated(unsafe) let bytes: UnsafeRawBufferPointer
    private nonisolated(unsafe) let offsets: UnsafeBufferPointer<UInt64>
    /// Row + 1 by hash, 0 where nothing is; a taken slot sends on to the next. (power of two)
    private let slots: [UInt32]

    init(file: SafetensorsFile, isNumber: Bool, count: Int) throws(SafetensorsError) {
        self.file = file
        self.isNumber = isNumber
        self.count = count
        if isNumber {
            numbers = try file.numbers("ids", count: count)
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            offsets = UnsafeBufferPointer(start: nil, count: 0)
        } else {
            numbers = UnsafeBufferPointer(start: nil, count: 0)
            (bytes, offsets) = try file.texts("ids", count: count)
        }
        var capacity = 16
        while capacity < 2 * count { capacity *= 2 }
        var slots = [UInt32](repeating: 0, count: capacity)
        for row in 0..<count {
            let hash = isNumber ? SplitMix64.mix(numbers[row]) : Self.hash(bytes[Self.range(row, offsets)])
            var slot = Int(truncatingIfNeeded: hash) & (capacity - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (capacity - 1) }
            slots[slot] = UInt32(row + 1)
        }
        self.slots = slots
    }

    /// The id of a row as requests and replies write it.
    func text(_ row: Int) -> String {
        isNumber ? String(numbers[row]) : String(decoding: bytes[Self.range(row, offsets)], as: UTF8.self)
    }

    /// The id of a row of numbers.
    func number(_ row: Int) -> UInt64 { numbers[row] }

    /// Whether a row has the id. Of a number the canonical decimal is one: "007" is nobody.
    func contains(_ text: String) -> Bool { row(text) != nil }

    /// The row that has the id, or nil.
    func row(_ text: String) -> Int? {
        if isNumber {
            guard let number = UInt64(text), String(number).utf8.elementsEqual(text.utf8) else { return nil }
            return find(SplitMix64.mix(number)) { numbers[$0] == number }
        }
        var text = text
        return text.withUTF8 { utf8 in
            let wanted = UnsafeRawBufferPointer(utf8)
            return find(Self.hash(wanted[...])) { bytes[Self.range($0, offsets)].elementsEqual(wanted) }
        }
    }

    private func find(_ hash: UInt64, _ isRow: (Int) -> Bool) -> Int? {
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] != 0 {
            if isRow(Int(slots[slot]) - 1) { return Int(slots[slot]) - 1 }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    private static func range(_ row: Int, _ offsets: UnsafeBufferPointer<UInt64>) -> Range<Int> {
        Int(offsets[row])..<Int(offsets[row + 1])
    }

    /// FNV-1a (Fowler, Noll, Vo), its bits mixed for the table.
    private static func hash(_ bytes: Slice<UnsafeRawBufferPointer>) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return SplitMix64.mix(hash)
    }
}
