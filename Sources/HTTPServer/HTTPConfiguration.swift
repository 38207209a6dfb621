/// What an `HTTPServer` is started with.
public struct HTTPConfiguration: Sendable {
    /// Where to listen.
    public var address: ListenAddress
    /// How many workers serve it: threads, each with a daemon and a socket of its own.
    public var workers: Int
    /// What a connection may do.
    public var limits: HTTPLimits
    /// The workers' threads are called this, a hyphen and the worker's number; Linux shows 15 bytes of it.
    public var threadName: StaticString
    /// Whether handlers may postpone replies (`Exchange.postpone`).
    public var postponesReplies: Bool

    /// Describes a server; nothing is opened yet.
    public init(
        address: ListenAddress, workers: Int = 1, limits: HTTPLimits = HTTPLimits(),
        threadName: StaticString = "belfry", postponesReplies: Bool = false
    ) {
        precondition(workers > 0, "a server needs a worker")
        self.address = address
        self.workers = workers
        self.limits = limits
        self.threadName = threadName
        self.postponesReplies = postponesReplies
    }
}
