import Memory
import Testing

@testable import Identifiers

@Suite struct IdentifiersTests {
    @Test func findsEveryNumberAndNoOther() throws {
        // Multiples of a power of two are what a careless hash piles up in one slot.
        let ids = (0..<5000).map { UInt64($0) << 20 }
        try ids.withUnsafeBufferPointer { buffer in
            let table = try NumberTable(ids: buffer)
            for (row, id) in ids.enumerated() {
                #expect(table.row(of: id) == row)
                #expect(table.row(of: id + 1) == nil)
            }
        }
    }

    @Test func refusesANumberTwice() {
        [UInt64(5), 7, 5].withUnsafeBufferPointer { buffer in
            _ = #expect(throws: DuplicateIdentifier(rows: [0, 2])) { try NumberTable(ids: buffer) }
        }
    }

    @Test func findsEveryTextAndNoOther() throws {
        let words = (0..<3000).map { "word-\($0)" } + ["", "ö", "a\0b"]
        try withTexts(words) { bytes, offsets in
            let table = try TextTable(bytes: bytes, offsets: offsets)
            for (row, word) in words.enumerated() {
                let text = OwnedText(word)
                defer { withExtendedLifetime(text) {} }
                #expect(table.row(of: text.text) == row)
                #expect(table.text(of: row) == text.text)
            }
            #expect(table.row(of: Text("word-3000")) == nil)
        }
    }

    @Test func refusesATextTwice() {
        withTexts(["a", "b", "a"]) { bytes, offsets in
            _ = #expect(throws: DuplicateIdentifier(rows: [0, 2])) { try TextTable(bytes: bytes, offsets: offsets) }
        }
    }

    @Test func readsCanonicalNumbersOnly() {
        #expect(Identifiers.number(from: Text("0")) == 0)
        #expect(Identifiers.number(from: Text("18446744073709551615")) == UInt64.max)
        #expect(Identifiers.number(from: Text("18446744073709551616")) == nil)
        #expect(Identifiers.number(from: Text("99999999999999999999")) == nil)
        for text: StaticString in ["", "07", "+7", "-7", " 7", "7 ", "7.0", "1e3", "0x7", "184467440737095516150"] {
            #expect(Identifiers.number(from: Text(text)) == nil, "\(text)")
        }
    }

    @Test func emptyTablesFindNothing() throws {
        let numbers = try NumberTable(ids: UnsafeBufferPointer(start: nil, count: 0))
        #expect(numbers.row(of: 0) == nil)
        try withTexts([]) { bytes, offsets in
            let table = try TextTable(bytes: bytes, offsets: offsets)
            #expect(table.row(of: Text("a")) == nil)
        }
    }

    private func withTexts(
        _ words: [String], _ body: (UnsafeRawBufferPointer, UnsafeBufferPointer<UInt64>) throws -> Void
    )
        rethrows
    {
        var bytes: [UInt8] = []
        var offsets: [UInt64] = [0]
        for word in words {
            bytes += Array(word.utf8)
            offsets.append(UInt64(bytes.count))
        }
        try bytes.withUnsafeBytes { bytes in
            try offsets.withUnsafeBufferPointer { try body(bytes, $0) }
        }
    }
}
