/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the same numbers for the same seed, on every machine and in every run.
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// Starts a sequence.
    public init(seed: UInt64) {
        state = seed
    }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return SplitMix64.mix(state)
    }

    /// Uniform in (0, 1].
    public mutating func unit() -> Double {
        Double((next() >> 11) + 1) * 0x1p-53
    }

    /// A hash of `value`, each bit of which depends on each bit of it.
    static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// A share of a run's requests, picked by the seed: the same requests in every run of the same plan.
struct Sample: Sendable {
    private let seed: UInt64
    private let bound: UInt64  // a hash below it is in the sample
    private let isAll: Bool

    /// - share: 0 ... 1
    /// - purpose: tells samples of one seed apart.
    init(share: Double, seed: UInt64, purpose: UInt64) {
        self.seed = SplitMix64.mix(seed &+ purpose &* 0x9E37_79B9_7F4A_7C15)
        isAll = share >= 1
        bound = isAll || share <= 0 ? 0 : UInt64(share * 0x1p64.nextDown)
    }

    func contains(_ index: Int) -> Bool {
        isAll || SplitMix64.mix(seed ^ (UInt64(truncatingIfNeeded: index) &* 0x9E37_79B9_7F4A_7C15)) < bound
    }
}
