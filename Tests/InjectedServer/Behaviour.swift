/// What an `InjectedServer` does wrong, how often and when. Everything is decided by a request's ordinal or by the seed, so
/// that the set of affected requests is known beforehand. Several parts may be set at once.
///
///     var behaviour = Behaviour()
///     behaviour.delayNanoseconds = 1_000_000
///     behaviour.slow = .every(100)
///     behaviour.slowDelayNanoseconds = 50_000_000
///
/// Ordinals count data requests (`/` and `/v1/retrieve`) from 1 in the order they are read.
public struct Behaviour: Sendable {
    /// Which requests are meant.
    public enum Share: Sendable, Equatable {
        /// None.
        case none
        /// The n-th, 2n-th, 3n-th...: exactly one in n.
        case every(Int)
        /// Each with this probability (0 ... 1), drawn by its ordinal and the seed.
        case fraction(Double)

        /// Whether the request with this ordinal (from 1) is among them.
        ///
        /// - purpose: tells shares of one seed apart.
        public func contains(_ ordinal: Int, seed: UInt64, purpose: UInt64 = 0) -> Bool {
            switch self {
            case .none: return false
            case .every(let distance): return distance > 0 && ordinal % distance == 0
            case .fraction(let fraction):
                var hash = seed &+ purpose &* 0xD1B5_4A32_D192_ED03 &+ UInt64(ordinal) &* 0x9E37_79B9_7F4A_7C15
                hash = (hash ^ (hash >> 32)) &* 0xD6E8_FEB8_6659_FD93
                hash = (hash ^ (hash >> 32)) &* 0xD6E8_FEB8_6659_FD93
                hash ^= hash >> 32
                return Double(hash >> 11) * 0x1p-53 < fraction
            }
        }
    }

    /// The whole server stands still, again and again: nothing is read or sent while it lasts, and what was due meanwhile
    /// goes out at its end.
    public struct Stall: Sendable, Equatable {
        /// How long each one lasts, in nanoseconds.
        public var nanoseconds: UInt64
        /// From the start of one to the start of the next, in nanoseconds.
        public var periodNanoseconds: UInt64
        /// From the start of the server to the first one, in nanoseconds.
        public var offsetNanoseconds: UInt64

        /// Creates a stall.
        public init(nanoseconds: UInt64, periodNanoseconds: UInt64, offsetNanoseconds: UInt64) {
            self.nanoseconds = nanoseconds
            self.periodNanoseconds = periodNanoseconds
            self.offsetNanoseconds = offsetNanoseconds
        }
    }

    /// A reply with another status than 200.
    public struct Refusal: Sendable, Equatable {
        /// Which requests get it.
        public var share: Share
        /// The HTTP status.
        public var status: Int
        /// The Retry-After field in seconds, or nil for none.
        public var retryAfterSeconds: Int?

        /// Creates a refusal.
        public init(share: Share, status: Int, retryAfterSeconds: Int? = nil) {
            self.share = share
            self.status = status
            self.retryAfterSeconds = retryAfterSeconds
        }
    }

    /// A way for a reply to be odd on the wire.
    public enum Oddity: String, Sendable, CaseIterable {
        /// Bytes that are no HTTP. The connection stays open.
        case garbage
        /// Header fields without end, one each `pieceGapNanoseconds`.
        case endlessHead = "endless-head"
        /// A body shorter than Content-Length, then the end of the connection.
        case shortBody = "short-body"
        /// Chunked encoding as it should be, in chunks of uneven size.
        case chunked
        /// Chunked encoding with a size that is no number.
        case brokenChunks = "broken-chunks"
        /// A good reply in pieces of `pieceByteCount` with a gap of `pieceGapNanoseconds`.
        case split
        /// A good reply, and another that nobody asked for in the same segment.
        case doubled
        /// A good reply with `Connection: close`, then the end of the connection.
        case closing
        /// A good HTTP/1.0 reply without Content-Length that ends with the connection.
        case untilClose = "until-close"
    }

