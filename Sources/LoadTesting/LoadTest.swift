internal import Histogram

/// What `belfry loadtest` does: requests are read or drawn, runs are made, their replies are checked, thresholds are judged.
///
///     let report = try LoadTest(options, isQuiet: false).run()
public final class LoadTest {
    let options: LoadTestOptions
    let requests: [LoadRequest]
    let isQuiet: Bool
    let current: CurrentRun
    private let checks: ReplyChecks
    private let publishing: PublishedSources?

    /// So many different requests are drawn at the most; a longer run sends them again.
    private static let requestCountMax = 1 << 16

    /// What a kept reply takes at the least, its record included.
    private static let smallestReplyByteCount = 256

    /// Reads or draws the requests, and what replies are held against.
    ///
    /// - isQuiet: no progress on standard error.
    /// - current: through which somebody else may end the run.
    public init(_ options: LoadTestOptions, isQuiet: Bool, current: CurrentRun = CurrentRun()) throws(LoadTestError) {
        try options.requireSense()
        self.options = options
        self.isQuiet = isQuiet
        self.current = current
        var catalogues: [ItemCatalogue] = []
        switch options.source {
        case .file(let path):
            requests = try Self.override(try RequestFile.read(path), options.overrides)
        case .snapshot(let directory, let draws):
            let drawn = try SnapshotRequests(directory: directory, options: draws)
                .draw(Self.requestCount(options), seed: options.seed)
            requests = try Self.override(drawn, options.overrides)
            catalogues.append(try ItemCatalogue(directory: directory))
        case .none:
            requests = [LoadRequest(body: "", k: 0)]
        }
        for directory in options.catalogues { catalogues.append(try ItemCatalogue(directory: directory)) }
        let expectations = options.expectations.map { Expectations.Source($0) }
        publishing = try options.publishing.map { publishing throws(LoadTestError) in try PublishedSources(publishing) }
        try publishing?.requireExpected(requests)
        checks = ReplyChecks(
            expectations: expectations.isEmpty ? nil : try Expectations(expectations), catalogues: catalogues,
            belonging: publishing?.belonging)
        let smallestK = requests.map(\.k).min() ?? 0
        for threshold in options.thresholds {
            let problem = threshold.problem(
                smallestK: smallestK, hasSwaps: options.swaps != nil || publishing != nil, publishes: publishing != nil,
                checksBelonging: publishing?.belonging != nil && options.validatedShare > 0,
                measuresRecall: options.measuresRecall,
                checksReplies: options.validatedShare > 0 && options.method == "POST",
                isOpenLoop: !options.isClosedLoop)
            if let problem { throw .usage(problem) }
        }
    }

    static func override(_ requests: [LoadRequest], _ overrides: RequestOverrides) throws(LoadTestError)
        -> [LoadRequest]
    {
        if overrides.isEmpty { return requests }
        var changed: [LoadRequest] = []
        changed.reserveCapacity(requests.count)
        for request in requests { changed.append(try request.overriding(overrides)) }
        return changed
    }

    private static func requestCount(_ options: LoadTestOptions) -> Int {
        guard let rate = options.rate, let duration = options.duration, !options.findsMax else {
            return requestCountMax
        }
        let expected = rate * (options.overload ?? 1) * Double(duration + options.warmup) / 1e9
        return max(1, Int(min(Double(requestCountMax), expected)))
    }

    // MARK: One run

    /// The plan of a run, at another rate or length if they are given.
    func plan(rate: Double? = nil, duration: UInt64? = nil, seed: UInt64, requests: [LoadRequest])
        throws(LoadTestError) -> LoadPlan
    {
        let mode: LoadPlan.Mode
        if options.isClosedLoop {
            mode = .closed(warmupNanoseconds: options.warmup, nanoseconds: options.duration ?? 0)
        } else {
            mode = .open(
                try schedule(rate: rate ?? options.rate ?? 0, duration: duration ?? options.duration, seed: seed))
        }
        var plan = LoadPlan(target: options.target, mode: mode, requests: requests)
        plan.method = options.method
        plan.threads = options.threads
        plan.connections = options.connections
        plan.timeoutNanoseconds = options.timeout
        plan.keptShare = options.method == "POST" ? options.validatedShare : 0
        if let bytes = options.keptBytesMax {
            plan.keptBytesMax = bytes
            plan.keptCountMax = bytes / Self.smallestReplyByteCount
        }
        plan.disconnectShare = options.disconnectShare
        plan.spinNanoseconds = options.spin
        plan.seed = seed
        return plan
    }

