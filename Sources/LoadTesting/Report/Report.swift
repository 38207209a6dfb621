/// What a load test found, as it is written to `--json`. All seconds in it count from the start of their run, warm-up
/// included; all latencies are in microseconds.
public struct Report: Codable, Sendable, Equatable {
    /// What `format` says in this version.
    public static let currentFormat = "belfry-loadtest/1"

    /// How the load test ended.
    public typealias Exit = RunVerdict

    /// Whether requests kept to a schedule.
    public enum Mode: String, Codable, Sendable {
        /// Sent at scheduled instants, whatever the server does.
        case open
        /// Each connection waited for its reply: latencies hide queueing.
        case closed
    }

    /// What was asked for, by the option's name.
    public struct Option: Codable, Sendable, Equatable {
        /// Such as `--rate`.
        public var name: String
        /// Such as `2000`.
        public var value: String

        /// Creates an option.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// Requests that got no success.
    public struct Errors: Codable, Sendable, Equatable {
        /// How many; requests that were hung up on purpose are none.
        public var total: Int
        /// Of all requests.
        public var share: Double
        /// How many of each: `status 503`, `closed`, `timeout`, `malformed`.
        public var byKind: [String: Int]

        enum CodingKeys: String, CodingKey {
            case total, share
            case byKind = "by_kind"
        }
    }

    /// A snapshot that replies named.
    public struct Snapshot: Codable, Sendable, Equatable {
        /// Its id.
        public var id: String
        /// How many replies named it.
        public var replies: Int
        /// When the first of these requests was due.
        public var firstS: Double
        /// When the last one was.
        public var lastS: Double

        enum CodingKeys: String, CodingKey {
            case id, replies
            case firstS = "first_s"
            case lastS = "last_s"
        }
    }

    /// What was done to the server on purpose.
    public struct Mark: Codable, Sendable, Equatable {
        /// Which run, from 0.
        public var run: Int
        /// Such as `swap`.
        public var kind: String
        /// For a swap the snapshot's id.
        public var label: String
        /// When it began.
        public var startS: Double
        /// When it was over.
        public var endS: Double
        /// Why it did not succeed, or nil.
        public var fault: String?

        enum CodingKeys: String, CodingKey {
            case run, kind, label
            case startS = "start_s"
            case endS = "end_s"
            case fault
        }
    }

    /// Latencies while a snapshot was swapped, and in equally long windows between the swaps.
    public struct Windows: Codable, Sendable, Equatable {
        /// Requests due while a swap was under way.
        public var swap: LatencySummary
        /// Requests due in the quiet windows.
        public var quiet: LatencySummary
        /// How many swaps there are, each with its quiet window; nil in reports of versions in which quiet was all else.
        public var pairs: Int?
        /// How long the swaps' windows are together.
        public var swapS: Double?
        /// How long the quiet windows are together.
        public var quietS: Double?
        /// How many times slower requests are while a snapshot is swapped.
        public var ratios: [SwapRatio]?

        enum CodingKeys: String, CodingKey {
            case swap, quiet, pairs
            case swapS = "swap_s"
            case quietS = "quiet_s"
            case ratios
        }
    }

    /// One second of the counted part, by scheduled instants. Its percentiles are there to be drawn: the rule of 10 samples
    /// does not hold for them.
    public struct Interval: Codable, Sendable, Equatable {
        /// Which run, from 0.
        public var run: Int
        /// When it began.
        public var startS: Double
        /// How long it is: 1, or less for the last one.
        public var lengthS: Double
        /// Requests that were due.
        public var requests: Int
        /// How many of them succeeded.
        public var succeeded: Int
        /// How many failed.
        public var errors: Int
        /// The median, or nil without a success.
        public var p50: Double?
        /// The 99th percentile, or nil with fewer than 100 successes.
        public var p99: Double?
        /// The largest, or nil without a success.
        public var max: Double?
        /// Replies by snapshot id.
        public var snapshots: [String: Int]
        /// The latencies' histogram (`HistogramCodec.text`).
        public var latency: String

        enum CodingKeys: String, CodingKey {
            case run
            case startS = "start_s"
            case lengthS = "length_s"
            case requests, succeeded, errors, p50, p99, max, snapshots, latency
        }
    }

    /// Histograms of the counted part in nanoseconds (`HistogramCodec.text`).
    public struct Histograms: Codable, Sendable, Equatable {
        /// From the scheduled instant to the end of the reply.
        public var latency: String
        /// From the send to the end of the reply.
        public var service: String
        /// The generator's own delay.
        public var sendLag: String
        /// The wait for a connection.
        public var connectionWait: String

        enum CodingKeys: String, CodingKey {
            case latency, service
            case sendLag = "send_lag"
            case connectionWait = "connection_wait"
        }
    }

    /// One of several runs.
    public struct Run: Codable, Sendable, Equatable {
        /// ISO 8601.
        public var startedAt: String
        /// The counted part.
        public var durationS: Double
        /// Requests per second that were due.
        public var scheduledRate: Double
        /// Successes per second.
        public var achievedRate: Double
        /// Requests that were due.
        public var requests: Int
        /// Those without success.
        public var errors: Errors
        /// From the scheduled instant.
        public var latencyUs: LatencySummary

        enum CodingKeys: String, CodingKey {
            case startedAt = "started_at"
            case durationS = "duration_s"
            case scheduledRate = "scheduled_rate"
            case achievedRate = "achieved_rate"
            case requests, errors
            case latencyUs = "latency_us"
        }
    }

