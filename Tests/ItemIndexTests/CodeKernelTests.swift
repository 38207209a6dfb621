import CKernels
import Memory
import TestSupport
import Testing

@testable import ItemIndex

@Suite struct CodeKernelTests {
    static let dimensions = [1, 16, 31, 63, 64, 65, 100, 512]
    // A scan takes blocks of 16 vectors, their halves or two of them at a time; a walk's scorer takes four rows.
    static let counts = [1, 3, 4, 5, 8, 9, 15, 16, 17, 24, 25, 32, 33, 48, 49, 50]
    static let sets = InstructionSet.allCases.filter(\.isAvailable)

    /// Sums of integers are exact in any order, and what is done to floats is never fused.
    @Test(arguments: sets)
    func everySetScansToTheSameBits(_ set: InstructionSet) {
        for dimension in Self.dimensions {
            let sample = ScanSample(dimension)
            for count in Self.counts {
                for biases in [nil, Array(sample.biases.prefix(count))] {
                    let all = sample.scan(.portable, count, biases, threshold: -.infinity)
                    // What equals the threshold reaches it.
                    let median = all.scores.sorted()[count / 2]
                    for threshold in [-Float.infinity, median, .infinity] {
                        let kept = all.scores.indices.filter { all.scores[$0] >= threshold }
                        let found = sample.scan(set, count, biases, threshold: threshold)
                        let areTheSame = found.positions == kept.map { all.positions[$0] }
                        let haveTheSameBits = found.bits == kept.map { all.bits[$0] }
                        let given: Comment =
                            "dimension \(dimension), \(count) vectors, biases \(biases != nil), \(threshold)"
                        #expect(areTheSame, given)
                        #expect(haveTheSameBits, given)
                    }
                }
            }
        }
    }

    /// One row has the same score in a block and wherever it stands among gathered ones.
    @Test(arguments: sets)
    func everySetScoresRowsToTheSameBits(_ set: InstructionSet) {
        var generator = SeededRandom(seed: 63)
        for dimension in Self.dimensions {
            let sample = RowSample(dimension)
            let ids = (0..<UInt32(RowSample.count)).shuffled(using: &generator)
            for isBiased in [false, true] {
                let expected = sample.block(.portable, RowSample.count, isBiased: isBiased).map(\.bitPattern)
                for count in Self.counts {
                    let block = sample.block(set, count, isBiased: isBiased).map(\.bitPattern)
                    let gathered = sample.gathered(set, Array(ids.prefix(count)), isBiased: isBiased).map(\.bitPattern)
                    let blockIsTheSame = block == Array(expected.prefix(count))
                    let gatheredIsTheSame = gathered == ids.prefix(count).map { expected[Int($0)] }
                    #expect(blockIsTheSame, "dimension \(dimension), \(count) rows, biases: \(isBiased)")
                    #expect(gatheredIsTheSame, "dimension \(dimension), \(count) gathered rows, biases: \(isBiased)")
                }
            }
        }
    }

    /// By the headers, in doubles. The factor is 2 for squared distances.
    @Test(arguments: [Float(1), 2])
    func scansScoreWhatTheirCodesStandFor(factor: Float) {
        for dimension in Self.dimensions {
            let sample = ScanSample(dimension, factor: factor)
            let found = sample.scan(.portable, ScanSample.count, sample.biases, threshold: -.infinity)
            let positions = (0..<UInt32(ScanSample.count)).map { ScanSample.first + $0 }
            let areInOrder = found.positions == positions
            #expect(areInOrder, "dimension \(dimension)")
            guard areInOrder else { continue }
            sample.reference.check(
                found.scores, base: ScanSample.base, sample.biases, codes: sample.codes, of: sample.vectors,
                certainError: sample.query.certain_error, largestError: sample.largestError)
        }
    }

