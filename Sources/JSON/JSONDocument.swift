internal import Memory

/// A fault of a document's content, with the place: `/towers/user/layers/2/in: expected an integer, got a string`.
public struct JSONDocumentError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The JSON pointer of the faulty value; empty for the whole document.
    public let path: String
    /// What is wrong with it.
    public let fault: String

    /// Creates an error.
    public init(path: String, fault: String) {
        self.path = path
        self.fault = fault
    }

    /// Path and fault.
    public var description: String {
        path.isEmpty ? fault : "\(path): \(fault)"
    }
}

/// A JSON document of the control plane (a manifest, a header, a line of a file) that owns its bytes. It refuses
/// duplicate keys, and its accessors throw errors that name the place.
///
///     let root = try JSONDocument(bytes).root
///     try root.requireKeys(["id", "dimension"])
///     let dimension = try root.member("dimension").integer(in: 1...4096)
public final class JSONDocument {
    /// How deeply objects and lists may be nested.
    public static let maximumDepth = 64

    private var parser: JSONParser
    private let start: JSONValue

    /// Copies the text and parses it.
    public init(_ text: UnsafeRawBufferPointer) throws(JSONDocumentError) {
        let copy = UnsafeMutableRawBufferPointer.allocate(
            byteCount: text.count + JSONParser.paddingByteCount, alignment: 64)
        defer { copy.deallocate() }
        copy.copyMemory(from: text)
        do throws(JSONSyntaxError) {
            parser = try JSONParser(capacity: text.count, maximumDepth: JSONDocument.maximumDepth)
            start = try parser.parse(UnsafeRawBufferPointer(rebasing: copy[..<text.count]))
        } catch {
            throw JSONDocumentError(path: "", fault: error.description)
        }
        var keys = JSONKeySet()
        if let duplicate = keys.firstDuplicate(in: start) {
            throw JSONDocumentError(path: duplicate.pointer, fault: "this key stands twice")
        }
    }

    /// Copies a string and parses it.
    public convenience init(_ text: String) throws(JSONDocumentError) {
        let utf8 = Array(text.utf8)
        try self.init(utf8)
    }

    /// Copies bytes and parses them.
    public convenience init(_ bytes: [UInt8]) throws(JSONDocumentError) {
        // Typed throws do not pass through `withUnsafeBytes` of an array.
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { copy.deallocate() }
        copy.copyBytes(from: bytes)
        try self.init(UnsafeRawBufferPointer(copy))
    }

    /// The document's value.
    public var root: JSONNode {
        JSONNode(document: self, value: start)
    }
}

/// A value of a `JSONDocument`, which it keeps alive.
public struct JSONNode {
    private let document: JSONDocument
    /// The borrowed value; valid as long as the node's document.
    public let value: JSONValue

    init(document: JSONDocument, value: JSONValue) {
        self.document = document
        self.value = value
    }

    /// The JSON pointer of this value.
    public var path: String {
        withExtendedLifetime(document) { value.pointer }
    }

    /// An error that names this value.
    public func error(_ fault: String) -> JSONDocumentError {
        JSONDocumentError(path: path, fault: fault)
    }

    /// What the value is.
    public var kind: JSONKind { value.kind }

    /// Nil for `null`, else the node itself: `try node.member("space").unlessNull?.string()`.
    public var unlessNull: JSONNode? {
        value.isNull ? nil : self
    }

    private func expected(_ noun: String) -> JSONDocumentError {
        error("expected \(noun), got \(kind.noun)")
    }

    private func child(_ value: JSONValue) -> JSONNode {
        JSONNode(document: document, value: value)
    }

    // MARK: Objects

    private func object() throws(JSONDocumentError) -> JSONObject {
        guard let object = value.object else { throw expected("an object") }
        return object
    }

    /// The member of that name, which must exist.
    public func member(_ name: String) throws(JSONDocumentError) -> JSONNode {
        guard let member = try optionalMember(name) else {
            throw error("the key \"\(name)\" is missing")
        }
        return member
    }

    /// The member of that name, if it exists.
    public func optionalMember(_ name: String) throws(JSONDocumentError) -> JSONNode? {
        for (key, value) in try object() where key.string == name {
            return child(value)
        }
        return nil
    }

    /// All members in the order of the text.
    public func members() throws(JSONDocumentError) -> [(name: String, node: JSONNode)] {
        try object().map { ($0.key.string, child($0.value)) }
    }

    /// Refuses any other key than these, and the absence of one that is not optional.
    public func requireKeys(_ names: [String], optional: [String] = []) throws(JSONDocumentError) {
        var present: Set<String> = []
        for (key, value) in try object() {
            let name = key.string
            guard names.contains(name) || optional.contains(name) else {
                throw child(value).error("unknown key")
            }
            present.insert(name)
        }
        for name in names where !present.contains(name) {
            throw error("the key \"\(name)\" is missing")
        }
    }

    // MARK: Lists

    /// The elements of a list.
    public func elements() throws(JSONDocumentError) -> [JSONNode] {
        guard let array = value.array else { throw expected("a list") }
        return array.map(child)
    }

    /// The elements of a list of strings.
    public func strings() throws(JSONDocumentError) -> [String] {
        var result: [String] = []
        for element in try elements() {
            result.append(try element.string())
        }
        return result
    }

    /// The elements of a list of numbers.
    public func numbers() throws(JSONDocumentError) -> [Double] {
        var result: [Double] = []
        for element in try elements() {
            result.append(try element.number())
        }
        return result
    }

    // MARK: Scalars

    /// A string.
    public func string() throws(JSONDocumentError) -> String {
        guard let text = value.text else { throw expected("a string") }
        return text.string
    }

    /// An integer that fits an `Int`.
    public func integer() throws(JSONDocumentError) -> Int {
        guard let signed = value.signed else {
            throw value.unsigned == nil ? expected("an integer") : error("the integer is too large")
        }
        return Int(signed)
    }

    /// An integer within bounds.
    public func integer(in bounds: ClosedRange<Int>) throws(JSONDocumentError) -> Int {
        let integer = try integer()
        guard bounds.contains(integer) else {
            throw error("\(integer) is not within \(bounds.lowerBound) ... \(bounds.upperBound)")
        }
        return integer
    }

    /// An integer of 0 ..< 2^64.
    public func unsigned() throws(JSONDocumentError) -> UInt64 {
        guard let unsigned = value.unsigned else {
            throw value.signed == nil ? expected("an integer") : error("the integer is negative")
        }
        return unsigned
    }

    /// Any number, as the nearest double.
    public func number() throws(JSONDocumentError) -> Double {
        guard let number = value.number else { throw expected("a number") }
        return number
    }

    /// A boolean.
    public func boolean() throws(JSONDocumentError) -> Bool {
        guard let boolean = value.boolean else { throw expected("a boolean") }
        return boolean
    }
}
