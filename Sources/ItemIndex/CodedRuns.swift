import CKernels

/// 4-bit codes of vectors in runs, and what a scan of them needs. Built once, then only read.
final class CodedRuns: @unchecked Sendable {
    /// For the kernels; alive as long as the object.
    var kernel: UnsafePointer<belfry_runs> { UnsafePointer(structure) }
    /// How many runs there are.
    let runCount: Int
    /// Memory beside the vectors, in bytes.
    private(set) var byteCount = 0

    private let structure: UnsafeMutablePointer<belfry_runs>
    private let runs: LargeArray<belfry_run>
    private let codes: LargeArray<UInt8>
    private let parameters: LargeArray<Float>
    private let biases: LargeArray<Float>?
    // Keep alive what the structure points to.
    private let rows: LargeArray<UInt32>?
    private let positions: LargeArray<UInt32>?
    private let centroids: CodedRuns?

    /// How vectors are chosen for the codes' levels: evenly, this many at most.
    private static let sampleCountMax = 16_384

    /// Encodes vectors.
    ///
    /// - vectors: by position, alive as long as the object.
    /// - sizes: how many vectors each run has, in order; together all of them.
    /// - centroids: one vector for each run, from which the codes are differences; nil for codes of the vectors
    ///   themselves.
    /// - rows, positions: the order of the positions and its inverse; nil if each position is its row.
    init(
        vectors: belfry_vectors, sizes: [Int], centroids: CodedRuns? = nil, rows: LargeArray<UInt32>? = nil,
        positions: LargeArray<UInt32>? = nil, instructionSet: InstructionSet
    ) {
        let dimension = vectors.dimension
        let lineCount = (dimension + 7) / 8
        let blockCount = sizes.reduce(0) { $0 + ($1 + Int(BELFRY_SQ4_BLOCK) - 1) / Int(BELFRY_SQ4_BLOCK) }
        let blockSize = lineCount * Int(BELFRY_SQ4_LINE)
        runCount = sizes.count
        runs = LargeArray(count: sizes.count)
        codes = LargeArray(count: blockCount * blockSize)
        parameters = LargeArray(count: lineCount * 8 * 2)
        let isDistance = vectors.metric == BELFRY_SQUARED_L2.rawValue
        biases = isDistance ? LargeArray(count: vectors.count) : nil
        self.rows = rows
        self.positions = positions
        self.centroids = centroids

        var quantizer = belfry_sq4_quantizer(
            dimension: dimension, line_count: lineCount, offsets: parameters.base,
            steps: parameters.base + lineCount * 8)
        let origins = centroids?.structure.pointee.vectors.values
        Self.train(&quantizer, vectors, sizes, origins)

        var first = 0
        var block = 0
        for (number, size) in sizes.enumerated() {
            let origin = origins.map { $0 + number * dimension }
            var error: Float = 0
            for start in stride(from: 0, to: size, by: Int(BELFRY_SQ4_BLOCK)) {
                let norm = belfry_sq4_encode(
                    &quantizer, vectors.values + (first + start) * dimension,
                    min(size - start, Int(BELFRY_SQ4_BLOCK)), origin,
                    codes.base + (block + start / Int(BELFRY_SQ4_BLOCK)) * blockSize)
                error = max(error, norm)
            }
            var largestBias: Float = 0
            if let biases {
                let centre = origin.map { belfry_squared_norm($0, dimension) } ?? 0
                for position in first..<first + size {
                    biases.base[position] =
                        centre - belfry_squared_norm(vectors.values + position * dimension, dimension)
                    largestBias = max(largestBias, abs(biases.base[position]))
                }
            }
            runs.base[number] = belfry_run(
                first: UInt32(first), size: UInt32(size), block: UInt32(block), error: error, deviation: 0,
                largest_bias: largestBias)
            first += size
            block += (size + Int(BELFRY_SQ4_BLOCK) - 1) / Int(BELFRY_SQ4_BLOCK)
        }

        structure = .allocate(capacity: 1)
        structure.initialize(
            to: belfry_runs(
                vectors: vectors, runs: runs.base, run_count: sizes.count, codes: codes.base, quantizer: quantizer,
                scan: belfry_sq4_scan_for(instructionSet.kernelNumber), biases: biases?.base,
                rows: rows?.base, positions: positions?.base,
                centroids: centroids?.kernel,
                has_own_centroid_metric: centroids.map { $0.structure.pointee.vectors.metric == vectors.metric ? 0 : 1 }
                    ?? 0))
        measureRuns()
        byteCount =
            codes.count + runs.count * MemoryLayout<belfry_run>.stride + (biases?.count ?? 0) * 4
            + ((rows?.count ?? 0) + (positions?.count ?? 0)) * 4
        if let centroids {
            byteCount += centroids.byteCount + centroids.structure.pointee.vectors.count * dimension * 4
        }
    }

    private func measureRuns() {
        let weights = LargeArray<Int8>(count: structure.pointee.quantizer.line_count * 8)
        let scores = LargeArray<Float>(count: 512)
        let positions = LargeArray<UInt32>(count: 512)
        var scratch = belfry_search_scratch()
        scratch.weights = weights.base
        scratch.candidate_scores = scores.base
        scratch.candidate_positions = positions.base
        belfry_measure_runs(structure, runs.base, &scratch)
    }

    /// The runs of a flat index: one for each word of a bitmap over its rows.
    static func flatSizes(count: Int) -> [Int] {
        stride(from: 0, to: count, by: Int(BELFRY_SCAN_BLOCK)).map { min(count - $0, Int(BELFRY_SCAN_BLOCK)) }
    }

    deinit {
        structure.deallocate()
    }

    private static func train(
        _ quantizer: inout belfry_sq4_quantizer, _ vectors: belfry_vectors, _ sizes: [Int],
        _ origins: UnsafePointer<Float>?
    ) {
        let dimension = vectors.dimension
        let step = max(1, vectors.count / sampleCountMax)
        let sample = LargeArray<Float>(count: (vectors.count / step + 1) * dimension)
        var count = 0
        var first = 0
        for (number, size) in sizes.enumerated() {
            // The first multiple of the step in this run.
            for position in stride(from: (first + step - 1) / step * step, to: first + size, by: step) {
                let target = sample.base + count * dimension
                target.update(from: vectors.values + position * dimension, count: dimension)
                if let origins {
                    for component in 0..<dimension { target[component] -= origins[number * dimension + component] }
                }
                count += 1
            }
            first += size
        }
        belfry_sq4_train(sample.base, count, &quantizer)
    }
}
