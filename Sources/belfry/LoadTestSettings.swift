internal import Foundation
internal import LoadTesting

/// What `belfry loadtest` runs with; see `Settings` for where values come from. A scenario is its configuration file.
struct LoadTestSettings {
    /// Of the variables that count: `BELFRY_LOADTEST_RATE`.
    static let prefix = "BELFRY_LOADTEST_"

    let options: LoadTestOptions
    let outputs: Outputs
    let isQuiet: Bool
    /// The effective settings as YAML, each line with its source.
    let yaml: String

    /// Files that are written besides the text on standard output.
    struct Outputs {
        var json: String?
        var html: String?
        var hgrm: String?
        var intervalLog: String?
        var records: String?
    }

    /// Reads the sources. A `CommandFailure` is wrong usage.
    init(flags: [String: [String]], environment: [String: String], file: String?) async throws {
        var settings = try await Settings(flags: flags, environment: environment, prefix: Self.prefix, file: file)
        var options = try Self.traffic(&settings)
        try Self.quality(&settings, &options)
        try Self.searches(&settings, &options)
        try Self.faults(&settings, &options)
        outputs = Outputs(
            json: try settings.text("json"), html: try settings.text("html"), hgrm: try settings.text("hgrm"),
            intervalLog: try settings.text("interval-log"), records: try settings.text("records"))
        isQuiet = try settings.boolean("quiet")
        try settings.finish(alsoKnown: ["scenario"])
        options.described = settings.effective.map { ($0.key, $0.value) }
        self.options = options
        yaml = settings.yaml
    }

    /// Where requests come from, where they go, and when.
    private static func traffic(_ settings: inout Settings) throws -> LoadTestOptions {
        let method = try settings.value("method", default: "POST", expected: "GET or POST") {
            ["GET", "POST"].contains($0) ? $0 : nil
        }!
        guard let url = try settings.text("target") else {
            throw CommandFailure("nothing to load: give --target http://HOST:PORT, or 'target' in the scenario")
        }
        let target = try Target(url, defaultPath: method == "GET" ? "/" : "/v1/retrieve")
        let file = try settings.text("requests")
        let snapshot = try settings.text("snapshot")
        let k = try settings.text("k")
        let draws = SnapshotRequests.Options(
            userCountMax: try settings.integer("users", in: 1...Int.max),
            zipfExponent: try settings.value("zipf", default: 1.1, expected: "a number of at least 0") { number in
                Double(number).flatMap { $0 >= 0 && $0.isFinite ? $0 : nil }
            }!,
            unknownUserShare: try share("unknown-users", default: 0.01, &settings),
            missingShare: try share("missing-features", default: 0.05, &settings),
            outOfVocabularyShare: try share("unknown-values", default: 0.02, &settings),
            excludingShare: try share("excluding", default: 0, &settings), k: try KMix(k ?? "100"))
        var overrides = RequestOverrides()
        let source: LoadTestOptions.Source
        switch (file, snapshot, method) {
        case (nil, nil, "GET"): source = .none
        case (let file?, nil, "POST"):
            source = .file(file)
            if let k {
                guard let number = Int(k) else { throw CommandFailure("'k' is '\(k)'; requests of a file take one k") }
                overrides.k = number
            }
        case (nil, let snapshot?, "POST"): source = .snapshot(snapshot, draws)
        default:
            throw CommandFailure(
                "requests come from one place: --requests FILE.jsonl, --snapshot DIR, or --method GET for none")
        }
        overrides.ef = try settings.integer("ef", in: 1...1_000_000)
        overrides.nprobe = try settings.integer("nprobe", in: 1...1_000_000)
        overrides.format = try settings.value("format", expected: "rows, columns or binary") {
            ["rows", "columns", "binary"].contains($0) ? $0 : nil
        }

        var options = LoadTestOptions(target: target, method: method, source: source)
        options.overrides = overrides
        let arrival = try settings.text("arrival", default: "poisson")!
        options.arrival = try read(arrival: arrival)
        options.isClosedLoop = try settings.boolean("closed")
        options.rate = try settings.value("rate", expected: "requests per second, above 0") { text in
            Double(text).flatMap { $0 > 0 && $0.isFinite ? $0 : nil }
        }
        options.duration = try duration("duration", default: options.isTrace ? nil : "30s", &settings)
        options.warmup = try duration("warmup", default: "5s", &settings)!
        options.connections = try settings.integer("connections", default: 16, in: 1...10_000)!
        options.threads = try settings.integer("threads", default: 1, in: 1...256)!
        options.seed = try settings.value("seed", default: 1, expected: "an integer of 0 to 2^64 - 1") { UInt64($0) }!
        options.timeout = try duration("timeout", default: "10s", &settings)!
        options.spin = try settings.value("spin", default: 200_000, expected: "a duration like 200us, or 'always'") {
            $0 == "always" ? UInt64.max : Quantities.nanoseconds($0)
        }!
        options.runs = try settings.integer("runs", default: 1, in: 1...1000)!
        return options
    }

