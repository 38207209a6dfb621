import Synchronization

/// An HTTP/1.1 server: workers that each serve their own connections on one thread.
///
///     let address = try ListenAddress("127.0.0.1:8080")
///     let server = HTTPServer(configuration: HTTPConfiguration(address: address, workers: 2)) { worker in
///         let scratch = Scratch()  // made on the worker's thread, used by it alone
///         return { exchange in
///             exchange.reply.append("{\"live\":true}")
///         }
///     }
///     try server.start()
///     print("listening on", server.boundAddress!)
///     ...
///     server.drain(timeout: .seconds(10))
///
/// The handler is called once for each request whose body has arrived, and answers before it returns, unless it postpones the
/// reply or sets the request aside (`Exchange.postpone`, `Exchange.setAside`). While it runs, the worker's other connections wait; one
/// that had been idle before counts as silent meanwhile, so a handler that takes longer than `HTTPLimits.idleTimeoutSeconds` costs those
/// that wait behind it.
///
/// What is wrong with a connection or with a request's framing is answered without the handler, with a problem
/// (`HTTPProblem.bodyTooLarge` and its neighbours), and the connection is closed. Some of it libmicrohttpd 0.9.75 answers
/// by itself, with a body of HTML, or with none:
///
/// | request | answer |
/// |---|---|
/// | no version, or one that is none; a field without a colon; a chunk that is none | 400 |
/// | a Content-Length that is no number (the reply's head is sent twice) | 400 |
/// | a Content-Length or a chunk of 2^64 bytes or more | 413 |
/// | a request line longer than `HTTPLimits.connectionMemoryBytes` | 414 |
/// | header fields or trailers longer than that | 431 |
/// | HTTP/2 and later, HTTP/0.9 | 505 |
/// | no method, or thousands of query parameters | closed at once |
/// | silence, or more time than a request may take | closed |
///
/// `HeadTests` holds it to this table.
public final class HTTPServer: Sendable {
    private let configuration: HTTPConfiguration
    private let makeHandler: @Sendable (Int) -> (Exchange) -> Void
    private let state = Mutex(State.idle)

    private enum State {
        case idle
        case running(Fleet)
        case stopped(HTTPCounters)
    }

    /// Describes a server; nothing is opened yet. `makeHandler` is called once on each worker's thread, with the
    /// worker's number from 0, before that thread serves anything; what it returns stays on that thread.
    public init(
        configuration: HTTPConfiguration, makeHandler: @escaping @Sendable (Int) -> (Exchange) -> Void
    ) {
        self.configuration = configuration
        self.makeHandler = makeHandler
    }

    deinit {
        stop()
    }

    /// Listens and starts the workers; when it returns, every worker serves.
    ///
    /// - Throws: why the address cannot be served. Nothing is left open then.
    public func start() throws(HTTPServerError) {
        try state.withLock { (state) throws(HTTPServerError) in
            guard case .idle = state else { throw .startedBefore }
            state = .running(try Fleet(configuration, makeHandler: makeHandler))
        }
    }

    /// Where the server listens, with the port that the kernel picked if it was to; nil unless it runs.
    public var boundAddress: ListenAddress? {
        state.withLock { if case .running(let fleet) = $0 { fleet.address } else { nil } }
    }

    /// What the server has done so far; after its end, what it had done by then.
    public var counters: HTTPCounters {
        state.withLock {
            switch $0 {
            case .idle: HTTPCounters()
            case .running(let fleet): fleet.counters
            case .stopped(let last): last
            }
        }
    }

    /// Stops accepting, finishes the requests under way with `Connection: close`, and ends when they are answered or
    /// the time is over, whichever comes first. Connections already made are served, idle ones are closed. Blocks until
    /// the end, so it must not be called by a handler; a handler that still runs is waited for. Calling it again, or at
    /// the same time, waits for the same end.
    public func drain(timeout: Duration) {
        let (seconds, attoseconds) = timeout.components
        let nanoseconds = max(0, seconds) * 1_000_000_000 + max(0, attoseconds) / 1_000_000_000
        end(by: monotonicNanoseconds() + UInt64(nanoseconds))
    }

    /// Cuts all connections and ends. Blocks until the workers' threads have ended, so it must not be called by a
    /// handler. Idempotent.
    public func stop() {
        end(by: 0)
    }

    private func end(by deadline: UInt64) {
        let fleet = state.withLock { state -> Fleet? in
            switch state {
            case .running(let fleet): return fleet
            case .idle, .stopped:
                return nil
            }
        }
        guard let fleet else { return }
        // Without the lock, so that counters can be read meanwhile.
        fleet.end(by: deadline)
        state.withLock { $0 = .stopped(fleet.counters) }
    }
}
