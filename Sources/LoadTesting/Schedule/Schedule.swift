#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Every instant at which a request is due, fixed before the first is sent.
///
///     let schedule = try Schedule(arrival: .poisson, phases: [.init(rate: 2000, nanoseconds: 30_000_000_000)],
///                                 warmupNanoseconds: 5_000_000_000, seed: 1)
public struct Schedule: Sendable {
    /// A stretch of time at one rate.
    public struct Phase: Sendable, Equatable {
        /// Requests per second.
        public let rate: Double
        /// How long it lasts.
        public let nanoseconds: UInt64

        /// Creates a phase.
        public init(rate: Double, nanoseconds: UInt64) {
            self.rate = rate
            self.nanoseconds = nanoseconds
        }
    }

    /// More instants than this are refused: 2 GiB of them.
    public static let countMax = 1 << 28

    /// Nanoseconds from the start of the run, ascending. (count)
    public let instants: [UInt64]
    /// Requests before this instant warm up and are not counted.
    public let warmupNanoseconds: UInt64
    /// When the last phase ends, from the start of the run.
    public let endNanoseconds: UInt64
    /// What it was made from.
    public let arrival: Arrival
    /// The phases after the warm-up, which runs at the first one's rate.
    public let phases: [Phase]
    /// The seed of Poisson arrivals.
    public let seed: UInt64

    /// Requests per second that are due after the warm-up.
    public var rate: Double {
        let counted = instants.count - warmupCount
        return Double(counted) / (Double(endNanoseconds - warmupNanoseconds) / 1e9)
    }

    /// How many instants lie in the warm-up.
    public var warmupCount: Int {
        var low = 0
        var high = instants.count
        while low < high {
            let middle = (low + high) / 2
            if instants[middle] < warmupNanoseconds { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Draws a schedule.
    ///
    /// - phases: of a trace only the length counts, which cuts it; with none the whole trace is played.
    public init(arrival: Arrival, phases: [Phase], warmupNanoseconds: UInt64, seed: UInt64) throws(LoadTestError) {
        self.arrival = arrival
        self.phases = phases
        self.warmupNanoseconds = warmupNanoseconds
        self.seed = seed
        if case .trace(let recorded) = arrival {
            let end = phases.isEmpty ? (recorded.last ?? 0) + 1 : phases.reduce(0) { $0 + $1.nanoseconds }
            instants = recorded.filter { $0 < end }
            endNanoseconds = end
            guard warmupNanoseconds < end else { throw .usage("the warm-up leaves nothing of the trace") }
            guard !instants.isEmpty else { throw .usage("the trace holds no arrival within the duration") }
            return
        }
        guard let first = phases.first else { throw .usage("a schedule needs a duration") }
        let all = [Phase(rate: first.rate, nanoseconds: warmupNanoseconds)] + phases
        let expected = all.reduce(0.0) { $0 + $1.rate * Double($1.nanoseconds) / 1e9 }
        guard all.allSatisfy({ $0.rate > 0 && $0.rate.isFinite }) else { throw .usage("a rate must be above 0") }
        var largest = expected
        // Each phase begins with a whole burst.
        if case .bursts(let size) = arrival { largest += Double(size) * Double(all.count) }
        guard largest < Double(Self.countMax) else {
            throw .usage("that makes more requests than the \(Self.countMax) that fit one run")
        }
        var instants: [UInt64] = []
        instants.reserveCapacity(Int(expected * 1.02) + 64)
        var random = SplitMix64(seed: seed)
        var start = 0.0
        for phase in all where phase.nanoseconds > 0 {
            let end = start + Double(phase.nanoseconds)
            let gap = 1e9 / phase.rate
            switch arrival {
            case .poisson:
                var instant = start - log(random.unit()) * gap
                while instant < end {
                    instants.append(UInt64(instant))
                    instant -= log(random.unit()) * gap
                }
            case .constant: Self.append(1, phase, from: start, to: &instants)
            case .bursts(let size):
                guard size > 0 else { throw .usage("a burst holds at least one request") }
                Self.append(size, phase, from: start, to: &instants)
            case .trace: break
            }
            start = end
        }
        self.instants = instants
        endNanoseconds = UInt64(start)
        guard instants.count > 0, warmupCount < instants.count else {
            throw .usage("at this rate no request is due within the duration")
        }
    }

    /// Bursts at constant distance. Their numbers are divided by the rate: a sum or a multiple of rounded distances may leave
    /// room for one more burst just before the end of the phase.
    private static func append(_ size: Int, _ phase: Phase, from start: Double, to instants: inout [UInt64]) {
        let length = Double(phase.nanoseconds)
        var number = 0.0
        while true {
            let distance = number * Double(size) * 1e9 / phase.rate
            guard distance < length else { return }
            for _ in 0..<size { instants.append(UInt64(start + distance)) }
            number += 1
        }
    }
}
