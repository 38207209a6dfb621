/// Everything a run does, fixed before it starts.
public struct LoadPlan: Sendable {
    /// When requests are sent.
    public enum Mode: Sendable {
        /// At the instants of a schedule, whatever the server does.
        case open(Schedule)
        /// Each connection sends as soon as it has its reply. For saturation only: a slow server slows the load, and its
        /// queue stays out of the latencies.
        case closed(warmupNanoseconds: UInt64, nanoseconds: UInt64)
    }

    /// Where requests go.
    public var target: Target
    /// `POST` or `GET`.
    public var method = "POST"
    /// When they go.
    public var mode: Mode
    /// What is sent: request i of the run is request i modulo the count.
    public var requests: [LoadRequest]
    /// Threads, each with its own connections, schedule slice and histograms.
    public var threads = 1
    /// Connections in all.
    public var connections = 16
    /// After this long a request has failed, in nanoseconds.
    public var timeoutNanoseconds: UInt64 = 10_000_000_000
    /// The share of replies that is kept to be checked.
    public var keptShare = 0.01
    /// The share of requests whose client hangs up right after sending.
    public var disconnectShare = 0.0
    /// The kept replies' bytes at the most, in all threads together; beyond, keeping ends.
    public var keptBytesMax = LoadPlan.usualKeptBytesMax
    /// Not more than this many replies are kept: the share is lowered beforehand, or, where the number of replies is not
    /// known, keeping ends.
    public var keptCountMax = LoadPlan.usualKeptCountMax
    /// So long before a send is due, and before and after a reply is likely, a thread polls instead of sleeping: timers and
    /// replies wake a thread up late, above all on virtual machines. In nanoseconds; `UInt64.max` never sleeps.
    public var spinNanoseconds: UInt64 = 200_000
    /// Picks samples.
    public var seed: UInt64 = 1

    /// Creates a plan.
    public init(target: Target, mode: Mode, requests: [LoadRequest]) {
        self.target = target
        self.mode = mode
        self.requests = requests
    }

    /// What a plan keeps unless it says otherwise.
    public static let usualKeptCountMax = 20_000
    /// Likewise in bytes.
    public static let usualKeptBytesMax = 512 << 20
}
