#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Whether enough requests were seen to say that a share is kept or broken, as MLPerf Inference's early stopping does for
/// the share of queries over a latency bound (mlcommons/inference, loadgen: early_stopping; Reddi et al., ISCA 2020): the
/// count over the bound is binomial, and a tail that is less likely than 1 - confidence decides. Requests in one queue are
/// not independent, so a decision is to be confirmed by whole runs.
struct EarlyStopping: Sendable {
    enum Decision: Sendable, Equatable {
        /// At the allowed share, so few would be over by chance only.
        case holds
        /// At the allowed share, so many would be over by chance only.
        case broken
        case undecided
    }

    /// The share that may be over: 0.01 for a 99th percentile.
    let allowedShare: Double
    /// Of a decision.
    var confidence = 0.99

    func decide(over: Int, of count: Int) -> Decision {
        guard count > 0 else { return .undecided }
        if allowedShare <= 0 { return over > 0 ? .broken : .undecided }
        if Self.atMost(over, of: count, share: allowedShare) <= 1 - confidence { return .holds }
        if over > 0, 1 - Self.atMost(over - 1, of: count, share: allowedShare) <= 1 - confidence { return .broken }
        return .undecided
    }

    /// The chance that at most `over` of `count` independent requests are over, each with the chance `share`.
    static func atMost(_ over: Int, of count: Int, share: Double) -> Double {
        if over >= count { return 1 }
        // P(X <= k) = I_{1-p}(n - k, k + 1)
        return incompleteBeta(1 - share, Double(count - over), Double(over + 1))
    }

    /// The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22) with the modified
    /// Lentz method.
    static func incompleteBeta(_ x: Double, _ a: Double, _ b: Double) -> Double {
        if x <= 0 { return 0 }
        if x >= 1 { return 1 }
        // The fraction converges fast on this side; the other side is its mirror image.
        if x > (a + 1) / (a + b + 2) { return 1 - incompleteBeta(1 - x, b, a) }
        let front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
        let tiny = 1e-300
        var c = 1.0
        var d = 1 - (a + b) * x / (a + 1)
        d = 1 / (abs(d) < tiny ? tiny : d)
        var fraction = d
        for step in 1...10_000 {
            let m = Double(step)
            for numerator in [
                m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
            ] {
                d = 1 + numerator * d
                d = 1 / (abs(d) < tiny ? tiny : d)
                c = 1 + numerator / c
                if abs(c) < tiny { c = tiny }
                fraction *= c * d
            }
            if abs(c * d - 1) < 1e-15 { break }
        }
        return front * fraction
    }
}
