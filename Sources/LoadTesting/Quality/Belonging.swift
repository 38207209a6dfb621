/// Whether a reply's items, scores and snapshot belong together: each score is recomputed from the embedding that PyTorch makes
/// of the request with the source that the named snapshot was published from, and from that source's item vectors.
///
///     let belonging = Belonging(sources: [a, b], sourceByID: ["swap-0001-a-x": 0, "swap-0002-b-x": 1])
struct Belonging: Sendable {
    /// What a score may differ by from the recomputed one, relative to the product of both vectors' lengths: what embeddings
    /// are held to, in float32.
    static let tolerance = 1e-5

    private let sources: [SnapshotSource]
    private let sourceByID: [String: Int]

    /// - sourceByID: which source each id that may answer was published from.
    init(sources: [SnapshotSource], sourceByID: [String: Int]) {
        self.sources = sources
        self.sourceByID = sourceByID
    }

    /// What one reply came to.
    enum Verdict {
        /// Everything is as the named snapshot has it.
        case belongs(source: Int, scoreCount: Int, worst: Double, found: Int, wanted: Int)
        /// It is not, in words.
        case mixed(String)
        /// Nothing is known about the request.
        case unknownRequest
    }

    /// Recomputes a reply.
    ///
    /// - key: of the request, by `Expectations.key`.
    func check(_ reply: RetrieveReply, key: String) -> Verdict {
        guard let number = sourceByID[reply.snapshotID] else {
            return .mixed("it names '\(reply.snapshotID)', which nobody published")
        }
        let source = sources[number]
        guard reply.spaceID == source.spaceID else {
            let named = reply.spaceID.map { "'\($0)'" } ?? "no space"
            return .mixed("'\(reply.snapshotID)' is of space '\(source.spaceID)', the reply names \(named)")
        }
        guard let expected = source.expected(key) else { return .unknownRequest }
        var worst = 0.0
        var rows: Set<Int> = []
        for (rank, (id, score)) in zip(reply.ids, reply.scores).enumerated() {
            guard let row = source.ids.row(id.string) else {
                return .mixed("'\(id.string)' at rank \(rank) is no item of '\(reply.snapshotID)'")
            }
            rows.insert(row)
            let (wanted, scale) = best(source, row, expected.embeddings)
            // A score that is no number differs from everything.
            let difference = abs(score - wanted) / max(scale, .leastNormalMagnitude)
            guard difference <= Self.tolerance else {
                return .mixed(
                    "'\(id.string)' at rank \(rank) of '\(reply.snapshotID)': recomputed \(wanted), got \(score)")
            }
            worst = max(worst, difference)
        }
        // Items that another snapshot's search found, scored by this one's vectors, have the scores they should have.
        let found = rows.intersection(expected.best).count
        for (other, candidate) in sources.enumerated() where other != number {
            guard let theirs = candidate.expected(key) else { continue }
            let theirCount = reply.ids.count { candidate.ids.row($0.string).map(theirs.best.contains) ?? false }
            if theirCount > found {
                return .mixed(
                    "\(theirCount) of its items are among the best of \(candidate.directory), \(found) among those of "
                        + "\(source.directory), which '\(reply.snapshotID)' was published from")
            }
        }
        return .belongs(
            source: number, scoreCount: rows.count, worst: worst, found: found,
            wanted: min(expected.best.count, reply.ids.count))
    }

    /// The score of a row, the best over the query vectors, and what differences are measured by.
    private func best(_ source: SnapshotSource, _ row: Int, _ embeddings: [[Double]]) -> (score: Double, scale: Double)
    {
        var result = (score: -Double.infinity, scale: 0.0)
        for embedding in embeddings {
            let (product, rowSquared, squared) = embedding.withUnsafeBufferPointer { vector in
                let (product, rowSquared) = source.vectors.product(row, vector)
                return (product, rowSquared, vector.reduce(0) { $0 + $1 * $1 })
            }
            let score: Double
            let scale: Double
            switch source.metric {
            case .innerProduct:
                score = product
                scale = (rowSquared * squared).squareRoot()
            case .squaredDistance:
                score = 2 * product - rowSquared - squared
                scale = rowSquared + squared
            }
            if score > result.score { result = (score, scale) }
        }
        return result
    }
}
