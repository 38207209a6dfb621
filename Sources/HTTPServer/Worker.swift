import CMicrohttpd
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One thread that serves one listening socket with one libmicrohttpd daemon.
///
/// The daemon has no thread of its own: the worker's thread calls it in a loop. So all callbacks, the handler and the
/// drain run on one thread, without locks, and what a thread needs before its first request can be done on it.
///
/// `@unchecked Sendable`: others touch only `counters` and `stopsAt`, which are atomic, and what is immutable;
/// everything else belongs to the thread once `start()` has created it.
final class Worker: @unchecked Sendable {
    let limits: HTTPLimits
    let counters = WorkerCounters()
    var handler: (Exchange) -> Void = { _ in }
    var connections: [Connection] = []
    var admittedCount = 0
    var callbackCount = 0
    /// How many requests wait for their handler to be called again.
    var postponedCount = 0
    /// Connections whose requests were set aside, first come first served.
    var aside: [Connection] = []
    let suspends: Bool
    let sendsServerTiming: Bool
    /// The last round is over.
    var hasEnded = false
    /// When the first callback of the current round came, in nanoseconds of CLOCK_MONOTONIC; 0 before it. What is
    /// served in a round had arrived when the round began.
    var roundBeganAt: UInt64 = 0

    private let number: Int
    private let name: StaticString
    private let idlePollNanoseconds: UInt64
    private let socket: Int32
    private let makeHandler: @Sendable (Int) -> (Exchange) -> Void
    private var daemon: OpaquePointer?
    private var thread: pthread_t?
    private var isReady = sem_t()
    private var exchanges: [Exchange] = []  // at rest; the last one used is the next one used

    /// When to stop though requests are under way, in nanoseconds of CLOCK_MONOTONIC. `running`: not yet asked to.
    private let stopsAt = Atomic<UInt64>(running)
    private static let running = UInt64.max
    private var isDraining = false
    /// Whether replies from now on are the last ones of their connections.
    var isEnding: Bool { stopsAt.load(ordering: .relaxed) != Self.running }

    /// How long the loop waits for events before it looks whether it is to stop, in milliseconds.
    private static let tickMillis: Int32 = 100
    private static let watchTickMillis: Int32 = 5

    /// Rounds of the loop in one second without a callback and without a wait, beyond which it spins.
    private static let idleRoundsMax = 1000

    /// What the loop did since it last looked for connections to end.
    private struct Rounds {
        var sweptAt: UInt64 = 0
        var idleCount = 0  // rounds without a callback
        var hasRested = false  // one of those had nothing more to do and waited
    }
    private var rounds = Rounds()

    init(
        number: Int, socket: Int32, configuration: HTTPConfiguration,
        makeHandler: @escaping @Sendable (Int) -> (Exchange) -> Void
    ) {
        self.number = number
        self.socket = socket
        name = configuration.threadName
        idlePollNanoseconds = UInt64(configuration.idlePollMicros) * 1000
        limits = configuration.limits
        suspends = configuration.postponesReplies
        sendsServerTiming = configuration.sendsServerTiming
        self.makeHandler = makeHandler
        exchanges.reserveCapacity(limits.exchangesKeptPerWorker)
        connections.reserveCapacity(limits.connectionsPerWorkerMax + limits.refusalsPerWorkerMax)
        sem_init(&isReady, 0, 0)
    }

    deinit {
        sem_destroy(&isReady)
    }