    @Test(arguments: [Float(1), 2])
    func rowsAreScoredByWhatTheirCodesStandFor(factor: Float) {
        for dimension in Self.dimensions {
            let sample = RowSample(dimension, factor: factor)
            sample.reference.check(
                sample.block(.portable, RowSample.count, isBiased: true), base: 0, sample.biases, codes: sample.codes,
                of: sample.vectors, certainError: sample.query.certain_error, largestError: sample.largestError)
        }
    }

    /// The greatest products there are must not saturate on their way into a sum.
    @Test(arguments: sets)
    func theGreatestSumsAreExact(_ set: InstructionSet) {
        let (dimension, count) = (512, 17)
        let scan: belfry_sq4_scan = belfry_sq4_scan_for(set.kernelNumber)
        let scorer = belfry_sq8_scorer_for(set.kernelNumber).pointee
        let blocks = AlignedBuffer<UInt8>(repeating: 0xFF, count: 2 * dimension / 8 * Int(BELFRY_SQ4_LINE))
        let rows = AlignedBuffer<UInt8>(repeating: 0xFF, count: count * dimension)
        for weight in [Int8(127), -127] {
            let weights = AlignedBuffer<Int8>(repeating: weight, count: dimension)
            var scanQuery = belfry_sq4_query()
            scanQuery.weights = weights.base
            scanQuery.scale = 1
            var rowQuery = belfry_sq8_query()
            rowQuery.weights = weights.base
            rowQuery.scale = 1

            var scores = [Float](repeating: .nan, count: count + 16)
            var positions = [UInt32](repeating: 0, count: count + 16)
            var ahead = belfry_sq4_ahead()
            let appended = scan(
                &scanQuery, blocks.base, dimension / 8, count, 0, nil, -.infinity, 0, &ahead, &scores, &positions)
            let ofHalves = Float(15 * dimension * Int(weight))
            let scanIsExact = appended == count && scores.prefix(count).allSatisfy { $0 == ofHalves }
            #expect(scanIsExact, "weights \(weight)")

            scorer.block(&rowQuery, rows.base, dimension, nil, count, &scores)
            let ofBytes = Float(255 * dimension * Int(weight))
            let blockIsExact = scores.prefix(count).allSatisfy { $0 == ofBytes }
            #expect(blockIsExact, "weights \(weight)")
        }
    }
}

/// Vectors in blocks of 4-bit codes, and a query that is prepared for them.
private final class ScanSample {
    static let count = 50
    static let base: Float = -0.75
    static let first: UInt32 = 1000

    let vectors: Vectors
    let biases: [Float]
    private(set) var query = belfry_sq4_query()
    /// The greatest that encoding returned.
    private(set) var largestError: Float = 0
    private let vector: [Float]
    private let factor: Float
    private let blockSize: Int
    private let blocks: AlignedBuffer<UInt8>
    private let levels: AlignedBuffer<Float>  // (2, line_count * 8): offsets, then steps
    private let weights: AlignedBuffer<Int8>
    private var quantizer = belfry_sq4_quantizer()

    init(_ dimension: Int, factor: Float = 1) {
        let blockCapacity = Int(BELFRY_SQ4_BLOCK)
        let lineCount = (dimension + 7) / 8
        vectors = Vectors.random(Self.count, dimension, seed: UInt64(dimension))
        biases = Vectors.random(Self.count, 1, seed: 61).values
        vector = Vectors.random(1, dimension, seed: 62).values
        self.factor = factor
        blockSize = lineCount * Int(BELFRY_SQ4_LINE)
        blocks = AlignedBuffer(
            repeating: 0, count: (Self.count + blockCapacity - 1) / blockCapacity * lineCount * Int(BELFRY_SQ4_LINE))
        levels = AlignedBuffer(repeating: 0, count: 2 * lineCount * 8)
        weights = AlignedBuffer(repeating: 0, count: lineCount * 8)

        quantizer.dimension = dimension
        quantizer.line_count = lineCount
        quantizer.offsets = levels.base
        quantizer.steps = levels.base + lineCount * 8
        query.weights = weights.base
        belfry_sq4_train(vectors.values, Self.count, &quantizer)
        for start in stride(from: 0, to: Self.count, by: blockCapacity) {
            let end = min(start + blockCapacity, Self.count)
            let error = belfry_sq4_encode(
                &quantizer, Array(vectors.values[start * dimension..<end * dimension]), end - start, nil,
                blocks.base + start / blockCapacity * blockSize)
            largestError = max(largestError, error)
        }
        belfry_sq4_prepare(&quantizer, vector, factor, &query)
    }

