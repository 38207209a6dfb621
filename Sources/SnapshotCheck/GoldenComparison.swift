internal import Identifiers
internal import ItemIndex
internal import Memory
internal import Snapshots

/// Holds embeddings and hits against golden answers.
struct GoldenComparison {
    private let snapshot: Snapshot
    /// The largest deviation of a coordinate so far, as a share of its embedding's norm.
    private(set) var largestDeviation = 0.0

    init(snapshot: Snapshot) {
        self.snapshot = snapshot
    }

    /// What is wrong with the embedding; nil if nothing is.
    mutating func compare(_ embedding: UnsafeBufferPointer<Float>, to answer: GoldenAnswers.Answer) -> String? {
        let norm = norm(answer.embedding)
        var largest = 0.0
        var coordinate = 0
        for (index, value) in embedding.enumerated() where abs(Double(value) - answer.embedding[index]) > largest {
            largest = abs(Double(value) - answer.embedding[index])
            coordinate = index
        }
        // No share of an infinite norm is large, so that any deviation would pass.
        let deviation = norm.isInfinite ? largest : norm > 0 ? largest / norm : largest
        largestDeviation = max(largestDeviation, deviation)
        guard deviation <= SnapshotCheck.embeddingTolerance else {
            return "coordinate \(coordinate) of the embedding is \(embedding[coordinate]), PyTorch computed "
                + "\(answer.embedding[coordinate]): off by \(SnapshotCheck.rounded(deviation)) of the norm, the limit is "
                + "\(SnapshotCheck.embeddingTolerance)"
        }
        return nil
    }

    /// What is wrong with the hits of exact search; nil if nothing is. At each rank the ids must be the same, or belong to
    /// items whose scores are tied.
    func compare(_ hits: Hits, _ embedding: UnsafeBufferPointer<Float>, to answer: GoldenAnswers.Answer) -> String? {
        guard hits.count == answer.ids.count else {
            return "exact search finds \(hits.count) items, the golden answer has \(answer.ids.count)"
        }
        let userNorm = norm(embedding.map(Double.init))
        var seen: Set<Int> = []
        for rank in 0..<hits.count {
            let row = Int(hits.rows[rank])
            guard seen.insert(row).inserted else { return "exact search finds row \(row) twice" }
            var text = answer.ids[rank]
            guard let goldenRow = text.withUTF8({ snapshot.items.ids.row(of: Text(UnsafeRawBufferPointer($0))) }) else {
                return "the golden item '\(answer.ids[rank])' is not in the snapshot"
            }
            let tolerance = max(
                tolerance(userNorm, row), tolerance(userNorm, goldenRow))
            guard abs(Double(hits.scores[rank]) - answer.scores[rank]) <= tolerance else {
                return "the score of rank \(rank + 1) is \(hits.scores[rank]), PyTorch computed \(answer.scores[rank])"
            }
            let goldenScore = snapshot.index.score(embedding.baseAddress!, goldenRow)
            guard row == goldenRow || abs(Double(hits.scores[rank]) - Double(goldenScore)) <= tolerance else {
                return "rank \(rank + 1) is row \(row) with score \(hits.scores[rank]), the golden answer has "
                    + "'\(answer.ids[rank])' with \(goldenScore)"
            }
        }
        return nil
    }

    /// How far apart two scores may lie and still count as tied. A squared distance is a difference of terms of the size
    /// (|u| + |v|)^2, and as uncertain as they are.
    private func tolerance(_ userNorm: Double, _ row: Int) -> Double {
        let itemNorm = norm(snapshot.index.vector(row).map(Double.init))
        return switch snapshot.manifest.metric {
        case .innerProduct: SnapshotCheck.scoreTolerance * userNorm * itemNorm
        case .squaredL2: SnapshotCheck.scoreTolerance * (userNorm + itemNorm) * (userNorm + itemNorm)
        }
    }

    private func norm(_ values: [Double]) -> Double {
        values.reduce(0) { $0 + $1 * $1 }.squareRoot()
    }
}