    /// A way for the answer to `POST /v1/retrieve` to be wrong.
    public enum RetrievalFault: String, Sendable, CaseIterable {
        /// The first item stands last.
        case unsorted
        /// The second item repeats the first.
        case duplicate
        /// The first item is one that the request excludes; no fault where it excludes none.
        case excluded
        /// One item fewer than there are.
        case count
        /// The member `snapshot` stands twice, with different ids.
        case snapshot
        /// The first item's score is 0.01 too high.
        case score
    }

    /// Odd replies of one kind.
    public struct Odd: Sendable, Equatable {
        /// Which requests get them.
        public var share: Share
        /// What is odd.
        public var oddity: Oddity

        /// Creates odd replies.
        public init(share: Share, oddity: Oddity) {
            self.share = share
            self.oddity = oddity
        }
    }

    /// Wrong answers of one kind.
    public struct Wrong: Sendable, Equatable {
        /// Which requests get them.
        public var share: Share
        /// What is wrong.
        public var fault: RetrievalFault

        /// Creates wrong answers.
        public init(share: Share, fault: RetrievalFault) {
            self.share = share
            self.fault = fault
        }
    }

    /// Decides every `.fraction`.
    public var seed: UInt64 = 1
    /// From reading a request to its reply, in nanoseconds.
    public var delayNanoseconds: UInt64 = 0
    /// Whether requests wait for each other: a single-server queue whose service time is the delay.
    public var isSerial = false
    /// Which requests have `slowDelayNanoseconds` in place of the delay.
    public var slow = Share.none
    /// The delay of slow requests, in nanoseconds.
    public var slowDelayNanoseconds: UInt64 = 0
    /// Stalls of the whole server, or nil.
    public var stall: Stall?
    /// Which requests get the end of their connection in place of a reply.
    public var closes = Share.none
    /// Replies with other statuses; the first that applies counts.
    public var refusals: [Refusal] = []
    /// Requests per second beyond which 503 comes at once (a token bucket), or nil.
    public var capacityPerSecond: Double?
    /// How many requests the token bucket lets through at once.
    public var capacityBurst = 10.0
    /// Odd replies; the first that applies counts.
    public var odd: [Odd] = []
    /// The size of the pieces of a split reply.
    public var pieceByteCount = 16
    /// From one piece to the next, in nanoseconds.
    public var pieceGapNanoseconds: UInt64 = 1_000_000
    /// The size of the body of `/`; 0 is the text `ok`.
    public var bodyByteCount = 0
    /// Wrong answers to retrievals; the first that applies counts.
    public var wrong: [Wrong] = []
    /// How many of each ten of the best items the search misses unless it is exact: recall@n is 1 - this / 10 for each n
    /// that ten divides.
    public var missedOfTen = 0
    /// The ids of the snapshots there are; the first serves.
    public var snapshots = ["s1", "s2"]
    /// From an activation or rollback to the moment when it is in force and answered, in nanoseconds.
    public var activationNanoseconds: UInt64 = 0
    /// What a data reply takes longer while an activation lasts, in nanoseconds.
    public var activationBumpNanoseconds: UInt64 = 0
    /// A directory of snapshots whose link `current` is watched: what it names is found, and serves after
    /// `activationNanoseconds`; the one before is destroyed after `destructionNanoseconds` more. Nil: none is.
    public var watchedDirectory: String?
    /// See `watchedDirectory`; `UInt64.max` for never.
    public var destructionNanoseconds: UInt64 = 0
    /// Why a published snapshot is refused, by its id; nil for none.
    public var refusalReason: (@Sendable (String) -> String?)?
    /// What `/metrics` says of the memory, by how many published snapshots have served.
    public var residentBytes: @Sendable (Int) -> Int = { _ in 100 << 20 }
    /// The whole answer to `POST /v1/retrieve`, by the id of the snapshot that serves and the request's body; nil for the
    /// usual one.
    public var answer: (@Sendable (String, [UInt8]) -> [UInt8])?
    /// Whether the server spins instead of sleeping even while nothing is due, as long as anyone is connected; nil: if any
    /// reply is delayed.
    public var isBusyPolling: Bool?

    /// A server that does nothing wrong.
    public init() {}

    var spins: Bool {
        isBusyPolling ?? (delayNanoseconds > 0 || slowDelayNanoseconds > 0 || stall != nil)
    }
}
