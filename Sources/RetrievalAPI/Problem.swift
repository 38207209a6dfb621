internal import JSON
public import Memory

/// The one place where errors become HTTP: every error of a request has a kind here, a kind has a status, and clients
/// may rely on its `type` (RFC 9457).
///
///     {"type":"urn:belfry:problem:unknown-field","title":"The request has a field that does not exist","status":400,
///      "detail":"/user/nmae is not a field of this request","field":"/user/nmae"}
public struct Problem: Error, Equatable, Sendable {
    /// What went wrong, for programs.
    public let kind: Kind
    /// What went wrong in this request, for people.
    public var detail: String
    /// The JSON pointer of the faulty field in the body.
    public var field: String?
    /// The bound that the request exceeds.
    public var limit: Int?
    /// The feature that the snapshot refuses.
    public var feature: String?

    /// The methods that the path takes, where the problem is that.
    public var allowed: Route.Methods?

    /// Creates a problem.
    public init(_ kind: Kind, _ detail: String, field: String? = nil, limit: Int? = nil, feature: String? = nil) {
        self.kind = kind
        self.detail = detail
        self.field = field
        self.limit = limit
        self.feature = feature
    }

    /// The HTTP status.
    public var status: Int { kind.description.status }

    /// Appends the problem as a JSON object.
    public func write(to writer: inout ByteWriter) {
        writer.append("{\"type\":\"urn:belfry:problem:")
        writer.append(text: kind.rawValue)
        writer.append("\",\"title\":")
        writer.appendJSON(kind.description.title)
        writer.append(",\"status\":")
        writer.appendJSON(status)
        writer.append(",\"detail\":")
        writer.appendJSON(detail)
        if let field {
            writer.append(",\"field\":")
            writer.appendJSON(field)
        }
        if let limit {
            writer.append(",\"limit\":")
            writer.appendJSON(limit)
        }
        if let feature {
            writer.append(",\"feature\":")
            writer.appendJSON(feature)
        }
        writer.append("}")
    }
}

extension Problem {
    /// The kinds; the raw value ends the `type` URN and never changes.
    public enum Kind: String, CaseIterable, Sendable {
        case emptyBody = "empty-body"
        case malformedJSON = "malformed-json"
        case invalidUTF8 = "invalid-utf8"
        case numberOutOfRange = "number-out-of-range"
        case nestedTooDeeply = "nested-too-deeply"
        case trailingContent = "trailing-content"
        case duplicateKey = "duplicate-key"
        case unknownField = "unknown-field"
        case missingField = "missing-field"
        case conflictingFields = "conflicting-fields"
        case wrongType = "wrong-type"
        case malformedPath = "malformed-path"

        case unknownPath = "unknown-path"
        case unknownModel = "unknown-model"
        case unknownItem = "unknown-item"
        case unknownSnapshot = "unknown-snapshot"
        case methodNotAllowed = "method-not-allowed"
        case notAcceptable = "not-acceptable"
        case textIDs = "text-ids"
        case spaceMismatch = "space-mismatch"
        case nothingBefore = "nothing-before"
        case bodyTooLarge = "body-too-large"
        case unsupportedMediaType = "unsupported-media-type"
        case unsupportedContentEncoding = "unsupported-content-encoding"

        case outOfRange = "out-of-range"
        case tooMany = "too-many"
        case textLength = "text-length"
        case unknownFormat = "unknown-format"
        case unknownFeature = "unknown-feature"
        case featureType = "feature-type"
        case featureRange = "feature-range"
        case idType = "id-type"
        case searchParameter = "search-parameter"
        case snapshotRefused = "snapshot-refused"

        case internalError = "internal-error"
        case notBuilt = "not-built"
        case notReady = "not-ready"
        case stateUnavailable = "state-unavailable"
        case deadlineExceeded = "deadline-exceeded"

