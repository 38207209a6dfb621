import CKernels

/// 8-bit codes of vectors by row, for walks through a graph. Built once, then only read.
final class RowCodes: @unchecked Sendable {
    /// For the kernels; alive as long as the object.
    var kernel: UnsafePointer<belfry_row_codes> { UnsafePointer(structure) }
    /// Memory beside the vectors, in bytes.
    let byteCount: Int

    private let structure: UnsafeMutablePointer<belfry_row_codes>
    private let codes: LargeArray<UInt8>
    private let parameters: LargeArray<Float>
    private let errors: LargeArray<Float>
    private let biases: LargeArray<Float>?

    /// Encodes vectors.
    init(vectors: belfry_vectors, instructionSet: InstructionSet) {
        let dimension = vectors.dimension
        let rowSize = (dimension + 63) / 64 * 64
        let blockSize = Int(BELFRY_SCAN_BLOCK)
        codes = LargeArray(count: vectors.count * rowSize)
        parameters = LargeArray(count: 2 * dimension)
        errors = LargeArray(count: (vectors.count + blockSize - 1) / blockSize)
        var quantizer = belfry_sq8_quantizer(
            dimension: dimension, stride: rowSize, offsets: parameters.base, steps: parameters.base + dimension)
        belfry_sq8_train(vectors.values, vectors.count, &quantizer)
        for block in 0..<errors.count {
            let start = block * blockSize
            errors.base[block] = belfry_sq8_encode(
                &quantizer, vectors.values + start * dimension, min(blockSize, vectors.count - start),
                codes.base + start * rowSize)
        }
        if vectors.metric == BELFRY_SQUARED_L2.rawValue {
            let norms = LargeArray<Float>(count: vectors.count)
            for row in 0..<vectors.count {
                norms.base[row] = -belfry_squared_norm(vectors.values + row * dimension, dimension)
            }
            biases = norms
        } else {
            biases = nil
        }
        structure = .allocate(capacity: 1)
        structure.initialize(
            to: belfry_row_codes(
                codes: codes.base, quantizer: quantizer, scorer: belfry_sq8_scorer_for(instructionSet.kernelNumber),
                biases: biases?.base, largest_bias: biases?.largestMagnitude ?? 0, errors: errors.base))
        byteCount = codes.count + errors.count * 4 + (biases?.count ?? 0) * 4
    }

    /// Whether scores by codes tell a row's neighbours apart: their error is well below the spread of the neighbours' scores. It
    /// is not where items lie in clumps far from each other, which take up a few levels each. Looked at for 64 rows.
    ///
    /// - neighbours: the rows to which a row is linked.
    func tellApart(
        neighbours: (Int) -> [UInt32], vectors: belfry_vectors
    ) -> Bool {
        let weights = LargeArray<Int8>(count: structure.pointee.quantizer.stride)
        var query = belfry_sq8_query()
        query.weights = weights.base
        var error = 0.0
        var spread = 0.0
        for row in stride(from: 0, to: vectors.count, by: max(1, vectors.count / 64)) {
            let links = neighbours(row)
            guard links.count > 1 else { continue }
            let vector = vectors.values + row * vectors.dimension
            var exact = [Float](repeating: 0, count: links.count)
            var coded = exact
            vectors.scorer.pointee.gathered(vector, vectors.values, vectors.dimension, links, links.count, &exact)
            belfry_sq8_prepare(
                &structure.pointee.quantizer, vector, vectors.metric == BELFRY_SQUARED_L2.rawValue ? 2 : 1, &query)
            structure.pointee.scorer.pointee.gathered(
                &query, structure.pointee.codes, structure.pointee.quantizer.stride, structure.pointee.biases, links,
                links.count, &coded)
            // The nearer half: a graph has a few long links, which any code tells apart.
            let nearer = exact.indices.sorted { exact[$0] > exact[$1] }.prefix(max(2, links.count / 2))
            error += variance(nearer.map { Double(exact[$0]) - Double(coded[$0]) })
            spread += variance(nearer.map { Double(exact[$0]) })
        }
        // Items on a manifold give 0.004 to 0.005; tight clumps, in which walks by codes lost recall, 0.01 and much more.
        return error <= 0.006 * spread
    }

    private func variance(_ values: [Double]) -> Double {
        let mean = values.reduce(0, +) / Double(values.count)
        return values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    }

    deinit {
        structure.deallocate()
    }
}
