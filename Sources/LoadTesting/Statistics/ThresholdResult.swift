/// What became of a threshold.
public struct ThresholdResult: Codable, Sendable, Equatable {
    /// The three ways it can end.
    public enum Verdict: String, Codable, Sendable {
        /// It holds.
        case holds
        /// It does not: exit status 99.
        case fails
        /// It could not be judged, such as a percentile with fewer than 10 samples above it: exit status 3.
        case unmeasured
    }

    /// What both sides are counted in.
    public enum Unit: String, Codable, Sendable {
        /// Microseconds.
        case micros = "us"
        /// A share of 1.
        case fraction
        /// A rate.
        case perSecond = "per_second"
        /// How many.
        case count
        /// Memory.
        case bytes
    }

    /// As it was written: `p(99)<5ms`.
    public var expression: String
    /// What both sides are counted in.
    public var unit = Unit.micros
    /// The left side's value.
    public var observed: Double?
    /// The right side's value.
    public var limit: Double?
    /// What became of it.
    public var verdict: Verdict
    /// Why it could not be judged, or nil.
    public var reason: String?
}
