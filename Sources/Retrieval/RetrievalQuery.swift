public import Memory
public import Towers

/// An id as a request wrote it. A catalogue of u64 ids takes both forms, one of string ids takes text only.
public enum RequestedID {
    case text(Text)
    case number(UInt64)
}

/// The user of a request: who, and what is known of them.
public struct UserQuery {
    /// `user.id`; a request may leave it out.
    public var id: RequestedID?
    /// `user.features` and `context`.
    public var features = FeatureValues()

    /// Creates an empty user.
    public init() {}

    /// Forgets the request and keeps the memory.
    public mutating func removeAll() {
        id = nil
        features.removeAll()
    }
}

/// How a reply lists its items.
public enum ReplyFormat: Sendable {
    /// A list of objects with id and score.
    case rows
    /// A list of ids and one of scores.
    case columns
    /// 64-bit ids and 32-bit scores behind a JSON head.
    case binary
}

/// A decoded `/v1/retrieve` request. Its texts point into the parser that decoded it.
public struct RetrievalQuery {
    /// Echoed in the reply.
    public var requestID: Text?
    /// The model asked for; nil means `default`.
    public var model: Text?
    /// The user and the context.
    public var user = UserQuery()
    /// How many items are wanted.
    public var k = 100
    /// Items that must not be in the reply.
    public var exclude: [RequestedID] = []
    /// `search.ef`, for graphs.
    public var ef: Int?
    /// `search.nprobe`, for inverted files.
    public var nprobe: Int?
    /// `search.exact`: compare with every item.
    public var exact = false
    /// The embedding space the caller insists on.
    public var requiredSpaceID: Text?
    /// `format`.
    public var format = ReplyFormat.rows
    /// `timeout_ms`: how long after the request's first byte its answer is of use, in milliseconds; above 0.
    public var timeoutMillis: Double?
    /// Whether a feature the snapshot does not know is an error.
    public var strict = false
    /// Whether the reply explains itself.
    public var explain = false

    /// Creates the defaults.
    public init() {}

    /// Back to the defaults, keeping the memory.
    public mutating func removeAll() {
        requestID = nil
        model = nil
        user.removeAll()
        k = 100
        exclude.removeAll(keepingCapacity: true)
        ef = nil
        nprobe = nil
        exact = false
        requiredSpaceID = nil
        format = .rows
        timeoutMillis = nil
        strict = false
        explain = false
    }
}
