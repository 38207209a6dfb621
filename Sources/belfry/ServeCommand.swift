internal import ArgumentParser
internal import Foundation
internal import ServiceNotification

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

    @Option(help: "Where to remember an operator's choice of snapshot, and what is paused. (default: nowhere)")
    var state: String?

    @Option(help: "Where to listen: HOST:PORT, [IPv6]:PORT or unix:PATH. (default: 127.0.0.1:8080)")
    var listen: String?

    @Option(help: "Where the admin plane listens: a loopback address or unix:PATH. (default: 127.0.0.1:8081)")
    var admin: String?

    @Option(help: "Worker threads. (default: one per core)")
    var workers: Int?

    @Option(
        help: "Microseconds that an idle worker polls before it sleeps; for cores of its own. (default: 0)"
    )
    var idlePollMicros: Int?

    @Option(
        help: """
            Microseconds that a long search goes on before its worker serves its other connections; 0: to its end. \
            (default: 100)
            """
    )
    var yieldMicros: Int?

    @Flag(
        help:
            "Say in replies how long the request was with the server: Server-Timing: total;dur=0.183, in milliseconds.")
    var serverTiming = false

    @Option(help: "How long a drain may take, in seconds. (default: 10)")
    var drainSeconds: Int?

    @Option(
        help: "The least level that is logged: trace, debug, info, notice, warning, error, critical. (default: info)")
    var logLevel: String?

    @Flag(help: "Keep the snapshot that served before in memory, for an immediate rollback.")
    var keepPrevious = false

    @Option(
        help: "The least ratio of a new snapshot's item count to the serving one's, and of that to it. (default: 0.5)")
    var itemCountRatio: Double?

    @Flag(help: "Let a new snapshot drop or retype features.")
    var allowSchemaChange = false

    @Option(help: "The least mean cosine of a new snapshot's embeddings to the serving one's. (default: not required)")
    var skewCosineMin: Double?

    @Option(help: "The least mean share of results in common with the serving snapshot. (default: not required)")
    var skewOverlapMin: Double?

    @Option(help: "The greatest median ratio of a request's time to the serving snapshot's. (default: not required)")
    var skewLatencyMax: Double?

    @Option(help: "Recorded requests, one JSON a line, to compare a new snapshot by beside sampled ones.")
    var skewRequests: String?

    @Option(help: "Processor time for warming up a snapshot, in seconds. (default: 5)")
    var warmupSeconds: Double?

    @Option(help: "Bytes of memory to leave free when a snapshot is loaded. (default: 67108864)")
    var memoryReserve: Int?

    @Option(
        help: "When to load snapshots: idle, on time that nothing else on the machine wants, or normal. (default: idle)"
    )
    var loadPriority: String?

    @Option(help: "A configuration file in YAML.")
    var config: String?

    @Flag(help: "Print the effective configuration, each value with its source, and exit.")
    var printConfig = false

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let flags: [String: String?] = [
            "snapshots": snapshots, "state": state, "listen": listen, "admin": admin,
            "workers": workers.map(String.init), "idle-poll-micros": idlePollMicros.map(String.init),
            "yield-micros": yieldMicros.map(String.init), "server-timing": serverTiming ? "true" : nil,
            "drain-seconds": drainSeconds.map(String.init), "log-level": logLevel,
            "keep-previous": keepPrevious ? "true" : nil, "item-count-ratio": itemCountRatio.map { "\($0)" },
            "allow-schema-change": allowSchemaChange ? "true" : nil, "skew-cosine-min": skewCosineMin.map { "\($0)" },
            "skew-overlap-min": skewOverlapMin.map { "\($0)" }, "skew-latency-max": skewLatencyMax.map { "\($0)" },
            "skew-requests": skewRequests, "warmup-seconds": warmupSeconds.map { "\($0)" },
            "memory-reserve": memoryReserve.map(String.init), "load-priority": loadPriority,
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
        try await Daemon(configuration, notifier: ServiceNotifier(environment: environment)).run()
    }
}
