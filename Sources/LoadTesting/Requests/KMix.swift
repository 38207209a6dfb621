/// How many items requests ask for: always the same, or a mix by weight.
///
///     let mix = try KMix("10:0.8,500:0.2")
public struct KMix: Sendable, Equatable {
    /// A k and the share of requests that ask for it.
    public struct Part: Sendable, Equatable {
        /// How many items.
        public let k: Int
        /// The share of requests, of 0 ... 1; those of a mix add up to 1.
        public let share: Double
    }

    /// The parts in the order they were given.
    public let parts: [Part]

    /// Every request asks for `k`.
    public init(k: Int) {
        parts = [Part(k: k, share: 1)]
    }

    /// Reads `100` or `10:0.8,500:0.2`. Weights need not add up to 1.
    ///
    /// Throws `LoadTestError.usage` that names the part.
    public init(_ text: String) throws(LoadTestError) {
        var read: [(k: Int, weight: Double)] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let halves = part.split(separator: ":", omittingEmptySubsequences: false)
            guard let first = halves.first, let k = Int(first), RequestFacts.kBounds.contains(k) else {
                throw .usage("k '\(part)' in '\(text)': expected an integer of 1 ... 10000, or a mix as 10:0.8,500:0.2")
            }
            var weight = 1.0
            if halves.count == 2 {
                guard let stated = Double(halves[1]), stated > 0, stated <= 1e9 else {
                    throw .usage("k '\(part)' in '\(text)': the weight must be a number above 0")
                }
                weight = stated
            }
            guard halves.count <= 2 else { throw .usage("k '\(part)' in '\(text)': expected K or K:WEIGHT") }
            guard !read.contains(where: { $0.k == k }) else { throw .usage("k '\(text)' has \(k) twice") }
            read.append((k, weight))
        }
        guard read.count == 1 || !text.split(separator: ",").contains(where: { !$0.contains(":") }) else {
            throw .usage("k '\(text)': each part of a mix needs a weight, as in 10:0.8,500:0.2")
        }
        let total = read.reduce(0) { $0 + $1.weight }
        parts = read.map { Part(k: $0.k, share: $0.weight / total) }
    }

    /// The k at a point of 0 ... 1.
    func k(at point: Double) -> Int {
        var sum = 0.0
        for part in parts {
            sum += part.share
            if point <= sum { return part.k }
        }
        return parts[parts.count - 1].k
    }
}
