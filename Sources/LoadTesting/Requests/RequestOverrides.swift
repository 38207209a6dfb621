internal import JSON

/// What a load test sets in every request, whatever the requests themselves say.
public struct RequestOverrides: Sendable, Equatable {
    /// How many items to ask for.
    public var k: Int?
    /// The width of a graph's walk, `search.ef`.
    public var ef: Int?
    /// How many inverted lists are read, `search.nprobe`.
    public var nprobe: Int?
    /// Whether the search is exact, `search.exact`.
    public var exact: Bool?
    /// `rows`, `columns` or `binary`.
    public var format: String?

    /// Creates overrides; what is nil stays as the requests have it.
    public init(
        k: Int? = nil, ef: Int? = nil, nprobe: Int? = nil, exact: Bool? = nil, format: String? = nil
    ) {
        self.k = k
        self.ef = ef
        self.nprobe = nprobe
        self.exact = exact
        self.format = format
    }

    /// Whether they change nothing.
    public var isEmpty: Bool { self == RequestOverrides() }
}

extension LoadRequest {
    /// The same request with some fields replaced, all others as they were and in their order.
    ///
    /// Throws `LoadTestError.failed` if the body is no request, `.usage` if k is out of bounds.
    public func overriding(_ overrides: RequestOverrides) throws(LoadTestError) -> LoadRequest {
        if overrides.isEmpty { return self }
        if let k = overrides.k, !RequestFacts.kBounds.contains(k) {
            throw .usage("k is \(k), expected 1 ... \(RequestFacts.kBounds.upperBound)")
        }
        return try rewriting { body in
            if let k = overrides.k { body.set("k", .signed(Int64(k))) }
            if overrides.ef != nil || overrides.nprobe != nil || overrides.exact != nil {
                var search = body["search"] ?? .object([])
                if let ef = overrides.ef { search.set("ef", .signed(Int64(ef))) }
                if let nprobe = overrides.nprobe { search.set("nprobe", .signed(Int64(nprobe))) }
                if let exact = overrides.exact { search.set("exact", .boolean(exact)) }
                body.set("search", search)
            }
            if let format = overrides.format { body.set("format", .string(format)) }
        }
    }

    /// The same request answered by exact search, in rows: without `ef`, `nprobe` and a time limit.
    ///
    /// Throws `LoadTestError.failed` if the body is no request.
    public func repeatingExactly() throws(LoadTestError) -> LoadRequest {
        try rewriting { body in
            body.set("search", .object([.init(name: "exact", value: .boolean(true))]))
            body.set("format", .string("rows"))
            body.set("timeout_ms", nil)
        }
    }

    private func rewriting(_ change: (inout BodyValue) -> Void) throws(LoadTestError) -> LoadRequest {
        var value: BodyValue
        do {
            value = try BodyValue(parsing: body)
        } catch {
            throw .failed("the body of a request: \(error)")
        }
        do throws(RequestFacts.Fault) {
            _ = try RequestFacts(value)
            change(&value)
            return try LoadRequest(value)
        } catch {
            throw .failed("the body of a request: \(error.text)")
        }
    }
}
