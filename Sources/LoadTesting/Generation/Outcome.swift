/// What became of a request.
public enum OutcomeKind: UInt8, BitwiseCopyable, Sendable, CaseIterable {
    /// Never sent: the run ended before its turn came. Only while a run lasts.
    case pending = 0
    /// A reply with a status of 200 to 299.
    case success
    /// A reply with another status: refused with 429 or 503, or an error.
    case status
    /// The connection was closed or reset before the reply was whole.
    case closed
    /// No whole reply within the timeout, counted from the scheduled instant while it waits, from the send afterwards.
    case timeout
    /// What came was no HTTP reply.
    case malformed
    /// The client hung up on purpose (`--disconnect`).
    case abandoned
}

/// One request's fate and where its time went. Times are kept in ticks of 16 ns and end at 68 s.
///
///     scheduled --lag--> noticed --wait--> a connection is free --lag--> sent --service--> reply whole
///
/// `latency` is all of it; `lag` is the generator's own delay, before and after the wait for a connection.
public struct Outcome: BitwiseCopyable, Sendable {
    /// When it was due, in nanoseconds from the start of the run; when it was sent, in closed loop.
    public var scheduled: UInt64
    var lagTicks: UInt32 = 0
    var waitTicks: UInt32 = 0
    var serviceTicks: UInt32 = 0
    var serverTicks: UInt32 = 0
    /// The HTTP status, 0 without a reply.
    public var status: UInt16 = 0
    /// What became of it.
    public var kind: OutcomeKind = .pending
    /// The snapshot that the reply names: an index into `RunResult.snapshots`, or 255 for none.
    public var snapshot: UInt8 = 255

    /// A request that is due.
    public init(scheduled: UInt64) {
        self.scheduled = scheduled
    }

    /// The generator's own delay, in nanoseconds.
    public var lag: UInt64 { UInt64(lagTicks) << 4 }
    /// How long every connection was busy, in nanoseconds.
    public var wait: UInt64 { UInt64(waitTicks) << 4 }
    /// From the send to the end of the reply, in nanoseconds.
    public var service: UInt64 { UInt64(serviceTicks) << 4 }
    /// What the server says that it worked on the request (`Server-Timing: total`), in nanoseconds; 0 where it does not say.
    public var server: UInt64 { UInt64(serverTicks) << 4 }
    /// From the scheduled instant to the end of the reply, in nanoseconds.
    public var latency: UInt64 { (UInt64(lagTicks) + UInt64(waitTicks) + UInt64(serviceTicks)) << 4 }

    /// Nanoseconds as ticks.
    @inline(__always)
    static func ticks(_ nanoseconds: UInt64) -> UInt32 { UInt32(clamping: nanoseconds >> 4) }
}
