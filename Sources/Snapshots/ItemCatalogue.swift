public import Identifiers
internal import Memory
internal import Safetensors

/// The items of a snapshot: ids and attributes, by row.
public final class ItemCatalogue: Sendable {
    /// The ids, by row.
    public let ids: Identifiers
    /// The attributes in the manifest's order.
    public let attributes: [Manifest.Attribute]
    private let columns: [Column]
    private let file: SafetensorsFile

    /// One value of an attribute.
    public enum AttributeValue: Equatable {
        case word(String)
        case float(Float)
        case integer(Int64)
    }

    private struct Column: Sendable {
        enum Values {
            case codes(UnsafePointer<UInt32>, words: [String])
            case floats(UnsafePointer<Float>)
            case integers(UnsafePointer<Int64>)
        }
        // Both lead into the file's read-only mapping.
        nonisolated(unsafe) let values: Values
        nonisolated(unsafe) let offsets: UnsafePointer<UInt64>?
    }

    /// How many items there are.
    public var count: Int { ids.count }

    /// Reads ids and attributes; `words` are those of `attributes.json`.
    init(file: SafetensorsFile, manifest: Manifest, words: [String: [String]]) throws(SafetensorsError) {
        self.file = file
        attributes = manifest.attributes
        let count = manifest.itemCount
        var names = Identifiers.tensorNames(manifest.itemIDType)
        for attribute in attributes {
            names.insert("attribute.\(attribute.name)")
            if attribute.isMultiValued { names.insert("attribute.\(attribute.name).offsets") }
        }
        if !manifest.index.holdsVectors { names.insert("vectors") }
        try file.requireExactly(names)
        ids = try Identifiers(file: file, type: manifest.itemIDType, count: count)

        var columns: [Column] = []
        for attribute in attributes {
            let name = "attribute.\(attribute.name)"
            let offsets = attribute.isMultiValued ? try file.offsets("\(name).offsets", count: count) : nil
            let total = offsets.map { Int($0[count]) } ?? count
            let values: Column.Values
            switch attribute.type {
            case .code:
                let codes = try file.codes(name, count: total)
                let words = words[attribute.name] ?? []
                if let position = (0..<total).first(where: { codes[$0] >= words.count }) {
                    throw file.fault(
                        "tensor '\(name)' has code \(codes[position]), and attributes.json \(words.count) words for it")
                }
                values = .codes(codes, words: words)
            case .f32: values = .floats(try file.floats(name, shape: [total]))
            case .i64: values = .integers(try file.integers(name, count: total))
            }
            columns.append(Column(values: values, offsets: offsets?.baseAddress))
        }
        self.columns = columns
    }

    /// The values of an item's attribute: exactly one unless the attribute is multi-valued. Allocates; not for the hot path.
    public func values(ofAttribute index: Int, row: Int) -> [AttributeValue] {
        precondition(row >= 0 && row < count, "row out of range")
        let column = columns[index]
        let range = column.offsets.map { Int($0[row])..<Int($0[row + 1]) } ?? row..<row + 1
        return range.map { position in
            switch column.values {
            case .codes(let codes, let words): .word(words[Int(codes[position])])
            case .floats(let floats): .float(floats[position])
            case .integers(let integers): .integer(integers[position])
            }
        }
    }
}
