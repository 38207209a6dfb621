internal import Foundation
internal import JSON
internal import Memory

/// What `belfry serve` runs with; see `Settings` for where values come from.
struct ServeConfiguration: Sendable {
    let snapshots: String
    let state: String?
    let listen: String
    let admin: String
    let workers: Int
    let idlePollMicros: Int
    let yieldMicros: Int
    let sendsServerTiming: Bool
    let drainSeconds: Int
    let logLevel: String
    let keepsPrevious: Bool
    let itemCountRatio: Double
    let allowsSchemaChange: Bool
    let skewCosineMin: Double?
    let skewOverlapMin: Double?
    let skewLatencyMax: Double?
    let skewRequests: String?
    let warmupSeconds: Double
    let memoryReserve: Int
    let lowersPriority: Bool
    /// Each key with its value and where that came from.
    let effective: [(key: String, value: String, source: String)]
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
        state = try settings.text("state")
        listen = try settings.text("listen", default: "127.0.0.1:8080")!
        admin = try settings.text("admin", default: "127.0.0.1:8081")!
        workers = try settings.integer("workers", default: ProcessInfo.processInfo.activeProcessorCount, in: 1...256)!
        idlePollMicros = try settings.integer("idle-poll-micros", default: 0, in: 0...100_000)!
        yieldMicros = try settings.integer("yield-micros", default: 100, in: 0...1_000_000)!
        sendsServerTiming = try settings.boolean("server-timing")
        drainSeconds = try settings.integer("drain-seconds", default: 10, in: 0...3600)!
        logLevel = try settings.text("log-level", default: "info")!
        keepsPrevious = try settings.boolean("keep-previous")
        func share(_ text: String) -> Double? { Double(text).flatMap { (0...1).contains($0) ? $0 : nil } }
        let shares = "a number from 0 to 1"
        itemCountRatio = try settings.value("item-count-ratio", default: 0.5, expected: shares, share)!
        allowsSchemaChange = try settings.boolean("allow-schema-change")
        skewCosineMin = try settings.value("skew-cosine-min", expected: shares, share)
        skewOverlapMin = try settings.value("skew-overlap-min", expected: shares, share)
        skewLatencyMax = try settings.value("skew-latency-max", expected: "a number above 0") {
            Double($0).flatMap { $0 > 0 ? $0 : nil }
        }
        skewRequests = try settings.text("skew-requests")
        warmupSeconds = try settings.value("warmup-seconds", default: 5, expected: "a number from 0 to 600") {
            Double($0).flatMap { (0...600).contains($0) ? $0 : nil }
        }!
        memoryReserve = try settings.integer("memory-reserve", default: 64 << 20, in: 0...(1 << 48))!
        lowersPriority =
            try settings.value("load-priority", default: "idle", expected: "idle or normal") {
                ["idle", "normal"].contains($0) ? $0 : nil
            } == "idle"
        try settings.finish(alsoKnown: ["config"])
        effective = settings.effective
        yaml = settings.yaml
    }
}

extension ServeConfiguration {
    /// The effective configuration as a JSON object: `{"listen": {"value": "127.0.0.1:8080", "source": "default"}, ...}`.
    var json: String {
        var writer = ByteWriter()
        writer.append("{")
        for (index, setting) in effective.enumerated() {
            if index > 0 { writer.append(",") }
            writer.appendJSON(setting.key)
            writer.append(":{\"value\":")
            writer.appendJSON(setting.value)
            writer.append(",\"source\":")
            writer.appendJSON(setting.source)
            writer.append("}")
        }
        writer.append("}")
        return writer.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}
