public import Memory

/// What a JSON value is. Integers and other numbers are told apart by how they are written: `1` is an integer, `1.0`
/// and `1e0` are not.
public enum JSONKind: Sendable {
    case object, array, string, integer, number, boolean, null

    /// With its article, for messages: `an integer`.
    public var noun: String {
        switch self {
        case .object: "an object"
        case .array: "a list"
        case .string: "a string"
        case .integer: "an integer"
        case .number: "a number"
        case .boolean: "a boolean"
        case .null: "null"
        }
    }
}

/// A value of a parsed document: a position in its parser's memory, valid as long as that (see `JSONParser`).
///
/// simdjson leaves a document as a tape of 64-bit words. A word's upper byte says what begins there; the lower 56 bits
/// of `{` and `[` hold the index behind the matching bracket (32 bits) and the count (24 bits, saturated), those of
/// `"` the offset of a uint32 length and the unescaped bytes. Numbers occupy a second word.
public struct JSONValue {
    @usableFromInline let tape: UnsafePointer<UInt64>
    @usableFromInline let strings: UnsafePointer<UInt8>
    @usableFromInline let index: Int

    @inlinable
    init(tape: UnsafePointer<UInt64>, strings: UnsafePointer<UInt8>, index: Int) {
        self.tape = tape
        self.strings = strings
        self.index = index
    }

    @inlinable var letter: UInt8 { UInt8(truncatingIfNeeded: tape[index] >> 56) }
    @inlinable var payload: UInt64 { tape[index] & 0xff_ffff_ffff_ffff }

    /// The index of the word behind the value.
    @inlinable var end: Int {
        switch letter {
        case UInt8(ascii: "{"), UInt8(ascii: "["): Int(payload & 0xffff_ffff)
        case UInt8(ascii: "l"), UInt8(ascii: "u"), UInt8(ascii: "d"): index + 2
        default: index + 1
        }
    }

    @inlinable
    func value(at index: Int) -> JSONValue {
        JSONValue(tape: tape, strings: strings, index: index)
    }

    /// The text of the string at `index`, which is not checked.
    @inlinable
    func text(at index: Int) -> Text {
        let bytes = UnsafeRawPointer(strings) + Int(tape[index] & 0xff_ffff_ffff_ffff)
        let count = Int(bytes.loadUnaligned(as: UInt32.self))
        return Text(UnsafeRawBufferPointer(start: bytes + 4, count: count))
    }

    /// What the value is.
    @inlinable public var kind: JSONKind {
        switch letter {
        case UInt8(ascii: "{"): .object
        case UInt8(ascii: "["): .array
        case UInt8(ascii: "\""): .string
        case UInt8(ascii: "l"), UInt8(ascii: "u"): .integer
        case UInt8(ascii: "d"): .number
        case UInt8(ascii: "n"): .null
        default: .boolean
        }
    }

    /// Whether the value is `null`.
    @inlinable public var isNull: Bool { letter == UInt8(ascii: "n") }

    /// The value, if it is a boolean.
    @inlinable public var boolean: Bool? {
        switch letter {
        case UInt8(ascii: "t"): true
        case UInt8(ascii: "f"): false
        default: nil
        }
    }

    /// The unescaped text, if it is a string; it may hold NUL.
    @inlinable public var text: Text? {
        letter == UInt8(ascii: "\"") ? text(at: index) : nil
    }

    /// The value, if it is an integer of -2^63 ..< 2^63.
    @inlinable public var signed: Int64? {
        letter == UInt8(ascii: "l") ? Int64(bitPattern: tape[index + 1]) : nil
    }

    /// The value, if it is an integer of 0 ..< 2^64.
    @inlinable public var unsigned: UInt64? {
        switch letter {
        case UInt8(ascii: "u"): tape[index + 1]
        case UInt8(ascii: "l"): UInt64(exactly: Int64(bitPattern: tape[index + 1]))
        default: nil
        }
    }

    /// The nearest double, if it is an integer or another number.
    @inlinable public var number: Double? {
        switch letter {
        case UInt8(ascii: "d"): Double(bitPattern: tape[index + 1])
        case UInt8(ascii: "l"): Double(Int64(bitPattern: tape[index + 1]))
        case UInt8(ascii: "u"): Double(tape[index + 1])
        default: nil
        }
    }

    /// The value, if it is an object.
    @inlinable public var object: JSONObject? {
        letter == UInt8(ascii: "{") ? JSONObject(value: self) : nil
    }

    /// The value, if it is a list.
    @inlinable public var array: JSONArray? {
        letter == UInt8(ascii: "[") ? JSONArray(value: self) : nil
    }
}

/// A borrowed JSON object: its members in the order of the text, duplicates included.
///
///     for (key, value) in object where key == Text("k") { ... }
public struct JSONObject: Sequence {
    /// The object as a value.
    public let value: JSONValue

    @inlinable
    init(value: JSONValue) {
        self.value = value
    }

    /// How many members it has. Complexity: O(1), or O(n) from 16,777,215 members on.
    @inlinable public var count: Int {
        let stated = Int(value.payload >> 32)
        return stated < 0xff_ffff ? stated : reduce(0) { count, _ in count + 1 }
    }

    /// The value of the first member of that name. Complexity: O(n).
    @inlinable
    public subscript(name: Text) -> JSONValue? {
        for (key, value) in self where key == name {
            return value
        }
        return nil
    }

    /// The value of the first member of that name. Complexity: O(n).
    @inlinable
    public subscript(name: StaticString) -> JSONValue? {
        self[Text(name)]
    }

    /// Walks the members.
    @inlinable
    public func makeIterator() -> Iterator {
        Iterator(object: value, index: value.index + 1, end: value.end - 1)
    }

    /// The members one after the other.
    public struct Iterator: IteratorProtocol {
        @usableFromInline let object: JSONValue
        @usableFromInline var index: Int
        @usableFromInline let end: Int

        @inlinable
        init(object: JSONValue, index: Int, end: Int) {
            self.object = object
            self.index = index
            self.end = end
        }

        /// The next member.
        @inlinable
        public mutating func next() -> (key: Text, value: JSONValue)? {
            guard index < end else { return nil }
            let member = object.value(at: index + 1)
            let key = object.text(at: index)
            index = member.end
            return (key, member)
        }
    }
}

/// A borrowed JSON list.
public struct JSONArray: Sequence {
    /// The list as a value.
    public let value: JSONValue

    @inlinable
    init(value: JSONValue) {
        self.value = value
    }

    /// How many elements it has. Complexity: O(1), or O(n) from 16,777,215 elements on.
    @inlinable public var count: Int {
        let stated = Int(value.payload >> 32)
        return stated < 0xff_ffff ? stated : reduce(0) { count, _ in count + 1 }
    }

    /// Walks the elements.
    @inlinable
    public func makeIterator() -> Iterator {
        Iterator(array: value, index: value.index + 1, end: value.end - 1)
    }

    /// The elements one after the other.
    public struct Iterator: IteratorProtocol {
        @usableFromInline let array: JSONValue
        @usableFromInline var index: Int
        @usableFromInline let end: Int

        @inlinable
        init(array: JSONValue, index: Int, end: Int) {
            self.array = array
            self.index = index
            self.end = end
        }

        /// The next element.
        @inlinable
        public mutating func next() -> JSONValue? {
            guard index < end else { return nil }
            let element = array.value(at: index)
            index = element.end
            return element
        }
    }
}
