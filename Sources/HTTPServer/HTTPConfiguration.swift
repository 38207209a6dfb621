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
    /// How long a worker that has nothing to do asks for events before it sleeps until one comes, in microseconds.
    public var idlePollMicros: Int
    /// Whether handlers may postpone replies (`Exchange.postpone`) and set requests aside (`Exchange.setAside`).
    public var postponesReplies: Bool
    /// Whether a reply says how long its request was with the server, from its request line to the hand-over of the reply, in
    /// milliseconds: `Server-Timing: total;dur=0.183` (<https://www.w3.org/TR/server-timing/>). Costs libmicrohttpd an allocation.
    /// Replies that libmicrohttpd writes by itself, and words before a connection is cut, do not.
    public var sendsServerTiming: Bool

    /// Describes a server; nothing is opened yet.
    public init(
        address: ListenAddress, workers: Int = 1, limits: HTTPLimits = HTTPLimits(),
        threadName: StaticString = "belfry", idlePollMicros: Int = 0, postponesReplies: Bool = false,
        sendsServerTiming: Bool = false
    ) {
        precondition(workers > 0, "a server needs a worker")
        precondition(idlePollMicros >= 0, "a worker polls for some time or none")
        self.address = address
        self.workers = workers
        self.limits = limits
        self.threadName = threadName
        self.idlePollMicros = idlePollMicros
        self.postponesReplies = postponesReplies
        self.sendsServerTiming = sendsServerTiming
    }
}