    /// What a report says that the runs themselves do not know.
    public struct Context: Sendable {
        /// Which program wrote it.
        public var tool = "belfry"
        /// Where requests went.
        public var target: String
        /// What was asked for.
        public var options: [Option] = []
        /// What made the schedule and the requests.
        public var seed: UInt64 = 1
        /// `Arrival.name`, or `closed`.
        public var arrival: String
        /// Connections in all.
        public var connections = 16
        /// The generator's threads.
        public var threads = 1
        /// Why the figures are not to be believed.
        public var invalid: [String] = []
        /// The check of kept replies.
        public var validation: ValidationReport?
        /// Recall of the timed replies.
        public var recall: RecallReport?
        /// What became of the thresholds.
        public var thresholds: [ThresholdResult] = []
        /// 95 % confidence intervals by percentile, `p99: [low, high]`, in microseconds.
        public var latencyIntervals: [String: [Double]]?
        /// How it ended.
        public var exit = Exit.passed
        /// Where it ran, taken before the load started.
        public var machine = Machine.current()

        /// Creates a context; the rest has defaults.
        public init(target: String, arrival: String) {
            self.target = target
            self.arrival = arrival
        }
    }

    /// `belfry-loadtest/1`.
    public var format: String
    /// Which program wrote it.
    public var tool: String
    /// How the load test ended.
    public var exit: Exit
    /// Whether the figures are to be believed.
    public var valid: Bool
    /// Why they are not.
    public var invalid: [String]
    /// When the first run started, ISO 8601.
    public var startedAt: String
    /// Where it ran.
    public var machine: Machine
    /// Where requests went.
    public var target: String
    /// Open or closed loop.
    public var mode: Mode
    /// How requests arrived.
    public var arrival: String
    /// What was asked for.
    public var options: [Option]
    /// What made the schedule and the requests.
    public var seed: UInt64
    /// Connections in all.
    public var connections: Int
    /// The generator's threads.
    public var threads: Int
    /// The counted part of all runs together.
    public var durationS: Double
    /// The warm-up of each run.
    public var warmupS: Double

    /// Requests per second that were due; 0 in closed loop.
    public var scheduledRate: Double
    /// Successes per second of the counted part.
    public var achievedRate: Double
    /// Requests that were due in the counted part.
    public var requests: Int
    /// Those that succeeded.
    public var succeeded: Int
    /// Those whose client hung up on purpose.
    public var abandoned: Int
    /// Those without success.
    public var errors: Errors
    /// From the scheduled instant to the end of the reply, of successes.
    public var latencyUs: LatencySummary
    /// 95 % confidence intervals by percentile.
    public var latencyIntervals: [String: [Double]]?
    /// From the send to the end of the reply, of successes.
    public var serviceUs: LatencySummary
    /// The generator's own delay.
    public var sendLagUs: LatencySummary
    /// How long requests waited because every connection was busy.
    public var connectionWaitUs: LatencySummary
    /// Snapshots that replies named, in the order they were first seen.
    public var snapshots: [Snapshot]
    /// What was done to the server on purpose.
    public var marks: [Mark]
    /// Latencies while a snapshot was swapped; nil if none was.
    public var windows: Windows?
    /// Snapshots that were published meanwhile; nil if none was.
    public var swaps: SwapReport?
    /// Seconds of all runs.
    public var intervals: [Interval]
    /// Of all runs together.
    public var histograms: Histograms
    /// Each run, where there are several.
    public var runs: [Run]?
    /// A body by status, of replies without success.
    public var errorBodies: [String: String]
    /// The share of replies that was kept to be checked.
    public var keptShare: Double
    /// Connections opened anew.
    public var reconnections: Int
    /// Successes whose reply says that it is degraded; nil in reports of versions that did not count them.
    public var degraded: Int?
    /// The check of kept replies.
    public var validation: ValidationReport?
    /// Recall of the timed replies.
    public var recall: RecallReport?
    /// What became of the thresholds.
    public var thresholds: [ThresholdResult]
    /// The percentile curves, to be drawn.
    public var curves: Curves?
    /// What each value of a search parameter gave, with `--sweep`.
    public var sweep: [SweepRow]?
    /// The search for the highest rate, with `--find-max`.
    public var findMax: FindMaxReport?
    /// Before, during and after an overload, with `--overload`.
    public var overload: OverloadReport?

    enum CodingKeys: String, CodingKey {
        case format, tool, exit, valid, invalid
        case startedAt = "started_at"
        case machine, target, mode, arrival, options, seed, connections, threads
        case durationS = "duration_s"
        case warmupS = "warmup_s"
        case scheduledRate = "scheduled_rate"
        case achievedRate = "achieved_rate"
        case requests, succeeded, abandoned, errors
        case latencyUs = "latency_us"
        case latencyIntervals = "latency_intervals"
        case serviceUs = "service_us"
        case sendLagUs = "send_lag_us"
        case connectionWaitUs = "connection_wait_us"
        case snapshots, marks, windows, swaps, intervals, histograms, runs
        case errorBodies = "error_bodies"
        case keptShare = "kept_share"
        case reconnections, degraded, validation, recall, thresholds, curves, sweep
        case findMax = "find_max"
        case overload
    }
}

extension Report.Interval {
    /// Writes null where there is no value.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(run, forKey: .run)
        try container.encode(startS, forKey: .startS)
        try container.encode(lengthS, forKey: .lengthS)
        try container.encode(requests, forKey: .requests)
        try container.encode(succeeded, forKey: .succeeded)
        try container.encode(errors, forKey: .errors)
        try container.encode(p50, forKey: .p50)
        try container.encode(p99, forKey: .p99)
        try container.encode(max, forKey: .max)
        try container.encode(snapshots, forKey: .snapshots)
        try container.encode(latency, forKey: .latency)
    }
}
