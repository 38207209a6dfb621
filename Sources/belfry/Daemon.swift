internal import ArgumentParser
internal import DaemonState
internal import Glibc
internal import HTTPServer
internal import ItemIndex
internal import JSON
internal import Logging
internal import Memory
internal import Metrics
internal import RetrievalAPI
internal import ServiceLifecycle
internal import ServiceNotification
internal import SnapshotLife
internal import Snapshots
internal import UnixSignals

/// What `belfry serve` runs: snapshots and their life, the data plane, the admin plane, and what systemd is told.
struct Daemon {
    private let configuration: ServeConfiguration
    private let notifier: ServiceNotifier
    private let logger: Logger
    private let address: ListenAddress
    private let adminAddress: ListenAddress

    /// Checks what can be checked of the configuration: a value that cannot be one is wrong usage, exit status 64.
    init(_ configuration: ServeConfiguration, notifier: ServiceNotifier) throws {
        self.configuration = configuration
        self.notifier = notifier
        guard let level = Logger.Level(rawValue: configuration.logLevel) else {
            throw ValidationError("'log-level' is '\(configuration.logLevel)', which is no level")
        }
        LoggingSystem.bootstrap(StreamLogHandler.standardError)
        var logger = Logger(label: "belfry")
        logger.logLevel = level
        self.logger = logger
        address = try Self.address(configuration.listen, "listen")
        adminAddress = try Self.address(configuration.admin, "admin")
        guard adminAddress.isLocal else {
            throw ValidationError(
                "'admin' is '\(configuration.admin)': whoever reaches the admin plane decides what is served, so it listens on "
                    + "a loopback address or a Unix socket")
        }
    }

    private static func address(_ text: String, _ key: String) throws -> ListenAddress {
        do {
            return try ListenAddress(text)
        } catch {
            throw ValidationError("'\(key)' is '\(text)': \(error)")
        }
    }