    private func schedule(rate: Double, duration: UInt64?, seed: UInt64) throws(LoadTestError) -> Schedule {
        var phases: [Schedule.Phase] = []
        if let duration {
            if let factor = options.overload {
                phases = [rate, rate * factor, rate].map { Schedule.Phase(rate: $0, nanoseconds: duration / 3) }
            } else {
                phases = [Schedule.Phase(rate: rate, nanoseconds: duration)]
            }
        }
        return try Schedule(
            arrival: options.arrival, phases: phases, warmupNanoseconds: options.warmup, seed: seed)
    }

    /// Runs a plan with whatever is to be done to the server meanwhile.
    func perform(
        _ plan: LoadPlan, label: String, progress: LoadProgress = LoadProgress(),
        disturbances: [any Disturbance] = []
    ) throws(LoadTestError) -> RunResult {
        var all = disturbances
        let end: UInt64
        switch plan.mode {
        case .open(let schedule): end = schedule.endNanoseconds
        case .closed(let warmup, let nanoseconds): end = warmup + nanoseconds
        }
        if !isQuiet { all.append(ProgressLine(label: label, progress: progress, seconds: Double(end) / 1e9)) }
        if let swaps = options.swaps {
            all.append(
                try SnapshotSwaps(
                    admin: swaps.admin, snapshots: swaps.snapshots, first: options.warmup + swaps.every / 2,
                    every: swaps.every, until: end, settle: swaps.settle))
        }
        if let publishing {
            all.append(publishing.disturbance(options, until: end, progress: progress))
        }
        if options.slowClients > 0 {
            all.append(SlowClients(target: options.target, count: options.slowClients, request: plan.requests[0]))
        }
        current.begin(progress)
        return try LoadRun.run(plan, progress: progress, disturbances: all)
    }

    // MARK: Quality

    /// Checks the replies that runs kept.
    func validate(_ results: [RunResult], requests: [LoadRequest]) -> ValidationReport? {
        guard options.validatedShare > 0, options.method == "POST" else { return nil }
        let kept = results.flatMap(\.kept)
        let successes = results.reduce(0) { $0 + $1.counted.count { $0.kind == .success } }
        return checks.check(
            kept, requests: requests, share: successes > 0 ? Double(kept.count) / Double(successes) : 0)
    }

    /// Repeats some of the kept replies' requests with exact search.
    func measureRecall(_ results: [RunResult], requests: [LoadRequest]) -> RecallReport? {
        guard options.measuresRecall else { return nil }
        let client = ControlClient(options.target)
        return Recall.measure(
            kept: results.flatMap(\.kept), requests: requests, limit: options.recallCount, seed: options.seed
        ) { request in
            let reply = try client.send("POST", options.target.path, body: request.repeatingExactly().body)
            guard reply.status == 200 else {
                throw LoadTestError.failed("status \(reply.status): \(reply.text.prefix(200))")
            }
            return (SnapshotNames.name(in: reply.body), reply.body)
        }
    }
}

extension LoadTestOptions {
    /// Whether replies are held against exact search.
    var measuresRecall: Bool { recallCount > 0 && method == "POST" && validatedShare > 0 }

    /// Refuses wishes that contradict each other.
    func requireSense() throws(LoadTestError) {
        let refusals: [(Bool, String)] = [
            (isClosedLoop && rate != nil, "--closed sends as fast as replies come: it takes no --rate"),
            (!isClosedLoop && rate == nil && !isTrace, "open loop needs --rate; saturation is measured with --closed"),
            (isTrace && rate != nil, "a trace has its own rate"),
            (isClosedLoop && duration == nil, "closed loop needs a duration"),
            (findsMax && (isClosedLoop || isTrace), "--find-max varies the rate of an open loop"),
            (findsMax && thresholds.isEmpty, "--find-max needs thresholds to meet, such as --threshold 'p(99)<5ms'"),
            (
                publishing != nil && (findsMax || sweep != nil || swaps != nil || runs > 1),
                "--swap-publish goes with neither --find-max, --sweep, --swap-snapshots nor --runs"
            ),
            (
                findsMax && (sweep != nil || swaps != nil || overload != nil || runs > 1),
                "--find-max goes with neither --sweep, --swap-every, --overload nor --runs"
            ),
            (sweep != nil && runs > 1, "--sweep runs once for each value: it goes with no --runs"),
            (sweep != nil && method != "POST", "--sweep needs requests to set the parameter in"),
            (overload != nil && (isClosedLoop || isTrace), "--overload varies the rate of an open loop"),
            (overload != nil && runs > 1, "--overload goes with no --runs"),
            (duration == 0, "a duration is above 0"),
            (timeout == 0 || timeout > 60_000_000_000, "a timeout is above 0 and at most 60s"),
            (threads > connections, "\(threads) threads need as many connections"),
        ]
        for (isRefused, reason) in refusals where isRefused { throw .usage(reason) }
    }
}
