internal import ArgumentParser
internal import Foundation
internal import HTTPServer
internal import Logging
internal import RetrievalAPI
internal import ServiceLifecycle
internal import Snapshots
internal import UnixSignals

/// `belfry serve`
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a snapshot over HTTP.",
        discussion: """
            Loads the snapshot, then listens. Every option can also stand in the environment (BELFRY_LISTEN for \
            --listen) or in the configuration file; a flag comes first, then the environment, then the file. \
            SIGTERM and SIGINT drain: no new connections, requests under way are answered, exit 0.
            """)

    @Option(help: "A directory of snapshots with a 'current' link, or one snapshot itself. Only read.")
    var snapshots: String?

    @Option(help: "Where to listen: HOST:PORT, [IPv6]:PORT or unix:PATH. (default: 127.0.0.1:8080)")
    var listen: String?

    @Option(help: "Worker threads. (default: one per core)")
    var workers: Int?

    @Option(help: "How long a drain may take, in seconds. (default: 10)")
    var drainSeconds: Int?

    @Option(
        help: "The least level that is logged: trace, debug, info, notice, warning, error, critical. (default: info)")
    var logLevel: String?

    @Option(help: "A configuration file in YAML.")
    var config: String?

    @Flag(help: "Print the effective configuration, each value with its source, and exit.")
    var printConfig = false

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let flags: [String: String?] = [
            "snapshots": snapshots, "listen": listen, "workers": workers.map(String.init),
            "drain-seconds": drainSeconds.map(String.init), "log-level": logLevel,
        ]
        let configuration: ServeConfiguration
        do {
            configuration = try await ServeConfiguration(
                flags: flags, environment: environment, file: config ?? environment["BELFRY_CONFIG"])
        } catch {
            // Wherever it stands, a wrong setting is wrong usage: exit status 64.
            throw ValidationError(error.description)
        }
        if printConfig {
            print(configuration.yaml)
            return
        }
        try await serve(configuration)
    }

    private func serve(_ configuration: ServeConfiguration) async throws {
        // As with the configuration: a value that cannot be one is wrong usage, exit status 64.
        guard let level = Logger.Level(rawValue: configuration.logLevel) else {
            throw ValidationError("'log-level' is '\(configuration.logLevel)', which is no level")
        }
        LoggingSystem.bootstrap(StreamLogHandler.standardError)
        var logger = Logger(label: "belfry")
        logger.logLevel = level

        let address: ListenAddress
        do {
            address = try ListenAddress(configuration.listen)
        } catch {
            throw ValidationError("'listen' is '\(configuration.listen)': \(error)")
        }
        let snapshot = try load(configuration.snapshots, logger)
        let readiness = Readiness()
        var limits = HTTPLimits()
        limits.bodyBytesMax = Limits.bodyByteCount
        let server = HTTPServer(
            configuration: HTTPConfiguration(address: address, workers: configuration.workers, limits: limits)
        ) { _ in
            let handler = RetrievalHandler(
                snapshot: snapshot, readiness: readiness, maximumBodyByteCount: Limits.bodyByteCount)
            return { handler.handle($0) }
        }
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(
                        service: HTTPService(
                            server: server, readiness: readiness, drain: .seconds(configuration.drainSeconds),
                            logger: logger))
                ],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }

    private func load(_ directory: String, _ logger: Logger) throws(CommandFailure) -> Snapshot {
        do throws(SnapshotError) {
            let start = ContinuousClock.now
            let files = try SnapshotFiles(path: try SnapshotDirectory.current(in: directory))
            try files.verify()
            let snapshot = try Snapshot(loading: files)
            logger.info(
                "snapshot loaded",
                metadata: [
                    "id": "\(snapshot.manifest.id)", "space_id": "\(snapshot.manifest.spaceID)",
                    "items": "\(snapshot.items.count)", "dimension": "\(snapshot.manifest.dimension)",
                    "seconds": "\((ContinuousClock.now - start).inSeconds)",
                ])
            return snapshot
        } catch {
            throw CommandFailure("snapshot refused: \(error)")
        }
    }
}

/// The HTTP server as a service: it listens, waits for the shutdown, and drains.
struct HTTPService: Service {
    let server: HTTPServer
    let readiness: Readiness
    let drain: Duration
    let logger: Logger

    func run() async throws {
        do {
            try server.start()
        } catch {
            throw CommandFailure("\(error)")
        }
        readiness.set(true)
        logger.info("serving", metadata: ["address": "\(server.boundAddress.map { "\($0)" } ?? "")"])
        try? await gracefulShutdown()
        logger.info("draining")
        readiness.set(false)
        server.drain(timeout: drain)
        logger.info("drained")
    }
}

extension Duration {
    /// Seconds with milliseconds, for logs.
    fileprivate var inSeconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + (Double(attoseconds) / 1e15).rounded() / 1000
    }
}