    private static func quality(_ settings: inout Settings, _ options: inout LoadTestOptions) throws {
        options.validatedShare = try share("validate", default: 0.01, &settings)
        options.expectations = try settings.texts("expect")
        options.catalogues = try settings.texts("catalogue")
        options.keptBytesMax = try settings.value(
            "validate-memory", expected: "memory like 512MiB or 4GiB", Quantities.byteCount)
        options.recallCount = try settings.integer("recall-sample", default: 500, in: 0...100_000)!
        options.thresholds = try settings.texts("threshold").map { try Threshold($0) }
        options.sendLagMax = try duration("max-send-lag", default: nil, &settings)
    }

    private static func searches(_ settings: inout Settings, _ options: inout LoadTestOptions) throws {
        options.findsMax = try settings.boolean("find-max")
        options.probeDurationMax = try duration("probe-duration", default: "30s", &settings)!
        options.sweep = try settings.value("sweep", expected: "ef=50,100,200 or nprobe=4,8,16") { text in
            let halves = text.split(separator: "=", maxSplits: 1)
            guard halves.count == 2, ["ef", "nprobe"].contains(halves[0]) else { return nil }
            let values = halves[1].split(separator: ",").map { Int($0) }
            guard !values.isEmpty, values.allSatisfy({ ($0 ?? 0) > 0 }) else { return nil }
            return LoadTestOptions.Sweep(parameter: String(halves[0]), values: values.map { $0! })
        }
    }

    private static func faults(_ settings: inout Settings, _ options: inout LoadTestOptions) throws {
        let every = try duration("swap-every", default: nil, &settings)
        let ids = try settings.texts("swap-snapshots")
        let admin = try settings.text("admin")
        let settle = try duration("swap-settle", default: "500ms", &settings)!
        let isBackToBack = try settings.boolean("swap-back-to-back")
        let published = try settings.texts("swap-publish")
        let expected = try settings.texts("swap-expect")
        let directory = try settings.text("swap-directory")
        let count = try settings.integer("swaps", in: 1...LoadTestOptions.Publishing.countMax)
        let timeout = try duration("swap-timeout", default: published.isEmpty ? nil : "120s", &settings)
        if !published.isEmpty {
            guard let directory else {
                throw CommandFailure("'swap-publish' needs 'swap-directory', where the daemon looks for snapshots")
            }
            guard ids.isEmpty else { throw CommandFailure("'swap-snapshots' and 'swap-publish' exclude each other") }
            var publishing = LoadTestOptions.Publishing(
                sources: published, directory: directory, every: every ?? 5_000_000_000,
                count: count ?? LoadTestOptions.Publishing.countMax,
                admin: try admin.map { try Target($0, defaultPath: "/") } ?? options.target)
            publishing.expectations = expected
            publishing.settle = settle
            publishing.isBackToBack = isBackToBack
            publishing.timeout = timeout!
            options.publishing = publishing
        } else if !expected.isEmpty || directory != nil || count != nil || timeout != nil || isBackToBack {
            throw CommandFailure(
                "'swap-expect', 'swap-directory', 'swaps', 'swap-timeout' and 'swap-back-to-back' go with 'swap-publish'"
            )
        } else if let every {
            options.swaps = LoadTestOptions.Swaps(
                every: every, snapshots: ids.flatMap { $0.split(separator: ",").map(String.init) },
                admin: try admin.map { try Target($0, defaultPath: "/") } ?? options.target, settle: settle)
        }
        options.slowClients = try settings.integer("slow-clients", default: 0, in: 0...10_000)!
        options.disconnectShare = try share("disconnect", default: 0, &settings)
        options.overload = try settings.value("overload", expected: "a factor above 1, like 3x", Quantities.factor)
    }

    private static func share(_ key: String, default fallback: Double, _ settings: inout Settings) throws -> Double {
        try settings.value(key, default: fallback, expected: "a share like 1% or 0.01", Quantities.share)!
    }

    private static func duration(_ key: String, default fallback: String?, _ settings: inout Settings) throws
        -> UInt64?
    {
        guard let text = try settings.text(key, default: fallback) else { return nil }
        guard let nanoseconds = Quantities.nanoseconds(text) else {
            throw CommandFailure("'\(key)' is '\(text)', expected a duration like 30s, 500ms or 100us")
        }
        return nanoseconds
    }

    private static func read(arrival: String) throws -> Arrival {
        if arrival == "poisson" { return .poisson }
        if arrival == "constant" { return .constant }
        if arrival.hasPrefix("bursts:"), let size = Int(arrival.dropFirst(7)), (1...100_000).contains(size) {
            return .bursts(size: size)
        }
        if arrival.hasPrefix("trace:") { return .trace(try TraceFile.read(String(arrival.dropFirst(6)))) }
        throw CommandFailure("'arrival' is '\(arrival)', expected poisson, constant, bursts:SIZE or trace:FILE")
    }
}
