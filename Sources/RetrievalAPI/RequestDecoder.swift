public import JSON
internal import Memory
public import Retrieval
internal import Towers

/// Turns bodies into queries. A worker owns one; it allocates when it is created and when a query's lists grow, never
/// in steady state. The texts of a query point into the decoder: they are valid until it decodes again.
///
///     let decoder = try RequestDecoder(maximumBodyByteCount: HTTPLimits.bodyByteCount)
///     try decoder.decodeRetrieve(body, into: &query)
///
/// Whatever is malformed (400) is reported before anything that is merely refused (404, 422, 501), and within either
/// group what stands first.
public final class RequestDecoder {
    private var parser: JSONParser
    private var keys = JSONKeySet()
    /// The first refusal of the current request.
    var refusal: RequestError?

    /// Allocates for bodies of up to so many bytes. A body needs `JSONParser.paddingByteCount` readable bytes behind it.
    public init(maximumBodyByteCount: Int) throws(JSONSyntaxError) {
        parser = try JSONParser(capacity: maximumBodyByteCount, maximumDepth: Limits.nestingDepth)
    }

    /// Decodes the body of `/v1/retrieve`.
    public func decodeRetrieve(_ body: UnsafeRawBufferPointer, into query: inout RetrievalQuery) throws(RequestError) {
        try decodeRetrieve(try parse(body), into: &query)
    }

    /// Decodes a request that has been parsed, and whose keys are known to be unique: a line of `golden.jsonl` holds one.
    public func decodeRetrieve(_ request: JSONValue, into query: inout RetrievalQuery) throws(RequestError) {
        refusal = nil
        guard let object = request.object else { throw wrongType(request, .object) }
        try decodeRetrieve(object, into: &query)
    }

    private func decodeRetrieve(_ request: JSONObject, into query: inout RetrievalQuery) throws(RequestError) {
        query.removeAll()
        var hasUser = false
        for (name, value) in request {
            guard let field = RequestField.named(name, among: RequestField.ofRetrieve) else {
                throw .unknownField(field: value.pointer)
            }
            switch field {
            case .user:
                hasUser = true
                try decodeUser(value, into: &query.user)
            case .context: try decodeFeatures(value, source: .context, into: &query.user.features)
            case .k: query.k = try integer(value, in: Limits.k) ?? query.k
            case .requestID: query.requestID = try requestID(value)
            case .exclude: try decodeIDs(value, maximumCount: Limits.excludedIDCount, into: &query.exclude)
            case .search: try decodeSearch(value, into: &query)
            case .format: query.format = try format(value)
            case .explain: query.explain = try boolean(value)
            case .strict: query.strict = try boolean(value)
            case .model: query.model = try model(value)
            case .requiredSpaceID: query.requiredSpaceID = try string(value)
            case .filter: try checkFilter(value)
            case .timeout: query.timeoutMillis = try timeout(value)
            case .attributes: try checkAttributes(value)
            case .requests, .items: preconditionFailure("not a field of /v1/retrieve")
            }
        }
        guard hasUser else { throw .missingField(field: "/user") }
        if let refusal { throw refusal }
    }

    /// Decodes the body of `/v1/embed`.
    public func decodeEmbed(_ body: UnsafeRawBufferPointer, into query: inout EmbedQuery) throws(RequestError) {
        query.removeAll()
        let request = try parse(body)
        var single: JSONValue?
        var hasUser = false
        for (name, value) in request {
            guard let field = RequestField.named(name, among: RequestField.ofEmbed) else {
                throw .unknownField(field: value.pointer)
            }
            switch field {
            case .user:
                hasUser = true
                single = value
            case .context: single = value
            case .requests:
                query.isBatch = true
                try decodeEmbedBatch(value, into: &query)
            case .requestID: query.requestID = try requestID(value)
            case .strict: query.strict = try boolean(value)
            case .model: query.model = try model(value)
            case .requiredSpaceID: query.requiredSpaceID = try string(value)
            default: preconditionFailure("not a field of /v1/embed")
            }
        }
        if query.isBatch {
            if let single { throw .conflictingFields(field: single.pointer, other: "/requests") }
        } else {
            guard hasUser else { throw .missingField(field: "/user") }
            try query.appendUser { user throws(RequestError) in
                for (name, value) in request {
                    switch RequestField.named(name, among: RequestField.ofEmbedElement) {
                    case .user: try decodeUser(value, into: &user)
                    case .context: try decodeFeatures(value, source: .context, into: &user.features)
                    default: continue
                    }
                }
            }
        }
        if let refusal { throw refusal }
    }

    private func decodeEmbedBatch(_ value: JSONValue, into query: inout EmbedQuery) throws(RequestError) {
        guard let elements = value.array else { throw wrongType(value, .array) }
        guard elements.count <= Limits.embedUserCount else {
            return refuse(.tooMany(field: value.pointer, limit: Limits.embedUserCount))
        }
        for element in elements {
            guard let object = element.object else { throw wrongType(element, .object) }
            var hasUser = false
            try query.appendUser { user throws(RequestError) in
                for (name, value) in object {
                    switch RequestField.named(name, among: RequestField.ofEmbedElement) {
                    case .user:
                        hasUser = true
                        try decodeUser(value, into: &user)
                    case .context: try decodeFeatures(value, source: .context, into: &user.features)
                    default: throw .unknownField(field: value.pointer)
                    }
                }
            }
            guard hasUser else { throw .missingField(field: element.pointer + "/user") }
        }
    }

    /// Decodes the body of `/v1/score`.
    public func decodeScore(_ body: UnsafeRawBufferPointer, into query: inout ScoreQuery) throws(RequestError) {
        query.removeAll()
        let request = try parse(body)
        var hasUser = false
        var hasItems = false
        for (name, value) in request {
            guard let field = RequestField.named(name, among: RequestField.ofScore) else {
                throw .unknownField(field: value.pointer)
            }
            switch field {
            case .user:
                hasUser = true
                try decodeUser(value, into: &query.user)
            case .context: try decodeFeatures(value, source: .context, into: &query.user.features)
            case .items:
                hasItems = true
                try decodeIDs(value, maximumCount: Limits.scoredItemCount, into: &query.items)
            case .requestID: query.requestID = try requestID(value)
            case .strict: query.strict = try boolean(value)
            case .model: query.model = try model(value)
            case .requiredSpaceID: query.requiredSpaceID = try string(value)
            default: preconditionFailure("not a field of /v1/score")
            }
        }
        guard hasUser else { throw .missingField(field: "/user") }
        guard hasItems else { throw .missingField(field: "/items") }
        if let refusal { throw refusal }
    }

    private func parse(_ body: UnsafeRawBufferPointer) throws(RequestError) -> JSONObject {
        refusal = nil
        let root: JSONValue
        do throws(JSONSyntaxError) {
            root = try parser.parse(body)
        } catch {
            throw .syntax(error)
        }
        guard let request = root.object else { throw wrongType(root, .object) }
        if let duplicate = keys.firstDuplicate(in: root) {
            throw .duplicateKey(field: duplicate.pointer)
        }
        return request
    }

    /// Remembers the request's first refusal and lets decoding go on: a fault behind it is still a 400.
    func refuse(_ error: @autoclosure () -> RequestError) {
        if refusal == nil { refusal = error() }
    }

    func wrongType(_ value: JSONValue, _ expected: RequestError.Expectation) -> RequestError {
        .wrongType(field: value.pointer, expected: expected, got: value.kind)
    }
}
