import CFaiss
import CKernels

/// The lists of an inverted file, as the kernels want them, and where each row's vector stands.
final class InvertedLists {
    let arrays: belfry_lists
    let count: Int
    /// The index's own nprobe.
    let nprobe: Int
    // (rows): the address of each row's vector in its list.
    let addresses: UnsafeMutableBufferPointer<UnsafePointer<Float>>
    private let lists: UnsafeMutableBufferPointer<belfry_list>
    /// Memory beside the vectors: centroids, row numbers (8), addresses (8).
    let byteCount: Int

    /// Points into the index, which must outlive the lists. The file check has made sure that every row is in exactly
    /// one list.
    init(
        _ faiss: FaissIndex, path: String, summary: IndexFileSummary, scorer: UnsafePointer<belfry_scorer>?,
        instructionSet: InstructionSet
    ) throws(ItemIndexError) {
        let coarse = try faiss.lists(path: path)
        count = coarse.list_count
        nprobe = coarse.nprobe
        lists = .allocate(capacity: max(count, 1))
        lists.initialize(repeating: belfry_list())
        addresses = .allocate(capacity: max(summary.count, 1))
        byteCount = count * summary.dimension * 4 + summary.count * 16
        let centroidMetric = Metric(faissNumber: coarse.centroid_metric) ?? summary.metric
        arrays = belfry_lists(
            lists: lists.baseAddress, count: count, centroids: coarse.centroids, dimension: summary.dimension,
            centroid_scorer: belfry_scorer_for(centroidMetric.kernelNumber, instructionSet.kernelNumber),
            scorer: scorer)
        for number in 0..<count {
            let list = try faiss.list(number, path: path)
            lists[number] = list
            for entry in 0..<list.size {
                let row = Int(list.rows[entry])
                addresses.baseAddress!.advanced(by: row)
                    .initialize(to: list.vectors + entry * summary.dimension)
            }
        }
    }

    deinit {
        lists.deallocate()
        addresses.deallocate()
    }
}
