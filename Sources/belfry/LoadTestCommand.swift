internal import ArgumentParser
internal import Foundation
internal import LoadTesting

/// `belfry loadtest` and `belfry loadtest compare`
struct LoadTestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "loadtest",
        abstract: "Load a server and judge its latency, its answers and its errors.",
        subcommands: [LoadTestRun.self, LoadTestCompare.self], defaultSubcommand: LoadTestRun.self)
}

/// `belfry loadtest --target URL ...`
struct LoadTestRun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Load a server (the default).",
        discussion: """
            Open loop: every instant at which a request is due is fixed from the seed before the first is sent, and \
            latency counts from that instant. Every option can also stand in the environment \
            (BELFRY_LOADTEST_RATE for --rate) or in a scenario file (rate: 2000); a flag comes first, then the \
            environment, then the scenario.

            Exit status: 0 every threshold holds, 99 one does not, 3 the run is invalid (the generator was late, or \
            a threshold could not be judged), 64 wrong usage, 1 anything else.
            """)

    @Option(help: "Where requests go: http://HOST:PORT[/PATH] or unix:PATH. The path is /v1/retrieve by default.")
    var target: String?
    @Option(help: "A scenario: a YAML file with these options as keys.")
    var scenario: String?

    @Option(help: ArgumentHelp("Requests per second.", valueName: "number"))
    var rate: String?
    @Option(help: "How long requests are counted: 30s, 2m. (default: 30s)")
    var duration: String?
    @Option(help: "How long requests come before that. (default: 5s)")
    var warmup: String?
    @Option(
        help: "poisson, constant, bursts:SIZE, or trace:FILE with one instant in seconds a line. (default: poisson)")
    var arrival: String?
    @Option(help: "Of the schedule, the requests and the samples. (default: 1)")
    var seed: String?
    @Option(help: "Connections, kept open. (default: 16)")
    var connections: String?
    @Option(help: "Threads that share the connections. (default: 1)")
    var threads: String?
    @Flag(help: "Closed loop: each connection sends as soon as it has its reply. For saturation only.")
    var closed = false
    @Option(help: "After this long a request has failed. (default: 10s)")
    var timeout: String?
    @Option(help: "Poll instead of sleeping this long around a send or a likely reply, or 'always'. (default: 200us)")
    var spin: String?
    @Option(help: "GET sends no body. (default: POST)")
    var method: String?
    @Option(help: "Run so many times; several give intervals. (default: 1)")
    var runs: String?

    @Option(help: "Requests from a file: a body of /v1/retrieve a line.")
    var requests: String?
    @Option(help: "Requests drawn from a snapshot: its users, its features.")
    var snapshot: String?
    @Option(help: "Draw from this many of the snapshot's users. (default: all)")
    var users: String?
    @Option(help: "The exponent of the users' popularity, 0 for uniform. (default: 1.1)")
    var zipf: String?
    @Option(help: "The share of users that the snapshot does not know. (default: 1%)")
    var unknownUsers: String?
    @Option(help: "The share of features that are left out. (default: 5%)")
    var missingFeatures: String?
    @Option(help: "The share of values that the vocabulary does not hold. (default: 2%)")
    var unknownValues: String?
    @Option(help: "The share of requests that exclude items. (default: 0)")
    var excluding: String?
    @Option(help: "How many items to ask for: 100, or a mix like 10:0.8,500:0.2. (default: 100)")
    var k: String?
    @Option(help: "Sets 'search.ef' of every request.")
    var ef: String?
    @Option(help: "Sets 'search.nprobe' of every request.")
    var nprobe: String?
    @Option(help: "Sets 'format' of every request: rows, columns or binary.")
    var format: String?

    @Option(help: "The share of replies that is checked. (default: 1%)")
    var validate: String?
    @Option(help: "Memory for the replies that are checked, like 4GiB; by default 20000 replies and 512 MiB.")
    var validateMemory: String?
    @Option(
        help:
            "PyTorch's answers from 'belfry_models expect', to hold scores against: FILE or SNAPSHOT-ID=FILE. Repeatable."
    )
    var expect: [String] = []
    @Option(help: "A snapshot whose item ids replies may name, besides --snapshot. Repeatable.")
    var catalogue: [String] = []
    @Option(help: "How many replies are held against exact search after the run, at most. (default: 500)")
    var recallSample: String?
    @Option(help: "What has to hold, like 'p(99)<5ms', 'errors<0.1%', 'recall@100>=0.98'. Repeatable.")
    var threshold: [String] = []
    @Option(help: "The p99 of the generator's own delay that makes a run invalid. (default: 100us or 5% of the median)")
    var maxSendLag: String?

    @Flag(help: "Find the highest rate that meets the thresholds, starting at --rate.")
    var findMax = false
    @Option(help: "How long one probe of that search lasts at most. (default: 30s)")
    var probeDuration: String?
    @Option(help: "Run once for each value: ef=50,100,200 or nprobe=4,8.")
    var sweep: String?

    @Option(help: "Activate another snapshot this often, through the admin plane.")
    var swapEvery: String?
    @Option(help: "The snapshots to swap between. (default: all the server has)")
    var swapSnapshots: String?
    @Option(
        help:
            "Publish this snapshot under a new id, in turn with others, and wait until the daemon serves it. Repeatable."
    )
    var swapPublish: [String] = []
    @Option(help: "What 'belfry_models expect' gave for each --swap-publish, to recompute replies with. Repeatable.")
    var swapExpect: [String] = []
    @Option(help: "Where --swap-publish publishes to: the daemon's --snapshots.")
    var swapDirectory: String?
    @Option(help: "How many times to publish; the run ends when they are done. (default: 250)")
    var swaps: String?
    @Option(help: "A swap that takes longer than this has failed. (default: 120s)")
    var swapTimeout: String?
    @Option(help: "The admin plane: http://HOST:PORT or unix:PATH. (default: the target)")
    var admin: String?
    @Option(
        help: """
            How much longer than the activation a swap's window lasts; with --swap-publish how much later its quiet \
            window begins at the earliest. (default: 500ms)
            """)
    var swapSettle: String?
    @Flag(help: "With --swap-publish: leave no quiet window between swaps.")
    var swapBackToBack = false
    @Option(help: "Clients that send a byte every 50 ms, besides the load. (default: 0)")
    var slowClients: String?
    @Option(help: "The share of requests whose client hangs up right after sending. (default: 0)")
    var disconnect: String?
    @Option(help: "So many times the rate in the middle third of the run, like 3x.")
    var overload: String?

    @Option(help: "Write the report as JSON.")
    var json: String?
    @Option(help: "Write the report as one page that needs no network.")
    var html: String?
    @Option(help: "Write the percentile distribution of the latency.")
    var hgrm: String?
    @Option(help: "Write an HdrHistogram interval log of the latency.")
    var intervalLog: String?
    @Option(help: "Write every request, when it was due and where its time went, as CSV in nanoseconds.")
    var records: String?
    @Flag(help: "Show no progress.")
    var quiet = false
    @Flag(help: "Print the effective settings, each with its source, and exit.")
    var printConfig = false

    /// What the command line gave, by key.
    private var flags: [String: [String]] {
        let single: [String: String?] = [
            "target": target, "rate": rate, "duration": duration, "warmup": warmup, "arrival": arrival, "seed": seed,
            "connections": connections, "threads": threads, "timeout": timeout, "spin": spin, "method": method,
            "runs": runs, "requests": requests, "snapshot": snapshot, "users": users, "zipf": zipf,
            "unknown-users": unknownUsers, "missing-features": missingFeatures, "unknown-values": unknownValues,
            "excluding": excluding, "k": k, "ef": ef, "nprobe": nprobe, "format": format, "validate": validate,
            "recall-sample": recallSample, "max-send-lag": maxSendLag, "probe-duration": probeDuration,
            "sweep": sweep, "swap-every": swapEvery, "swap-snapshots": swapSnapshots, "admin": admin,
            "swap-settle": swapSettle, "swap-directory": swapDirectory, "swaps": swaps, "swap-timeout": swapTimeout,
            "validate-memory": validateMemory, "slow-clients": slowClients, "disconnect": disconnect,
            "overload": overload,
            "json": json, "html": html, "hgrm": hgrm, "interval-log": intervalLog,
            "records": records,
            "closed": closed ? "true" : nil, "find-max": findMax ? "true" : nil,
            "swap-back-to-back": swapBackToBack ? "true" : nil, "quiet": quiet ? "true" : nil,
        ]
        let several = [
            "expect": expect, "catalogue": catalogue, "threshold": threshold, "swap-publish": swapPublish,
            "swap-expect": swapExpect,
        ].filter { !$0.value.isEmpty }
        return single.compactMapValues { $0.map { [$0] } }.merging(several) { $1 }
    }

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let settings: LoadTestSettings
        do {
            settings = try await LoadTestSettings(
                flags: flags, environment: environment,
                file: scenario ?? environment[LoadTestSettings.prefix + "SCENARIO"])
        } catch let failure as CommandFailure {
            // Wherever it stands, a wrong setting is wrong usage: exit status 64.
            throw ValidationError(failure.description)
        } catch let error as LoadTestError {
            throw error.asExit
        }
        if printConfig {
            print(settings.yaml)
            return
        }
        let current = CurrentRun()
        let interrupts = stopOnInterrupt(current)
        defer { interrupts.cancel() }
        let machine = Machine.current()
        let findings: LoadTestFindings
        do throws(LoadTestError) {
            findings = try LoadTest(settings.options, isQuiet: settings.isQuiet, current: current).run()
        } catch {
            throw error.asExit
        }
        let report = Report(findings, options: settings.options, tool: Belfry.version, machine: machine)
        print(report.text, terminator: "")
        try write(report, findings, settings.outputs)
        guard findings.verdict == .passed else { throw ExitCode(findings.verdict.exitStatus) }
    }

    private func write(_ report: Report, _ findings: LoadTestFindings, _ outputs: LoadTestSettings.Outputs) throws {
        let json = try report.json()
        if let path = outputs.json { try write(json, path) }
        if let path = outputs.html {
            let page = ReportPage.html(
                json: String(decoding: json, as: UTF8.self), title: "belfry loadtest of \(report.target)")
            try write(Data(page.utf8), path)
        }
        if let path = outputs.hgrm {
            try write(Data(PercentileDistribution.text(findings.latency).utf8), path)
        }
        if let path = outputs.intervalLog { try write(Data(IntervalLog.text(findings.runs).utf8), path) }
        if let path = outputs.records { try write(Data(RequestRecords.csv(findings.runs)), path) }
    }

    private func write(_ data: Data, _ path: String) throws {
        do {
            try data.write(to: URL(fileURLWithPath: path))
        } catch {
            throw CommandFailure("the report '\(path)' cannot be written: \(error.localizedDescription)")
        }
    }

    /// Ctrl-C ends the run and shows what it gave; once more ends the program.
    private func stopOnInterrupt(_ current: CurrentRun) -> any DispatchSourceSignal {
        signal(SIGINT, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        source.setEventHandler {
            if current.isStopped { _exit(130) }
            current.stop()
        }
        source.activate()
        return source
    }
}

/// `belfry loadtest compare A.json B.json`
struct LoadTestCompare: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Tell whether one report is faster than another, or whether it is noise.",
        discussion: """
            Both reports come from 'belfry loadtest --json'. A difference counts if its 95 % interval leaves 0 out and \
            it is more than 2 %. Exit status: 0 no metric is worse, 99 one is.
            """)

    @Argument(help: "The report to compare with.")
    var baseline: String
    @Argument(help: "The report that is judged.")
    var candidate: String

    func run() throws {
        let comparison: Comparison
        do throws(LoadTestError) {
            comparison = try Comparison(baseline: baseline, candidate: candidate)
        } catch {
            throw error.asExit
        }
        print(comparison.text, terminator: "")
        if comparison.verdict == .slower { throw ExitCode(RunVerdict.failed.exitStatus) }
    }
}

extension LoadTestError {
    /// As the command line's errors: wrong usage ends with 64, a failure with one line and 1.
    fileprivate var asExit: any Error {
        switch self {
        case .usage(let text): ValidationError(text)
        case .failed(let text): CommandFailure(text)
        }
    }
}
