/// Something about a run that a threshold may name.
struct Metric: Sendable, Equatable {
    /// Which time of a request is meant.
    enum Clock: String, Sendable, CaseIterable {
        /// From the scheduled instant to the end of the reply.
        case latency
        /// From the send to the end of the reply.
        case service
        /// The generator's own delay.
        case lag
        /// How long every connection was busy.
        case wait
    }

    /// Which requests are meant.
    enum Window: String, Sendable, CaseIterable {
        /// Those that were due while a snapshot was swapped.
        case swap
        /// Those that were due in equally long windows between the swaps (`SwapWindows`).
        case quiet
    }

    /// When the daemon's memory is meant.
    enum Instant: String, Sendable, CaseIterable {
        /// After the third swap: what only grows once has.
        case third
        /// After the last one.
        case last
    }

    enum Quantity: Sendable, Equatable {
        case percentile(Double)
        case max
        case mean
        case errors(kind: String?)
        case refused
        case invalid
        case mixed
        case swaps(failed: Bool)
        case memory(Instant)
        case recall(Int)
        case rate
    }

    var quantity: Quantity
    var clock = Clock.latency
    var window: Window?

    var unit: ThresholdResult.Unit {
        switch quantity {
        case .percentile, .max, .mean: .micros
        case .errors, .refused, .invalid, .mixed, .recall: .fraction
        case .swaps: .count
        case .memory: .bytes
        case .rate: .perSecond
        }
    }
}
