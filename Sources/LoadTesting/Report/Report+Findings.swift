internal import Histogram

extension Report {
    /// Points of percentile curves: percentile (0 to 100) and microseconds, denser towards 100.
    public struct Curves: Codable, Sendable, Equatable {
        /// From the scheduled instant.
        public var latency: [[Double]]
        /// From the send.
        public var service: [[Double]]
        /// The generator's own delay.
        public var sendLag: [[Double]]

        enum CodingKeys: String, CodingKey {
            case latency, service
            case sendLag = "send_lag"
        }
    }

    /// Everything that a load test found.
    ///
    /// - machine: where it ran, taken before the load started.
    public init(_ findings: LoadTestFindings, options: LoadTestOptions, tool: String, machine: Machine) {
        var context = Context(
            target: options.target.description, arrival: options.isClosedLoop ? "closed" : options.arrival.name)
        context.tool = tool
        context.machine = machine
        context.options = options.described.map { Option(name: $0.name, value: $0.value) }
        context.seed = options.seed
        context.connections = options.connections
        context.threads = options.threads
        context.invalid = findings.invalid
        context.validation = findings.validation
        context.recall = findings.recall
        context.thresholds = findings.thresholds
        context.latencyIntervals = findings.latencyIntervals.isEmpty ? nil : findings.latencyIntervals
        context.exit = findings.verdict
        self.init(runs: findings.runs, context: context)
        curves = Curves(
            latency: Self.curve(findings.runs.map(\.latency)), service: Self.curve(findings.runs.map(\.service)),
            sendLag: Self.curve(findings.runs.map(\.sendLag)))
        sweep = findings.sweep
        findMax = findings.findMax
        overload = findings.overload
    }

    private static func curve(_ histograms: [LatencyHistogram]) -> [[Double]] {
        var sum = LatencyHistogram.latencies()
        for histogram in histograms { sum.add(histogram) }
        guard sum.totalCount > 0 else { return [] }
        return sum.percentiles(ticksPerHalfDistance: 10).map {
            [$0.percentileLevelIteratedTo, Double($0.value) / 1000]
        }
    }
}