    func scan(
        _ set: InstructionSet, _ count: Int, _ biases: [Float]?, threshold: Float
    ) -> (positions: [UInt32], scores: [Float], bits: [UInt32]) {
        let scan: belfry_sq4_scan = belfry_sq4_scan_for(set.kernelNumber)
        var scores = [Float](repeating: .nan, count: count + 16)
        var positions = [UInt32](repeating: 0, count: count + 16)
        // Asked for block by block, and never beyond the end.
        let later = UnsafePointer(blocks.base)
        var ahead = belfry_sq4_ahead(next: later, end: later + blockSize)
        let appended = scan(
            &query, blocks.base, quantizer.line_count, count, Self.base, biases, threshold, Self.first, &ahead, &scores,
            &positions)
        #expect(ahead.next == (count > 0 ? ahead.end : later))
        let found = Array(scores.prefix(appended))
        return (Array(positions.prefix(appended)), found, found.map(\.bitPattern))
    }

    /// By row and component.
    var codes: [[Int]] {
        (0..<Self.count).map { row in
            let block = blocks.base + row / 16 * blockSize
            return (0..<vectors.dimension).map { component in
                let byte = block[component / 8 * 64 + row % 16 * 4 + component % 4]
                return Int(component % 8 < 4 ? byte & 15 : byte >> 4)
            }
        }
    }

    var reference: Reference {
        let dimension = vectors.dimension
        return Reference(
            offsets: Array(levels.elements[..<dimension]),
            steps: Array(levels.elements[quantizer.line_count * 8..<quantizer.line_count * 8 + dimension]),
            greatestCode: 15, vector: vector, factor: factor, weights: Array(weights.elements), scale: query.scale,
            offset: query.offset)
    }
}

/// Vectors in rows of 8-bit codes, and a query that is prepared for them.
private final class RowSample {
    static let count = 50

    let vectors: Vectors
    let biases: [Float]
    private(set) var query = belfry_sq8_query()
    /// What encoding returned.
    private(set) var largestError: Float = 0
    private let vector: [Float]
    private let factor: Float
    private let rows: AlignedBuffer<UInt8>  // (count, stride)
    private let levels: AlignedBuffer<Float>  // (2, dimension): offsets, then steps
    private let weights: AlignedBuffer<Int8>
    private var quantizer = belfry_sq8_quantizer()

    init(_ dimension: Int, factor: Float = 1) {
        let stride = (dimension + 63) / 64 * 64
        vectors = Vectors.random(Self.count, dimension, seed: UInt64(dimension))
        biases = Vectors.random(Self.count, 1, seed: 61).values
        vector = Vectors.random(1, dimension, seed: 62).values
        self.factor = factor
        rows = AlignedBuffer(repeating: 0, count: Self.count * stride)
        levels = AlignedBuffer(repeating: 0, count: 2 * dimension)
        weights = AlignedBuffer(repeating: 0, count: stride)

        quantizer.dimension = dimension
        quantizer.stride = stride
        quantizer.offsets = levels.base
        quantizer.steps = levels.base + dimension
        query.weights = weights.base
        belfry_sq8_train(vectors.values, Self.count, &quantizer)
        largestError = belfry_sq8_encode(&quantizer, vectors.values, Self.count, rows.base)
        belfry_sq8_prepare(&quantizer, vector, factor, &query)
    }

    func block(_ set: InstructionSet, _ count: Int, isBiased: Bool) -> [Float] {
        let scorer = belfry_sq8_scorer_for(set.kernelNumber).pointee
        let biases = isBiased ? Array(self.biases.prefix(count)) : nil
        var scores = [Float](repeating: .nan, count: count)
        scorer.block(&query, rows.base, quantizer.stride, biases, count, &scores)
        return scores
    }