    /// Runs until SIGTERM or SIGINT, and drains.
    func run() async throws {
        // Until somebody listens for it: whoever publishes while the first snapshot is loaded may say so. `current` is looked at
        // again when that one serves.
        signal(SIGHUP, SIG_IGN)
        // Each worker twice: a request that was set aside holds its generation while others are served.
        let serving = Swappable<Generation>(readerCount: 2 * configuration.workers)
        let samples = (0..<configuration.workers).map { _ in RequestSample() }
        let requests = (0..<configuration.workers).map { _ in RequestMetrics() }
        let readiness = Readiness()
        let life = try makeLife(serving, samples)
        notifier.status("loading the first snapshot")
        do {
            try life.start()
        } catch {
            throw CommandFailure("snapshot refused: \(error)")
        }

        let build = BuildInfo(version: Belfry.version, instructionSet: InstructionSet.best.rawValue)
        // The servers report on themselves.
        let plane = Plane()
        let writeMetrics: @Sendable (inout ByteWriter) -> Void = { writer in
            plane.server.map { life.writeMetrics(server: $0, requests: requests, build: build, to: &writer) }
        }
        var limits = HTTPLimits()
        limits.bodyBytesMax = Limits.bodyByteCount
        let server = HTTPServer(
            configuration: HTTPConfiguration(
                address: address, workers: configuration.workers, limits: limits,
                idlePollMicros: configuration.idlePollMicros, postponesReplies: true,
                sendsServerTiming: configuration.sendsServerTiming)
        ) { [configuration] worker in
            func makeHandler(reader: Int) -> RetrievalHandler {
                RetrievalHandler(
                    serving: serving, reader: reader, readiness: readiness, maximumBodyByteCount: Limits.bodyByteCount,
                    longRequests: configuration.yieldMicros == 0
                        ? nil : LongRequests(yieldNanoseconds: UInt64(configuration.yieldMicros) * 1000),
                    metrics: requests[worker], sample: samples[worker], writeMetrics: writeMetrics)
            }
            let handler = makeHandler(reader: worker)
            let forLongOnes = makeHandler(reader: configuration.workers + worker)
            return { exchange in (exchange.isSetAside ? forLongOnes : handler).handle(exchange) }
        }
        plane.server = server
        // Or the server, whose handlers hold the plane, would outlive the run.
        defer { plane.server = nil }
        var adminLimits = HTTPLimits()
        adminLimits.bodyBytesMax = AdminHandler.bodyByteCountMax
        let document = configuration.json
        let admin = HTTPServer(
            configuration: HTTPConfiguration(
                address: adminAddress, limits: adminLimits, threadName: "belfry-admin", postponesReplies: true)
        ) { _ in
            let handler = AdminHandler(
                life: life, readiness: readiness, configuration: document, writeMetrics: writeMetrics)
            return { handler.handle($0) }
        }
        let service = DaemonService(
            life: life, server: server, admin: admin, readiness: readiness, notifier: notifier,
            drain: .seconds(configuration.drainSeconds), logger: logger)
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: service), .init(service: ReloadService(life: life, notifier: notifier))],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }

    private func makeLife(_ serving: Swappable<Generation>, _ samples: [RequestSample]) throws -> SnapshotLife {
        var life = SnapshotLifeConfiguration(snapshots: configuration.snapshots, workerCount: configuration.workers)
        life.keepsPrevious = configuration.keepsPrevious
        life.itemCountRatio = configuration.itemCountRatio
        life.allowsSchemaChange = configuration.allowsSchemaChange
        life.skew.cosineMin = configuration.skewCosineMin
        life.skew.overlapMin = configuration.skewOverlapMin
        life.skew.latencyRatioMax = configuration.skewLatencyMax
        life.recordedRequests = configuration.skewRequests
        life.warmupSeconds = configuration.warmupSeconds
        life.memoryReserve = configuration.memoryReserve
        life.lowersPriority = configuration.lowersPriority
        life.indexParser = "/proc/self/exe"
        life.tellStatus = { [notifier] in notifier.status($0) }
        var journal: PauseJournal?
        if let path = configuration.state {
            do {
                let state = try StateDirectory(path: path)
                life.state = state
                journal = try PauseJournal(in: state)
            } catch {
                throw CommandFailure("state refused: \(error)")
            }
        }
        return SnapshotLife(
            configuration: life, serving: serving, samples: samples, journal: journal, logger: logger)
    }
}

/// The data plane's server, which its own handlers report on. Set once, before the first request.
private final class Plane: @unchecked Sendable {
    var server: HTTPServer?
}

/// Both planes as a service: they listen, wait for the shutdown, and drain.
struct DaemonService: Service {
    let life: SnapshotLife
    let server: HTTPServer
    let admin: HTTPServer
    let readiness: Readiness
    let notifier: ServiceNotifier
    let drain: Duration
    let logger: Logger

    func run() async throws {
        do {
            try server.start()
            try admin.start()
        } catch {
            server.stop()
            life.end()
            life.destroyGenerations()
            throw CommandFailure("\(error)")
        }
        readiness.set(true)
        logger.info(
            "serving",
            metadata: [
                "address": "\(server.boundAddress.map { "\($0)" } ?? "")",
                "admin": "\(admin.boundAddress.map { "\($0)" } ?? "")",
            ])
        notifier.ready(status: life.status)
        try? await gracefulShutdown()
        logger.info("draining")
        notifier.stopping()
        readiness.set(false)
        life.prepareToEnd()
        server.drain(timeout: drain)
        admin.drain(timeout: .seconds(1))
        life.end()
        life.destroyGenerations()
        logger.info("drained")
    }
}

/// SIGHUP: what `current` names is activated, and systemd told when that is done.
struct ReloadService: Service {
    let life: SnapshotLife
    let notifier: ServiceNotifier

    func run() async throws {
        for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
            notifier.reloading()
            let ticket = life.followCurrent()
            while !ticket.isDone { try await Task.sleep(for: .milliseconds(20)) }
            notifier.ready(status: life.status)
        }
    }
}
