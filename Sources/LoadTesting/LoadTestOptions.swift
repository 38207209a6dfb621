/// Everything `belfry loadtest` is asked to do.
public struct LoadTestOptions: Sendable {
    /// Where requests come from.
    public enum Source: Sendable {
        /// A file of JSON lines.
        case file(String)
        /// Drawn from a snapshot.
        case snapshot(String, SnapshotRequests.Options)
        /// `GET` without a body.
        case none
    }

    /// Snapshots that are activated in turn while requests come.
    public struct Swaps: Sendable {
        /// Between two activations, in nanoseconds.
        public var every: UInt64
        /// The ids; empty asks the server.
        public var snapshots: [String]
        /// The admin plane.
        public var admin: Target
        /// How much longer a swap's window lasts than the server takes to answer, in nanoseconds.
        public var settle: UInt64

        /// Creates the wish.
        public init(every: UInt64, snapshots: [String], admin: Target, settle: UInt64) {
            self.every = every
            self.snapshots = snapshots
            self.admin = admin
            self.settle = settle
        }
    }

    /// Snapshots that are published in turn under new ids while requests come.
    public struct Publishing: Sendable {
        /// Directories of snapshots.
        public var sources: [String]
        /// The output of `belfry_models expect` for each of them, or none.
        public var expectations: [String] = []
        /// Where the daemon looks for snapshots.
        public var directory: String
        /// From one to the next at the least, in nanoseconds.
        public var every: UInt64
        /// How many; the run ends when they are done.
        public var count: Int
        /// The admin plane.
        public var admin: Target
        /// How long the server is left alone after a swap before its quiet window begins, in nanoseconds.
        public var settle: UInt64 = 500_000_000
        /// Whether swaps follow each other without a quiet window.
        public var isBackToBack = false
        /// A swap that takes longer has failed, in nanoseconds.
        public var timeout: UInt64 = 120_000_000_000
        /// How to publish.
        public var command = PublishCommand()

        /// Creates the wish.
        public init(sources: [String], directory: String, every: UInt64, count: Int, admin: Target) {
            self.sources = sources
            self.directory = directory
            self.every = every
            self.count = count
            self.admin = admin
        }

        /// More would not be told apart in a run's records (`Outcome.snapshot`), which know 255 snapshots.
        public static let countMax = 250
    }

    /// One search parameter and the values it takes in turn.
    public struct Sweep: Sendable {
        /// `ef` or `nprobe`.
        public var parameter: String
        /// In the order they are tried.
        public var values: [Int]

        /// Creates the wish.
        public init(parameter: String, values: [Int]) {
            self.parameter = parameter
            self.values = values
        }
    }

    /// Where requests go.
    public var target: Target
    /// `POST` or `GET`.
    public var method: String
    /// Where they come from.
    public var source: Source
    /// What is changed in each of them.
    public var overrides = RequestOverrides()
    /// Requests per second; of closed loop and of a trace nil.
    public var rate: Double?
    /// The timed part, in nanoseconds; nil plays a trace whole.
    public var duration: UInt64? = 30_000_000_000
    /// Before it, in nanoseconds.
    public var warmup: UInt64 = 5_000_000_000
    /// How requests arrive.
    public var arrival = Arrival.poisson
    /// Whether each connection sends as soon as it can.
    public var isClosedLoop = false
    /// Connections in all.
    public var connections = 16
    /// Threads that share them.
    public var threads = 1
    /// Of schedule, requests and samples.
    public var seed: UInt64 = 1
    /// After this long a request has failed, in nanoseconds.
    public var timeout: UInt64 = 10_000_000_000
    /// How long around a send or a likely reply to poll instead of sleeping, in nanoseconds; `UInt64.max`: always.
    public var spin: UInt64 = 200_000
    /// The share of replies that is checked.
    public var validatedShare = 0.01
    /// PyTorch's answers, `FILE` or `SNAPSHOT=FILE`.
    public var expectations: [String] = []
    /// Snapshot directories whose item ids replies may name, besides that of `source`.
    public var catalogues: [String] = []
    /// How many replies are held against exact search at the most; 0 for none.
    public var recallCount = 500
    /// What has to hold.
    public var thresholds: [Threshold] = []
    /// The send lag's p99 that makes a run invalid, in nanoseconds; nil for the rule.
    public var sendLagMax: UInt64?
    /// How often the run is repeated.
    public var runs = 1
    /// Whether to look for the highest rate that meets the thresholds.
    public var findsMax = false
    /// What one probe of that search lasts at the most, in nanoseconds.
    public var probeDurationMax: UInt64 = 30_000_000_000
    /// A search parameter to vary.
    public var sweep: Sweep?
    /// Swaps on purpose.
    public var swaps: Swaps?
    /// Snapshots published on purpose.
    public var publishing: Publishing?
    /// Replies that are kept to be checked take so much memory at the most, in bytes; nil for what a short run needs.
    public var keptBytesMax: Int?
    /// Clients that trickle.
    public var slowClients = 0
    /// The share of requests whose client hangs up.
    public var disconnectShare = 0.0
    /// How many times the rate the middle third of the run has.
    public var overload: Double?
    /// Written into the report, as (name, value).
    public var described: [(name: String, value: String)] = []

    /// Whether arrivals were recorded elsewhere.
    public var isTrace: Bool {
        if case .trace = arrival { true } else { false }
    }

    /// Creates options with the defaults of `belfry loadtest`.
    public init(target: Target, method: String, source: Source) {
        self.target = target
        self.method = method
        self.source = source
    }
}
