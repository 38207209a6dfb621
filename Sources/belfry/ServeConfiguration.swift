internal import Foundation

/// What `belfry serve` runs with; see `Settings` for where values come from.
struct ServeConfiguration: Sendable {
    let snapshots: String
    let listen: String
    let workers: Int
    let drainSeconds: Int
    let logLevel: String
    /// The effective configuration as YAML, each line with its source.
    let yaml: String

    /// Reads the sources in the order of precedence.
    ///
    /// - flags: what the command line gave, by key.
    /// - environment: the process's; variables that begin with `BELFRY_` count.
    init(flags: [String: String?], environment: [String: String], file: String?) async throws(CommandFailure) {
        var settings = try await Settings(
            flags: flags.compactMapValues { $0.map { [$0] } }, environment: environment, prefix: "BELFRY_",
            foreignPrefixes: [LoadTestSettings.prefix], file: file)
        guard let snapshots = try settings.text("snapshots") else {
            throw CommandFailure(
                "no snapshots to serve: give --snapshots DIR, BELFRY_SNAPSHOTS, or 'snapshots' in the configuration file"
            )
        }
        self.snapshots = snapshots
        listen = try settings.text("listen", default: "127.0.0.1:8080")!
        workers = try settings.integer("workers", default: ProcessInfo.processInfo.activeProcessorCount, in: 1...256)!
        drainSeconds = try settings.integer("drain-seconds", default: 10, in: 0...3600)!
        logLevel = try settings.text("log-level", default: "info")!
        try settings.finish(alsoKnown: ["config"])
        yaml = settings.yaml
    }
}