    func gathered(_ set: InstructionSet, _ ids: [UInt32], isBiased: Bool) -> [Float] {
        let scorer = belfry_sq8_scorer_for(set.kernelNumber).pointee
        let biases = isBiased ? self.biases : nil
        var scores = [Float](repeating: .nan, count: ids.count)
        scorer.gathered(&query, rows.base, quantizer.stride, biases, ids, ids.count, &scores)
        return scores
    }

    /// By row and component.
    var codes: [[Int]] {
        (0..<Self.count).map { row in
            (0..<vectors.dimension).map { Int(rows.elements[row * quantizer.stride + $0]) }
        }
    }

    var reference: Reference {
        let dimension = vectors.dimension
        return Reference(
            offsets: Array(levels.elements[..<dimension]), steps: Array(levels.elements[dimension...]),
            greatestCode: 255, vector: vector, factor: factor, weights: Array(weights.elements), scale: query.scale,
            offset: query.offset)
    }
}

/// What the headers say of codes and of a query, in doubles.
private struct Reference {
    let offsets: [Float]
    let steps: [Float]
    let greatestCode: Int
    let vector: [Float]
    let factor: Float
    let weights: [Int8]
    let scale: Float
    let offset: Float

    func check(
        _ scores: [Float], base: Float, _ biases: [Float], codes: [[Int]], of vectors: Vectors, certainError: Float,
        largestError: Float
    ) {
        var areScores = true
        var areProducts = true
        var areNearest = true
        var largest = 0.0
        for (row, codes) in codes.enumerated() {
            let sum = codes.indices.reduce(0) { $0 + Int(weights[$1]) * codes[$1] }
            let scaled = Double(scale) * Double(sum)
            let (added, bias) = (Double(base), Double(biases[row]))
            // Four roundings of no more than what is added up.
            let magnitude = abs(scaled) + abs(Double(offset)) + abs(added) + abs(bias)
            let roundings = 2 * Double(Float.ulpOfOne) * magnitude
            if abs(Double(scores[row]) - (Double(offset) + scaled + added + bias)) > roundings { areScores = false }
            if abs(Double(offset) + scaled - product(codes)) > Double(certainError) { areProducts = false }
            let original = vectors.row(row)
            if !isNearest(codes, to: original) { areNearest = false }
            largest = max(largest, error(codes, of: original))
        }
        let dimension = vectors.dimension
        #expect(areScores, "dimension \(dimension): not offset + scale * (sum of weight * code)")
        #expect(areProducts, "dimension \(dimension): off by more than the query's certain error")
        #expect(areNearest, "dimension \(dimension): a code is not the nearest")
        #expect(abs(Double(largestError) - largest) <= 2e-5 * (1 + largest), "dimension \(dimension)")
    }

    private func level(_ code: Int, _ component: Int) -> Double {
        Double(offsets[component]) + Double(steps[component]) * Double(code)
    }

    /// The inner product of the query and what codes stand for, times the factor.
    private func product(_ codes: [Int]) -> Double {
        codes.indices.reduce(0.0) { $0 + Double(factor) * Double(vector[$1]) * level(codes[$1], $1) }
    }

    /// The norm of a vector minus what codes stand for.
    private func error(_ codes: [Int], of original: [Float]) -> Double {
        let squares = codes.indices.reduce(0.0) { sum, component in
            let difference = Double(original[component]) - level(codes[component], component)
            return sum + difference * difference
        }
        return squares.squareRoot()
    }

    private func isNearest(_ codes: [Int], to original: [Float]) -> Bool {
        codes.indices.allSatisfy { component in
            let place = (Double(original[component]) - Double(offsets[component])) / Double(steps[component])
            // Half a step, and what rounding may turn.
            return abs(min(max(place, 0), Double(greatestCode)) - Double(codes[component])) < 0.501
        }
    }
}
