/// What the server itself saw, for holding a client's report to.
public struct Truth: Sendable {
    /// One data request. Instants are CLOCK_MONOTONIC in nanoseconds.
    public struct Exchange: BitwiseCopyable, Sendable {
        /// When the request was read whole.
        public var read: UInt64
        /// When its reply should have gone out.
        public var due: UInt64
        /// Before the reply's last part was written. The client may have it from here on.
        public var sending: UInt64
        /// When the reply had been written whole; 0 if it never was. On loopback writing includes the kernel's delivery.
        public var sent: UInt64
        /// The status that was sent; 0 where the connection was closed instead.
        public var status: UInt64
    }

    /// Connections that were accepted.
    public internal(set) var connections = 0
    /// Data requests that were read.
    public internal(set) var requests = 0
    /// Replies to data requests that were written whole.
    public internal(set) var replies = 0
    /// Connections that were closed in place of a reply.
    public internal(set) var closed = 0
    /// Replies with a status other than 200.
    public internal(set) var refused = 0
    /// Replies that were odd on the wire.
    public internal(set) var odd = 0
    /// Answers that were wrong.
    public internal(set) var wrong = 0
    /// Clients that hung up before their reply was written.
    public internal(set) var abandoned = 0
    /// Requests to the admin plane.
    public internal(set) var administrative = 0
    /// When each stall began and ended.
    public internal(set) var stalls: [(start: UInt64, end: UInt64)] = []
    /// The first data requests in the order they were read, as many as the ring holds (of a longer run the last ones).
    public internal(set) var exchanges: [Exchange] = []

    /// From reading the request to having written its reply, of the replies with status 200, ascending, in nanoseconds.
    public var serviceNanoseconds: [UInt64] {
        exchanges.filter { $0.sent > 0 && $0.status == 200 }.map { $0.sent - $0.read }.sorted()
    }

    /// How late the writing of replies began, ascending, in nanoseconds; a stall's are late by its rest.
    public var latenessNanoseconds: [UInt64] {
        exchanges.filter { $0.sent > 0 }.map { $0.sending - $0.due }.sorted()
    }

    /// The smallest sample that at least this share of the ascending samples does not exceed; 0 of none.
    public static func quantile(_ quantile: Double, of ascending: [UInt64]) -> UInt64 {
        guard !ascending.isEmpty else { return 0 }
        let rank = (quantile * Double(ascending.count)).rounded(.up)
        return ascending[min(max(Int(rank), 1), ascending.count) - 1]
    }

    /// Counts and percentiles, the latter in microseconds, as `GET /truth` gives them.
    public var json: String {
        func summary(_ ascending: [UInt64]) -> String {
            let quantiles = [0.5, 0.9, 0.95, 0.985, 0.99, 0.995, 0.999, 1]
            let names = ["p50", "p90", "p95", "p98.5", "p99", "p99.5", "p99.9", "max"]
            let values = zip(names, quantiles).map { name, quantile in
                "\"\(name)\":\(Double(Truth.quantile(quantile, of: ascending)) / 1000)"
            }
            return "{\"count\":\(ascending.count),\(values.joined(separator: ","))}"
        }
        let stalls = stalls.map { "[\($0.start),\($0.end)]" }.joined(separator: ",")
        return """
            {"connections":\(connections),"requests":\(requests),"replies":\(replies),"closed":\(closed),\
            "refused":\(refused),"odd":\(odd),"wrong":\(wrong),"abandoned":\(abandoned),\
            "administrative":\(administrative),"first_read_ns":\(exchanges.first?.read ?? 0),\
            "last_sent_ns":\(exchanges.reduce(0) { max($0, $1.sent) }),"stalls_ns":[\(stalls)],\
            "service_us":\(summary(serviceNanoseconds)),"late_us":\(summary(latenessNanoseconds))}
            """
    }
}

/// The truth while it grows. An ordinal beyond the count is of a request from before a reset. It is a ring that is touched beforehand, so that recording never waits for a page.
struct Ledger: ~Copyable {
    var counts = Truth()
    private let ring: UnsafeMutableBufferPointer<Truth.Exchange>

    init(capacity: Int) {
        ring = .allocate(capacity: capacity)
        ring.initialize(repeating: Truth.Exchange(read: 0, due: 0, sending: 0, sent: 0, status: 0))
        counts.stalls.reserveCapacity(1024)
    }

    deinit {
        ring.deallocate()
    }

    /// Notes a request; its ordinal, from 1.
    mutating func begin(read: UInt64) -> Int {
        counts.requests += 1
        ring[(counts.requests - 1) % ring.count] = Truth.Exchange(read: read, due: read, sending: 0, sent: 0, status: 0)
        return counts.requests
    }

    mutating func plan(ordinal: Int, due: UInt64, status: Int) {
        guard ordinal <= counts.requests, counts.requests - ordinal < ring.count else { return }
        ring[(ordinal - 1) % ring.count].due = due
        ring[(ordinal - 1) % ring.count].status = UInt64(status)
    }

    mutating func end(ordinal: Int, sending: UInt64, sent: UInt64) {
        counts.replies += 1
        guard ordinal <= counts.requests, counts.requests - ordinal < ring.count else { return }
        ring[(ordinal - 1) % ring.count].sent = sent
        ring[(ordinal - 1) % ring.count].sending = sending
    }

    mutating func reset() {
        counts = Truth()
        counts.stalls.reserveCapacity(1024)
    }

    /// A copy that outlives the ring.
    var truth: Truth {
        var truth = counts
        let first = max(0, counts.requests - ring.count)
        truth.exchanges = (first..<counts.requests).map { ring[$0 % ring.count] }
        return truth
    }
}
