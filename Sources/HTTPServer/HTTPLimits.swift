/// What a connection may do, each limit with its reason. All of them are held by the server itself or by
/// libmicrohttpd, before a handler runs.
public struct HTTPLimits: Sendable, Equatable {
    /// Largest request body in bytes that reaches a handler; a larger one is answered with 413. A retrieve request
    /// that uses every limit of the contract (10,000 ids to exclude) stays under a quarter of it.
    public var bodyBytesMax = 1 << 20

    /// How many bytes of a body that is refused are read and thrown away, so that a client that writes all before it
    /// reads gets to see the 413 instead of a reset. Past it the connection is cut: the work for a client that never
    /// ends must be bounded.
    public var discardBytesMax = 16 << 20

    /// Connections that one worker serves. One more is accepted and answered with 503 and `Retry-After`. At most
    /// this times `bodyBytesMax` is held by bodies under way, 1 GiB with both defaults. The process needs as many
    /// descriptors (`RLIMIT_NOFILE`).
    public var connectionsPerWorkerMax = 1024

    /// How many connections beyond `connectionsPerWorkerMax` one worker holds only to refuse them. When these are
    /// used up too, libmicrohttpd stops accepting and newcomers wait in the kernel's queue.
    public var refusalsPerWorkerMax = 64

    /// How long, in whole seconds, a connection that is to be refused may take to send its request. Short, because it
    /// holds one of `refusalsPerWorkerMax` places.
    public var refusalTimeoutSeconds = 2

    /// Memory of one connection in bytes: request line, header fields, a window of the body and the reply's head
    /// share it, so it bounds the size of a request's head. libmicrohttpd answers what does not fit with 414 or 431.
    public var connectionMemoryBytes = 32 << 10

    /// Silence after which a connection is closed, in whole seconds (libmicrohttpd knows no finer ones). It cuts
    /// clients that send half a request and wait, and idle keep-alive connections alike; it is longer than the 60 s
    /// after which common proxies drop their idle connections, so that the proxy closes first and no request meets a
    /// closing connection.
    public var idleTimeoutSeconds = 75

    /// Time a request may take from its request line to its last body byte, in whole seconds. Without it a client that
    /// sends one byte a minute is never silent and keeps its place for ever.
    public var receiveTimeoutSeconds = 30

    /// Time a client may take to read a reply, in whole seconds. A client that reads a few bytes now and then is never
    /// silent either; ten seconds would do for the largest reply on a slow line.
    public var sendTimeoutSeconds = 30

    /// The kernel's queue of connections not yet accepted, per worker. The system's `net.core.somaxconn` caps it.
    public var backlog = 1024

    /// Exchanges (a body's and a reply's memory each) that one worker keeps for reuse. Requests under way beyond it
    /// allocate, and their memory is given back: a burst must not occupy memory for ever.
    public var exchangesKeptPerWorker = 64

    /// What clients that are refused with 503 are told to wait, in seconds (`Retry-After`, RFC 9110, 10.2.3).
    public var retryAfterSeconds = 1

    /// The defaults above.
    public init() {}
}
