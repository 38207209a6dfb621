#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Draws of one seed. The standard library's own draws may change with its version, these do not.
struct SeededDraws {
    private var random: SplitMix64

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
    }

    /// Uniform in 0 ..< bound; the bias is below bound / 2^64.
    mutating func below(_ bound: Int) -> Int {
        Int(random.next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// Uniform in (0, 1].
    mutating func unit() -> Double { random.unit() }

    /// True in so large a share of draws.
    mutating func chance(_ share: Double) -> Bool { random.unit() <= share }

    /// Normal with mean 0 and deviation 1 (Box and Muller, 1958).
    mutating func normal() -> Double {
        (-2 * log(random.unit())).squareRoot() * cos(2 * Double.pi * random.unit())
    }

    /// Any 64 bits.
    mutating func bits() -> UInt64 { random.next() }

    /// The numbers 0 ..< count in a random order (Fisher and Yates).
    mutating func permutation(_ count: Int) -> [UInt32] {
        var order = (0..<UInt32(count)).map { $0 }
        var rest = count
        while rest > 1 {
            let other = below(rest)
            rest -= 1
            order.swapAt(rest, other)
        }
        return order
    }
}

/// Ranks 0 ..< count, rank r with a chance in proportion to (r + 1)^-exponent.
struct ZipfRanks {
    private let count: Int
    // Sums of the chances up to each rank; empty if all are alike. (count)
    private let sums: [Double]

    init(count: Int, exponent: Double) {
        self.count = count
        var sums: [Double] = []
        if exponent > 0 {
            sums.reserveCapacity(count)
            var sum = 0.0
            for rank in 0..<count {
                sum += pow(Double(rank + 1), -exponent)
                sums.append(sum)
            }
        }
        self.sums = sums
    }

    func draw(_ draws: inout SeededDraws) -> Int {
        guard let total = sums.last else { return draws.below(count) }
        let point = draws.unit() * total
        var low = 0
        var high = count - 1
        while low < high {
            let middle = (low + high) / 2
            if sums[middle] < point { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
