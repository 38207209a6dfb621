public import Memory
internal import Towers

/// A decoded `/v1/embed` request: one user, or a batch. Its texts point into the parser that decoded it.
public struct EmbedQuery {
    /// Echoed in the reply.
    public var requestID: Text?
    /// The model asked for; nil means `default`.
    public var model: Text?
    /// Whether the request was a list, even one of a single user; the reply has the same form.
    public var isBatch = false
    /// Reused from request to request: only the first `userCount` belong to this one.
    public private(set) var users: [UserQuery] = []
    /// How many users the request has.
    public private(set) var userCount = 0
    /// The embedding space the caller insists on.
    public var requiredSpaceID: Text?
    /// Whether a feature the snapshot does not know is an error.
    public var strict = false

    /// Creates the defaults.
    public init() {}

    /// A user of a batch with more values than these gives their memory back: 256 users that each keep what one
    /// request may hold would be 100 MB a worker. 24 bytes a value; the first user keeps all.
    private static let keptValueCount = 1024

    /// Back to the defaults, keeping the memory of users of ordinary size.
    public mutating func removeAll() {
        requestID = nil
        model = nil
        isBatch = false
        for index in 0..<userCount {
            if index > 0 && users[index].features.values.capacity > EmbedQuery.keptValueCount {
                users[index] = UserQuery()
            } else {
                users[index].removeAll()
            }
        }
        userCount = 0
        requiredSpaceID = nil
        strict = false
    }

    /// Adds an empty user, for `body` to fill.
    @inline(__always)
    public mutating func appendUser<Failure: Error>(
        _ body: (inout UserQuery) throws(Failure) -> Void
    ) throws(Failure) {
        if userCount == users.count {
            users.append(UserQuery())
        }
        userCount += 1
        try body(&users[userCount - 1])
    }
}

/// A decoded `/v1/score` request. Its texts point into the parser that decoded it.
public struct ScoreQuery {
    /// Echoed in the reply.
    public var requestID: Text?
    /// The model asked for; nil means `default`.
    public var model: Text?
    /// The user and the context.
    public var user = UserQuery()
    /// The items to score, in the order of the reply.
    public var items: [RequestedID] = []
    /// The embedding space the caller insists on.
    public var requiredSpaceID: Text?
    /// Whether a feature the snapshot does not know is an error.
    public var strict = false

    /// Creates the defaults.
    public init() {}

    /// Back to the defaults, keeping the memory.
    public mutating func removeAll() {
        requestID = nil
        model = nil
        user.removeAll()
        items.removeAll(keepingCapacity: true)
        requiredSpaceID = nil
        strict = false
    }
}
