internal import JSON
internal import Memory

/// A request's body as a tree that can be changed and written again. Integers stay integers, numbers keep their value,
/// and keys their order.
indirect enum BodyValue: Sendable {
    /// A key and what it holds.
    struct Member: Sendable {
        var name: String
        var value: BodyValue
    }

    case object([Member])
    case list([BodyValue])
    case string(String)
    case signed(Int64)
    /// Only what does not fit `signed`.
    case unsigned(UInt64)
    case number(Double)
    case boolean(Bool)
    case null

    /// Copies a parsed value.
    init(_ value: JSONValue) {
        switch value.kind {
        case .object:
            self = .object(value.object!.map { Member(name: $0.key.string, value: BodyValue($0.value)) })
        case .array: self = .list(value.array!.map { BodyValue($0) })
        case .string: self = .string(value.text!.string)
        case .integer: self = value.signed.map { .signed($0) } ?? .unsigned(value.unsigned!)
        case .number: self = .number(value.number!)
        case .boolean: self = .boolean(value.boolean!)
        case .null: self = .null
        }
    }

    /// Parses a text; keys that stand twice are refused.
    init(parsing text: String) throws(JSONDocumentError) {
        let document = try JSONDocument(text)
        self = withExtendedLifetime(document) { BodyValue(document.root.value) }
    }

    /// The member of that name, if this is an object that has it.
    subscript(name: String) -> BodyValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
    }

    /// Replaces a member where it stands, or adds it at the end; nil removes it. What is no object becomes one.
    mutating func set(_ name: String, _ value: BodyValue?) {
        var members: [Member] = []
        if case .object(let present) = self { members = present }
        let place = members.firstIndex { $0.name.utf8.elementsEqual(name.utf8) }
        switch (place, value) {
        case (let place?, let value?): members[place].value = value
        case (let place?, nil): members.remove(at: place)
        case (nil, let value?): members.append(Member(name: name, value: value))
        case (nil, nil): break
        }
        self = .object(members)
    }

    /// The JSON text, without blanks.
    ///
    /// - sortsKeys: by their bytes, so that two texts of one value are equal.
    func text(sortsKeys: Bool = false) -> String {
        var writer = ByteWriter(capacity: 512)
        write(to: &writer, sortsKeys: sortsKeys)
        return writer.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    private func write(to writer: inout ByteWriter, sortsKeys: Bool) {
        switch self {
        case .object(let members):
            let ordered =
                sortsKeys ? members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) } : members
            writer.append("{")
            for (position, member) in ordered.enumerated() {
                if position > 0 { writer.append(",") }
                writer.appendJSON(member.name)
                writer.append(":")
                member.value.write(to: &writer, sortsKeys: sortsKeys)
            }
            writer.append("}")
        case .list(let elements):
            writer.append("[")
            for (position, element) in elements.enumerated() {
                if position > 0 { writer.append(",") }
                element.write(to: &writer, sortsKeys: sortsKeys)
            }
            writer.append("]")
        case .string(let string): writer.appendJSON(string)
        case .signed(let value): writer.appendJSON(value)
        case .unsigned(let value): writer.appendJSON(value)
        case .number(let value):
            let start = writer.count
            writer.appendJSON(value)
            // The shortest form of 3.0 is that of an integer, and a feature of integers would then take it.
            let isInteger = writer.withUnsafeBytes { bytes in
                !bytes[start...].contains { $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "e") }
            }
            if isInteger { writer.append(".0") }
        case .boolean(let value): writer.appendJSON(value)
        case .null: writer.append("null")
        }
    }
}

/// A string that equals only the same bytes: an id is bytes, and `String` holds "é" written as one scalar and as two for
/// the same.
struct ByteText: Hashable, Sendable {
    let string: String

    init(_ string: String) {
        self.string = string
    }

    static func == (left: ByteText, right: ByteText) -> Bool {
        left.string.utf8.elementsEqual(right.string.utf8)
    }

    func hash(into hasher: inout Hasher) {
        var copy = string
        copy.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        hasher.combine(UInt8(0xFF))
    }
}
