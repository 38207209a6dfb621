public import Memory

/// The ids of items or users, by row: numbers or texts, as the manifest says.
public enum Identifiers: Sendable {
    case numbers(NumberTable)
    case texts(TextTable)

    /// What looks up, for those who must not count references; valid while these ids live.
    public var view: View {
        switch self {
        case .numbers(let table): .numbers(table.view)
        case .texts(let table): .texts(table.view)
        }
    }

    /// The ids without their owner, the table; a plain value.
    public enum View: BitwiseCopyable, Sendable {
        case numbers(NumberTable.View)
        case texts(TextTable.View)

        /// The row of a text. Among numbers, the text must be the number in canonical decimal ("7", not "07").
        public func row(of text: Text) -> Int? {
            switch self {
            case .numbers(let table): Identifiers.number(from: text).flatMap(table.row(of:))
            case .texts(let table): table.row(of: text)
            }
        }
    }

    /// How many rows there are.
    public var count: Int {
        switch self {
        case .numbers(let table): table.count
        case .texts(let table): table.count
        }
    }

    /// The row of a number; nil for text ids, which a number never equals.
    public func row(of number: UInt64) -> Int? {
        guard case .numbers(let table) = self else { return nil }
        return table.row(of: number)
    }

    /// The row of a text, as `View` finds it.
    public func row(of text: Text) -> Int? { view.row(of: text) }

    /// Reads a canonical decimal number of 64 bits.
    public static func number(from text: Text) -> UInt64? {
        let bytes = text.bytes
        guard bytes.count >= 1, bytes.count <= 20, bytes.count == 1 || bytes[0] != UInt8(ascii: "0") else { return nil }
        var value: UInt64 = 0
        for byte in bytes {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            let (product, overflowsProduct) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflowsSum) = product.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
            guard !overflowsProduct, !overflowsSum else { return nil }
            value = sum
        }
        return value
    }
}