        /// The status and the title, which are the same for every problem of the kind.
        public var description: (status: Int, title: String) {
            switch self {
            case .emptyBody: (400, "The request has no body")
            case .malformedJSON: (400, "The body is not JSON")
            case .invalidUTF8: (400, "The body is not UTF-8")
            case .numberOutOfRange: (400, "The body has a number that fits neither 64 bits nor a double")
            case .nestedTooDeeply: (400, "The body's objects and lists are nested too deeply")
            case .trailingContent: (400, "Something follows the body's JSON value")
            case .duplicateKey: (400, "A key stands twice in one object")
            case .unknownField: (400, "The request has a field that does not exist")
            case .missingField: (400, "The request lacks a required field")
            case .conflictingFields: (400, "The request has two fields that exclude each other")
            case .wrongType: (400, "A field has another JSON type than it takes")
            case .malformedPath: (400, "The path is not percent-encoded correctly")
            case .unknownPath: (404, "There is nothing at this path")
            case .unknownModel: (404, "The model is not served")
            case .unknownItem: (404, "The snapshot does not have the item")
            case .unknownSnapshot: (404, "No such snapshot is published")
            case .methodNotAllowed: (405, "The path does not take this method")
            case .notAcceptable: (406, "The reply is of a media type that the request does not accept")
            case .textIDs: (406, "Ids of the serving snapshot are strings, and a binary reply holds numbers")
            case .spaceMismatch: (409, "The serving snapshot belongs to another embedding space")
            case .nothingBefore: (409, "No snapshot served before this one")
            case .bodyTooLarge: (413, "The body is too large")
            case .unsupportedMediaType: (415, "Bodies are application/json")
            case .unsupportedContentEncoding: (415, "Bodies are not compressed")
            case .outOfRange: (422, "A number is out of range")
            case .tooMany: (422, "A list or an object has too many elements")
            case .textLength: (422, "A text is too short or too long")
            case .unknownFormat: (422, "The reply format does not exist")
            case .unknownFeature: (422, "The serving snapshot does not know a feature")
            case .featureType: (422, "A feature has another type than the serving snapshot takes")
            case .featureRange: (422, "A feature's number is too large for the model")
            case .idType: (422, "Ids of the serving snapshot are strings")
            case .searchParameter: (422, "A search parameter does not fit the serving index")
            case .snapshotRefused: (422, "The snapshot was refused; what served before goes on serving")
            case .internalError: (500, "The server failed")
            case .notBuilt: (501, "A field's capability is not built yet")
            case .notReady: (503, "The server does not take requests")
            case .stateUnavailable: (503, "What must be remembered cannot be written")
            case .deadlineExceeded: (504, "The request's time was over before anything was found")
            }
        }
    }
}

extension Problem {
    /// What is wrong with a body.
    public init(_ error: RequestError) {
        switch error {
        case .syntax(let syntax): self.init(syntax)
        case .duplicateKey(let field):
            self.init(.duplicateKey, "\(field) stands twice", field: field)
        case .unknownField(let field):
            self.init(.unknownField, "\(field) is not a field of this request", field: field)
        case .missingField(let field):
            self.init(.missingField, "\(field) is missing", field: field)
        case .conflictingFields(let field, let other):
            self.init(.conflictingFields, "\(field) cannot stand beside \(other)", field: field)
        case .wrongType(let field, let expected, let got):
            let place = field.isEmpty ? "the body" : field
            self.init(.wrongType, "\(place): expected \(expected.rawValue), got \(got.noun)", field: field)
        case .negativeID(let field):
            self.init(
                .wrongType, "\(field): expected \(RequestError.Expectation.identifier.rawValue), got a negative one",
                field: field)
        case .outOfRange(let field, let bounds):
            self.init(
                .outOfRange, "\(field) must be \(bounds.lowerBound) to \(bounds.upperBound)", field: field,
                limit: bounds.upperBound)
        case .notWithin(let field, let maximum):
            self.init(
                .outOfRange, "\(field) must be above 0 and at most \(maximum)", field: field, limit: maximum)
        case .textLength(let field, let bounds):
            self.init(
                .textLength, "\(field) must have \(bounds.lowerBound) to \(bounds.upperBound) bytes", field: field,
                limit: bounds.upperBound)
        case .tooMany(let field, let limit):
            self.init(.tooMany, "\(field) exceeds the limit of \(limit)", field: field, limit: limit)
        case .unknownFormat(let field):
            self.init(.unknownFormat, "\(field) must be \"rows\", \"columns\" or \"binary\"", field: field)
        case .unknownModel(let field):
            self.init(.unknownModel, "only the model \"default\" is served", field: field)
        case .notBuilt(let field):
            self.init(.notBuilt, "this version does not have what \(field) asks for", field: field)
        }
    }

    private init(_ error: JSONSyntaxError) {
        let kind: Kind =
            switch error.kind {
            case .empty: .emptyBody
            case .malformed: .malformedJSON
            case .invalidUTF8: .invalidUTF8
            case .numberOutOfRange: .numberOutOfRange
            case .tooDeep: .nestedTooDeeply
            case .trailingContent: .trailingContent
            case .tooLarge: .bodyTooLarge
            case .outOfMemory: .internalError
            }
        self.init(kind, error.description, limit: error.kind == .tooDeep ? Limits.nestingDepth : nil)
    }
}
