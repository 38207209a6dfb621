import CKernels

/// An inverted file in our own arrays: the lists' vectors one after the other, each list a run of codes.
final class InvertedLists: Sendable {
    /// Codes and what belongs to them.
    let runs: CodedRuns
    /// By row: where its vector stands in `vectors`.
    let positions: LargeArray<UInt32>
    /// By position: (rows, dimension), row-major.
    let vectors: LargeArray<Float>
    private let centroidVectors: LargeArray<Float>

    /// Copies the lists out of a file's bytes, once. Read by FAISS, they would stand in its heap as well for a while.
    ///
    /// - layout: as the check found it, so that every row is in exactly one list and everything is in the file.
    ///
    /// What a vector or a centroid has that is not finite is an error.
    init(
        _ bytes: UnsafeRawBufferPointer, _ layout: InvertedFileLayout, path: String, summary: IndexFileSummary,
        instructionSet: InstructionSet
    ) throws(ItemIndexError) {
        let dimension = summary.dimension
        let listCount = layout.sizes.count
        centroidVectors = LargeArray(count: listCount * dimension)
        Self.copy(bytes, layout.centroidsOffset, to: centroidVectors.base, count: listCount * dimension)
        // A list whose centroid is not a number would never be visited, or always.
        let first = belfry_first_not_finite(centroidVectors.base, listCount * dimension)
        guard first == listCount * dimension else {
            throw .centroidNotFinite(path: path, list: first / dimension, component: first % dimension)
        }
        vectors = LargeArray(count: summary.count * dimension)
        positions = LargeArray(count: summary.count)
        let rows = LargeArray<UInt32>(count: summary.count)
        var position = 0
        for (offset, size) in zip(layout.offsets, layout.sizes) {
            Self.copy(bytes, offset, to: vectors.base + position * dimension, count: size * dimension)
            let rowsOffset = offset + size * dimension * MemoryLayout<Float>.size
            for entry in 0..<size {
                let row = Int64(
                    littleEndian: bytes.loadUnaligned(
                        fromByteOffset: rowsOffset + entry * MemoryLayout<Int64>.size, as: Int64.self))
                rows.base[position] = UInt32(row)
                positions.base[Int(row)] = UInt32(position)
                position += 1
            }
        }
        for position in 0..<summary.count {
            let component = belfry_first_not_finite(vectors.base + position * dimension, dimension)
            guard component == dimension else {
                throw .notFinite(path: path, row: Int(rows.base[position]), component: component)
            }
        }
        let metric = summary.metric.kernelNumber
        let scorer = belfry_scorer_for(metric, instructionSet.kernelNumber)
        let centroids = CodedRuns(
            vectors: belfry_vectors(
                values: centroidVectors.base, count: listCount, dimension: dimension, scorer: scorer, metric: metric),
            sizes: CodedRuns.flatSizes(count: listCount), instructionSet: instructionSet)
        runs = CodedRuns(
            vectors: belfry_vectors(
                values: vectors.base, count: summary.count, dimension: dimension, scorer: scorer, metric: metric),
            sizes: layout.sizes, centroids: centroids, rows: rows, positions: positions,
            instructionSet: instructionSet)
    }

    /// Copies floats that need not be aligned; x86 and arm64 have them in the file's order.
    private static func copy(
        _ bytes: UnsafeRawBufferPointer, _ offset: Int, to floats: UnsafeMutablePointer<Float>, count: Int
    ) {
        guard let base = bytes.baseAddress else { return }
        let size = count * MemoryLayout<Float>.size
        UnsafeMutableRawPointer(floats).copyMemory(from: base + offset, byteCount: size)
    }
}