    /// Starts the daemon and the thread, and returns when the thread has made its handler.
    func start() throws(HTTPServerError) {
        var options = belfry_http_options()
        options.listen_socket = socket
        options.connection_limit = UInt32(limits.connectionsPerWorkerMax + limits.refusalsPerWorkerMax)
        options.connection_memory = limits.connectionMemoryBytes
        options.idle_timeout_seconds = UInt32(limits.idleTimeoutSeconds)
        options.suspends = suspends ? 1 : 0
        options.context = Unmanaged.passUnretained(self).toOpaque()
        setCallbacks(&options)
        daemon = belfry_http_start(&options)
        guard daemon != nil else { throw .system(call: "MHD_start_daemon", errno: errno) }

        // The thread inherits the mask: signals are the main thread's business, except those a thread brings on itself.
        var blocked = sigset_t()
        var before = sigset_t()
        sigfillset(&blocked)
        for signal in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS] { sigdelset(&blocked, signal) }
        pthread_sigmask(SIG_SETMASK, &blocked, &before)
        var created = pthread_t()
        let retained = Unmanaged.passRetained(self)
        let status = pthread_create(
            &created, nil,
            { context in
                Unmanaged<Worker>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, retained.toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        guard status == 0 else {
            retained.release()
            // A daemon that still listens would close the socket, which is not its own.
            _ = MHD_quiesce_daemon(daemon)
            MHD_stop_daemon(daemon)
            daemon = nil
            throw .system(call: "pthread_create", errno: status)
        }
        thread = created
        while sem_wait(&isReady) != 0 {}
    }

    /// Asks the thread to finish requests under way, no longer than until `deadline`, and to end.
    func stop(at deadline: UInt64) {
        var current = stopsAt.load(ordering: .relaxed)
        while deadline < current {
            let result = stopsAt.compareExchange(
                expected: current, desired: deadline, ordering: .acquiringAndReleasing)
            if result.exchanged { return }
            current = result.original
        }
    }

    /// Waits for the thread's end. Called once.
    func join() {
        guard let thread else { return }
        pthread_join(thread, nil)
        self.thread = nil
    }

    // MARK: On the thread

    private func run() {
        belfry_http_name_thread(String("\(name)-\(number)".prefix(15)))
        handler = makeHandler(number)
        sem_post(&isReady)

        rounds.sweptAt = monotonicNanoseconds()
        // When there was last something to do.
        var activeAt = rounds.sweptAt
        while true {
            let callbacksBefore = callbackCount
            roundBeganAt = 0
            resumePostponed()
            let isWatching = isDraining || postponedCount > 0
            let isPolling = idlePollNanoseconds > 0 && monotonicNanoseconds() - activeAt < idlePollNanoseconds
            let wait = isPolling || !aside.isEmpty ? 0 : isWatching ? Self.watchTickMillis : Self.tickMillis
            guard MHD_run_wait(daemon, wait) == .YES else {
                fatalError("libmicrohttpd cannot poll any more: errno \(errno)")
            }
            let deadline = stopsAt.load(ordering: .acquiring)
            if deadline != Self.running {
                beginDrain()
                closeIdleConnections()
                if connections.isEmpty || monotonicNanoseconds() >= deadline { break }
            }
            if callbackCount == callbacksBefore {
                rounds.idleCount += 1
                if !rounds.hasRested { rounds.hasRested = wantsToWait }
            } else if idlePollNanoseconds > 0 {
                activeAt = monotonicNanoseconds()
            }
            sweepOnceASecond()
            if !aside.isEmpty { answerAside() }
        }
        // libmicrohttpd must not stop while a connection is suspended.
        hasEnded = true
        if postponedCount > 0 || !aside.isEmpty {
            resumePostponed(all: true)
            for connection in aside { MHD_resume_connection(connection.connection) }
            aside = []
            MHD_run(daemon)
        }
        // Closes what is still open, and reports it to the callbacks as any other end.
        MHD_stop_daemon(daemon)
        daemon = nil
        handler = { _ in }
        exchanges = []
    }

    /// Whether libmicrohttpd has nothing more to do until something happens.
    private var wantsToWait: Bool {
        var milliseconds: UInt64 = 0
        return MHD_get_timeout(daemon, &milliseconds) == .NO || milliseconds > 0
    }

    /// Answers the first of the requests that were set aside, while the others of the worker are served in between.
    private func answerAside() {
        let connection = aside.removeFirst()
        guard let exchange = connection.exchange else { return }
        exchange.isSetAside = true
        exchange.worker = self
        handler(exchange)
        precondition(exchange.isDone == nil, "a request that was set aside is answered and not postponed")
        exchange.worker = nil
        exchange.stage = .done
        MHD_resume_connection(connection.connection)
        guard !aside.isEmpty else { return }
        // Before the next one begins, so that this reply does not wait for it: libmicrohttpd may take a round to queue it and
        // another to send it.
        serveOthers()
        serveOthers()
    }

    /// Serves what has arrived, and does not wait. Within `answerAside`: libmicrohttpd must not be called from its own callbacks.
    func serveOthers() {
        roundBeganAt = 0
        MHD_run(daemon)
        if isEnding { beginDrain() }
    }

    /// Stops accepting. Connections that wait in the kernel's queue were made before, so they are still served.
    private func beginDrain() {
        guard !isDraining else { return }
        isDraining = true
        // From here on the socket is ours to close; a daemon that still listened would close it too.
        precondition(MHD_quiesce_daemon(daemon) == socket, "the daemon listens on another socket")
        while true {
            let accepted = belfry_http_accept(socket)
            guard accepted >= 0 else { break }
            // libmicrohttpd wants an address, and does not use it.
            var anybody = sockaddr()
            anybody.sa_family = sa_family_t(AF_UNSPEC)
            _ = MHD_add_connection(daemon, accepted, &anybody, socklen_t(MemoryLayout<sockaddr>.size))
        }
        shutdown(socket, Int32(SHUT_RDWR))
    }

    /// Ends connections without a request under way. A request whose bytes have arrived is still read and answered.
    private func closeIdleConnections() {
        for connection in connections where connection.exchange == nil {
            shutForReading(connection)
        }
    }

    private func sweepOnceASecond() {
        let second = 1_000_000_000 as UInt64
        let now = monotonicNanoseconds()
        let elapsed = now - rounds.sweptAt
        guard elapsed >= second else { return }
        // After a handler that took seconds, what arrived meanwhile is read first and judged a second later.
        if elapsed < 2 * second {
            closeSlowConnections(now, isSpinning: !rounds.hasRested && rounds.idleCount > Self.idleRoundsMax)
        }
        rounds = Rounds(sweptAt: now)
    }

    /// Ends connections whose request takes too long to arrive or whose reply too long to leave (libmicrohttpd's timeout
    /// counts silence only), and those whose peer is gone.
    ///
    /// Ends at once those that make the loop spin. libmicrohttpd 0.9.75 does not wait for events while a connection's
    /// memory is full of a chunk extension without an end: it can neither use it nor read more, and one such
    /// connection would occupy a core until its timeout. Which one it is cannot be asked, but it got nowhere in the
    /// last second.
    private func closeSlowConnections(_ now: UInt64, isSpinning: Bool) {
        let second = 1_000_000_000 as UInt64
        let receive = UInt64(limits.receiveTimeoutSeconds) * second
        let send = UInt64(limits.sendTimeoutSeconds) * second
        let idle = UInt64(limits.idleTimeoutSeconds) * second
        for connection in connections {
            if let exchange = connection.exchange {
                if exchange.stage == .postponed || exchange.stage == .aside || exchange.stage == .done { continue }
                guard exchange.stage != .answered else {
                    if now &- exchange.answeredAt > send { cut(connection) }
                    continue
                }
                let byteCount = exchange.received.count + exchange.discardedByteCount
                let isStuck = isSpinning && exchange.stage == .body && byteCount == connection.sweptByteCount
                connection.sweptByteCount = byteCount
                if isStuck || now &- exchange.receivedAt > receive || hasHungUp(connection) { cut(connection) }
            } else if now &- connection.readySince > idle + receive || hasHungUp(connection) {
                // Longer than silence may last and a request may take: it sends a head byte by byte.
                cut(connection)
            }
        }
    }

    /// Whether the peer sends nothing more and everything it sent has been read, so that a request that is not complete never
    /// will be. libmicrohttpd under edge-triggered epoll can miss a close that comes with the last bytes, and would hold
    /// the connection until its timeout.
    private func hasHungUp(_ connection: Connection) -> Bool {
        var byte: UInt8 = 0
        let count = recv(connection.socket, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
        return count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)
    }

    /// Ends a connection in the middle of a request or a reply. The peer sees the end at once. libmicrohttpd hears of it by an
    /// event if it waits for one; if it spins on the connection it does not, but then it looks at the timeout.
    private func cut(_ connection: Connection) {
        shutdown(connection.socket, Int32(SHUT_RDWR))
        belfry_http_set_idle_timeout(connection.connection, 1)
    }

    private func shutForReading(_ connection: Connection) {
        guard !connection.isShutForReading else { return }
        connection.isShutForReading = true
        shutdown(connection.socket, Int32(SHUT_RD))
    }

    func takeExchange() -> Exchange {
        exchanges.popLast() ?? Exchange()
    }

    func giveBack(_ exchange: Exchange) {
        if exchanges.count < limits.exchangesKeptPerWorker { exchanges.append(exchange) }
    }
}
