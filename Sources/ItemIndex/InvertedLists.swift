import CFaiss
import CKernels

/// An inverted file in our own arrays: the lists' vectors one after the other, each list a run of codes.
final class InvertedLists: Sendable {
    /// Codes and what belongs to them.
    let runs: CodedRuns
    /// The index's own nprobe.
    let nprobe: Int
    /// By row: where its vector stands in `vectors`.
    let positions: LargeArray<UInt32>
    /// By position: (rows, dimension), row-major.
    let vectors: LargeArray<Float>

    /// Takes the lists out of the index, which holds their entries no more. The file check has made sure that every row is
    /// in exactly one list. What a vector or a centroid has that is not finite is an error.
    init(_ faiss: FaissIndex, path: String, summary: IndexFileSummary, instructionSet: InstructionSet)
        throws(ItemIndexError)
    {
        let coarse = try faiss.lists(path: path)
        let dimension = summary.dimension
        // A list whose centroid is not a number would never be visited, or always.
        let first = belfry_first_not_finite(coarse.centroids, coarse.list_count * dimension)
        guard first == coarse.list_count * dimension else {
            throw .centroidNotFinite(path: path, list: first / dimension, component: first % dimension)
        }
        nprobe = coarse.nprobe
        vectors = LargeArray(count: summary.count * dimension)
        positions = LargeArray(count: summary.count)
        let rows = LargeArray<UInt32>(count: summary.count)
        var sizes: [Int] = []
        sizes.reserveCapacity(coarse.list_count)
        var position = 0
        for number in 0..<coarse.list_count {
            let list = try faiss.list(number, path: path)
            sizes.append(list.rows.count)
            if let source = list.vectors {
                (vectors.base + position * dimension).update(from: source, count: list.rows.count * dimension)
            }
            for row in list.rows {
                rows.base[position] = UInt32(row)
                positions.base[Int(row)] = UInt32(position)
                position += 1
            }
            try faiss.releaseList(number, path: path)
        }
        for position in 0..<summary.count {
            let component = belfry_first_not_finite(vectors.base + position * dimension, dimension)
            guard component == dimension else {
                throw .notFinite(path: path, row: Int(rows.base[position]), component: component)
            }
        }
        let metric = summary.metric.kernelNumber
        let coarseMetric = (Metric(faissNumber: coarse.centroid_metric) ?? summary.metric).kernelNumber
        let centroids = CodedRuns(
            vectors: belfry_vectors(
                values: coarse.centroids, count: coarse.list_count, dimension: dimension,
                scorer: belfry_scorer_for(coarseMetric, instructionSet.kernelNumber), metric: coarseMetric),
            sizes: CodedRuns.flatSizes(count: coarse.list_count), instructionSet: instructionSet)
        runs = CodedRuns(
            vectors: belfry_vectors(
                values: vectors.base, count: summary.count, dimension: dimension,
                scorer: belfry_scorer_for(metric, instructionSet.kernelNumber), metric: metric),
            sizes: sizes, centroids: centroids, rows: rows, positions: positions, instructionSet: instructionSet)
    }
}
