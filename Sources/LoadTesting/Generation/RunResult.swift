public import Histogram

/// Latencies in nanoseconds, 3 digits, 1 us to 60 s (<http://hdrhistogram.org>).
public typealias LatencyHistogram = Histogram<UInt64>

extension Histogram where Count == UInt64 {
    /// An empty histogram of the range all of ours have, so that any two can be merged.
    public static func latencies() -> LatencyHistogram {
        LatencyHistogram(
            lowestDiscernibleValue: 1_000, highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three
        )
    }

    /// Records nanoseconds; what is beyond the range counts as its end.
    @inline(__always)
    mutating func recordClamped(_ nanoseconds: UInt64) {
        record(Swift.min(nanoseconds, 60_000_000_000))
    }
}

/// What one run gave. Counts and histograms leave the warm-up out; latencies are those of successes.
public struct RunResult: Sendable {
    /// A stretch of the run that a fault or a swap marks, in nanoseconds from the start of the run.
    public struct Mark: Sendable, Equatable {
        /// What happened, such as `swap`.
        public let kind: String
        /// For a swap the id of the snapshot.
        public let label: String
        /// When it began.
        public let start: UInt64
        /// When it was over.
        public let end: UInt64
        /// Why it did not succeed, or nil.
        public let fault: String?
        /// Of a published snapshot's swap what the daemon says about it.
        public internal(set) var swap: SwapRecord?

        /// Creates a mark.
        public init(
            kind: String, label: String, start: UInt64, end: UInt64, fault: String? = nil, swap: SwapRecord? = nil
        ) {
            self.kind = kind
            self.label = label
            self.start = start
            self.end = end
            self.fault = fault
            self.swap = swap
        }
    }

    /// A reply that was kept to be checked after the timed run.
    public struct KeptReply: Sendable {
        /// Index into `outcomes`.
        public let outcome: Int
        /// Index into the plan's requests.
        public let request: Int
        /// The body as it came.
        public let body: [UInt8]
        /// How many bytes of JSON a binary reply begins with; nil for a reply that is JSON.
        public var jsonByteCount: Int?

        /// Whether both are binary, with the same bytes behind the JSON.
        func hasSameLists(as other: KeptReply) -> Bool {
            guard let start = jsonByteCount, let otherStart = other.jsonByteCount else { return false }
            let count = body.count - start
            guard count >= 0, count == other.body.count - otherStart else { return false }
            return body.withUnsafeBytes { bytes in
                other.body.withUnsafeBytes { otherBytes in
                    bytes[start...].elementsEqual(otherBytes[otherStart...])
                }
            }
        }
    }

    /// Whether every request was sent at its scheduled instant; false: closed loop.
    public var isOpenLoop: Bool
    /// Requests per second that were due, warm-up left out; 0 in closed loop.
    public var scheduledRate: Double
    /// The end of the warm-up, in nanoseconds from the start of the run.
    public var warmupEnd: UInt64
    /// The end of the schedule, in nanoseconds from the start of the run.
    public var end: UInt64
    /// The start of the run, in seconds of the Unix epoch.
    public var startedAt: Double
    /// All requests in the order they were due, those of the warm-up included.
    public var outcomes: [Outcome]
    /// From the scheduled instant to the end of the reply.
    public var latency: LatencyHistogram
    /// From the actual send to the end of the reply.
    public var service: LatencyHistogram
    /// The generator's own delay, of all requests.
    public var sendLag: LatencyHistogram
    /// How long a request waited because every connection was busy, of all requests.
    public var connectionWait: LatencyHistogram
    /// The ids that replies named, in the order they were first seen.
    public var snapshots: [String]
    /// What was done to the server on purpose, in the order it began.
    public var marks: [Mark]
    /// Replies kept to be checked, warm-up left out.
    public var kept: [KeptReply]
    /// The share of replies that were kept; lower than asked for where memory would not hold them.
    public var keptShare: Double
    /// Up to a few bodies of replies that were no success, by status.
    public var errorBodies: [UInt16: String]
    /// Whether the run was stopped before its end.
    public var isCut = false
    /// Connections opened anew after the first ones.
    public var reconnections: Int
    /// Successes whose reply says that it is degraded, warm-up left out.
    public var degraded = 0

    /// What the hypervisor took of the processors meanwhile, or nil where that is not known.
    public var stolen: StolenTime?

    /// Swaps to published snapshots that came to an end, in the order they began.
    public var swaps: [SwapRecord] { marks.compactMap(\.swap) }

    /// Outcomes that count: those after the warm-up.
    public var counted: ArraySlice<Outcome> {
        outcomes[(outcomes.firstIndex { $0.scheduled >= warmupEnd } ?? outcomes.count)...]
    }
}
