public import JSON

/// Why a body is no request. `field` is the JSON pointer of the fault. `Problem` gives each its status.
public enum RequestError: Error, Equatable, Sendable {
    /// Not JSON.
    case syntax(JSONSyntaxError)
    /// A key stands twice in its object.
    case duplicateKey(field: String)
    /// No such field in this request.
    case unknownField(field: String)
    /// A field that must be there.
    case missingField(field: String)
    /// Two fields that exclude each other.
    case conflictingFields(field: String, other: String)
    /// Another JSON type than the field takes.
    case wrongType(field: String, expected: Expectation, got: JSONKind)
    /// A negative number as an id.
    case negativeID(field: String)
    /// An integer outside the bounds of its field.
    case outOfRange(field: String, bounds: ClosedRange<Int>)
    /// A number that is not above 0 and at most `maximum`.
    case notWithin(field: String, maximum: Int)
    /// A text that is too short or too long, in bytes.
    case textLength(field: String, bounds: ClosedRange<Int>)
    /// A list or an object with more elements than the limit.
    case tooMany(field: String, limit: Int)
    /// A `format` that does not exist.
    case unknownFormat(field: String)
    /// A `model` that is not served.
    case unknownModel(field: String)
    /// A field of the contract whose capability is not built yet.
    case notBuilt(field: String)

    /// What a field takes.
    public enum Expectation: String, Sendable {
        case object = "an object"
        case array = "a list"
        case string = "a string"
        case integer = "an integer"
        case number = "a number"
        case boolean = "a boolean"
        case identifier = "a string or a non-negative integer"
    }
}
