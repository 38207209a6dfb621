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
        /// The others.
        case quiet
    }

    enum Quantity: Sendable, Equatable {
        case percentile(Double)
        case max
        case mean
        case errors(kind: String?)
        case refused
        case invalid
        case recall(Int)
        case rate
    }

    var quantity: Quantity
    var clock = Clock.latency
    var window: Window?

    var unit: ThresholdResult.Unit {
        switch quantity {
        case .percentile, .max, .mean: .micros
        case .errors, .refused, .invalid, .recall: .fraction
        case .rate: .perSecond
        }
    }
}
