internal import CJSON

/// Why a text is not a JSON document, and where.
public struct JSONSyntaxError: Error, Equatable, Sendable {
    /// The kinds of fault.
    public enum Kind: Sendable {
        /// There is no value at all.
        case empty
        /// Not JSON.
        case malformed
        /// The bytes are not UTF-8.
        case invalidUTF8
        /// A number that is neither an integer of -2^63 ..< 2^64 nor a finite double.
        case numberOutOfRange
        /// Objects and lists are nested more deeply than the parser allows.
        case tooDeep
        /// The text is longer than the parser's capacity.
        case tooLarge
        /// Something follows the document's value.
        case trailingContent
        /// No memory; only when a parser is created.
        case outOfMemory
    }

    /// What is wrong.
    public let kind: Kind
    /// The byte at which it is wrong, where known.
    public let offset: Int?

    /// Creates an error.
    public init(_ kind: Kind, offset: Int? = nil) {
        self.kind = kind
        self.offset = offset
    }
}

/// A JSON parser with all the memory it will ever use. A worker owns one.
///
///     var parser = try JSONParser(capacity: 1 << 20, maximumDepth: 16)
///     let root = try parser.parse(body)        // `body` has 64 readable bytes behind it
///     let k = root.object?["k"]?.unsigned
///
/// What `parse` returns points into the parser: it is valid until the next `parse` and no longer than the parser.
public struct JSONParser: ~Copyable {
    /// How many bytes must be readable behind a text. Their content does not matter.
    public static let paddingByteCount = Int(CJSON_PADDING)

    private let parser: OpaquePointer

    /// Allocates what texts of up to `capacity` bytes need: about 12 bytes for each, touched as texts get longer.
    /// `maximumDepth` is how many objects and lists may be open at a time.
    public init(capacity: Int, maximumDepth: Int) throws(JSONSyntaxError) {
        precondition(capacity >= 0 && maximumDepth > 0)
        guard let parser = cjson_parser_new(capacity, maximumDepth) else {
            throw JSONSyntaxError(.outOfMemory)
        }
        self.parser = parser
    }

    deinit {
        cjson_parser_free(parser)
    }

    /// Parses one JSON text and allocates nothing. The text is validated as a whole; duplicate keys are kept, see
    /// `JSONKeySet`.
    public mutating func parse(_ text: UnsafeRawBufferPointer) throws(JSONSyntaxError) -> JSONValue {
        var document = cjson_document()
        var offset: Int64 = 0
        let bytes = text.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let code = cjson_parser_parse(parser, bytes, text.count, &document, &offset)
        guard code == CJSON_OK else {
            throw JSONSyntaxError(
                JSONSyntaxError.Kind(code), offset: offset == CJSON_UNKNOWN_OFFSET ? nil : Int(offset))
        }
        // The two are set whenever the code is CJSON_OK.
        return JSONValue(tape: document.tape!, strings: document.strings!, index: 1)
    }
}

extension JSONSyntaxError.Kind {
    init(_ code: cjson_code) {
        switch code {
        case CJSON_EMPTY: self = .empty
        case CJSON_INVALID_UTF8: self = .invalidUTF8
        case CJSON_NUMBER_OUT_OF_RANGE: self = .numberOutOfRange
        case CJSON_TOO_DEEP: self = .tooDeep
        case CJSON_TOO_LARGE: self = .tooLarge
        case CJSON_TRAILING_CONTENT: self = .trailingContent
        case CJSON_OUT_OF_MEMORY: self = .outOfMemory
        default: self = .malformed
        }
    }
}

extension JSONSyntaxError: CustomStringConvertible {
    /// The fault in words, such as `malformed JSON at byte 17`.
    public var description: String {
        let fault =
            switch kind {
            case .empty: "no JSON value"
            case .malformed: "malformed JSON"
            case .invalidUTF8: "invalid UTF-8"
            case .numberOutOfRange: "a number that fits neither 64 bits nor a double"
            case .tooDeep: "objects and lists nested too deeply"
            case .tooLarge: "a JSON text that is too long"
            case .trailingContent: "content after the JSON value"
            case .outOfMemory: "no memory for a JSON parser"
            }
        return offset.map { "\(fault) at byte \($0)" } ?? fault
    }
}
