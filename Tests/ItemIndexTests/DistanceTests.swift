import CKernels
import Testing

@testable import ItemIndex

@Suite struct DistanceTests {
    static let dimensions = [1, 2, 3, 4, 7, 8, 15, 16, 17, 20, 31, 32, 33, 64, 100, 127, 512, 4096]
    static let sets = InstructionSet.allCases.filter(\.isAvailable)

    private func scores(
        _ set: InstructionSet, _ metric: Metric, _ query: [Float], _ rows: Vectors
    ) -> (one: [Float], block: [Float], gathered: [Float]) {
        let scorer = belfry_scorer_for(metric.kernelNumber, set.kernelNumber).pointee
        var block = [Float](repeating: .nan, count: rows.count)
        var gathered = block
        let ids = (0..<rows.count).map { UInt32($0) }
        scorer.block(query, rows.values, rows.dimension, rows.count, &block)
        scorer.gathered(query, rows.values, rows.dimension, ids.reversed(), rows.count, &gathered)
        let one = (0..<rows.count).map { scorer.one(query, rows.row($0), rows.dimension) }
        return (one, block, gathered.reversed())
    }

    /// A score must not depend on the way to an item: alone, in a scan or in a walk, beside whichever other rows.
    @Test(arguments: sets, [Metric.innerProduct, .squaredL2])
    func everyWayGivesTheSameBits(_ set: InstructionSet, _ metric: Metric) {
        for dimension in Self.dimensions {
            let query = Vectors.random(1, dimension, seed: 3).values
            for count in 1...9 {
                let rows = Vectors.random(count, dimension, seed: UInt64(count))
                let (one, block, gathered) = scores(set, metric, query, rows)
                #expect(one.map(\.bitPattern) == block.map(\.bitPattern), "dimension \(dimension), \(count) rows")
                #expect(one.map(\.bitPattern) == gathered.map(\.bitPattern), "dimension \(dimension), \(count) rows")
            }
        }
    }

    @Test(arguments: sets, [Metric.innerProduct, .squaredL2])
    func everySetAgreesWithDoublesWithinRounding(_ set: InstructionSet, _ metric: Metric) {
        for dimension in Self.dimensions {
            let query = Vectors.random(1, dimension, seed: 4).values
            let rows = Vectors.random(5, dimension, seed: 5)
            let computed = scores(set, metric, query, rows).one
            for (row, expected) in reference(rows, query, metric) {
                // The bound of a sum in any order: terms' magnitudes times the number of roundings, which for 16 lanes
                // is a sixteenth of the dimension and a few.
                let magnitude = zip(query, rows.row(row)).reduce(0.0) { sum, pair in
                    let (left, right) = (Double(pair.0), Double(pair.1))
                    return sum + (metric == .innerProduct ? abs(left * right) : (left - right) * (left - right))
                }
                let bound = magnitude * Double(dimension / 16 + 8) * Double(Float.ulpOfOne)
                #expect(abs(Double(computed[row]) - expected) <= bound, "dimension \(dimension), row \(row)")
            }
        }
    }

    /// Both fuse products and sums and add 16 lanes in the same order.
    @Test(.enabled(if: InstructionSet.avx512.isAvailable && InstructionSet.avx2.isAvailable))
    func avx512AndAVX2GiveTheSameBits() {
        for dimension in Self.dimensions {
            let query = Vectors.random(1, dimension, seed: 6).values
            let rows = Vectors.random(6, dimension, seed: 7)
            for metric in [Metric.innerProduct, .squaredL2] {
                #expect(scores(.avx512, metric, query, rows).block == scores(.avx2, metric, query, rows).block)
            }
        }
    }

    /// What stands behind a row must not be read into its score.
    @Test(arguments: sets)
    func aRowEndsAtItsDimension(_ set: InstructionSet) {
        for dimension in 1...40 {
            let query = [Float](repeating: 1, count: dimension) + [.nan, .infinity]
            let row = [Float](repeating: 2, count: dimension) + [.nan, .infinity]
            for metric in [Metric.innerProduct, .squaredL2] {
                let scorer = belfry_scorer_for(metric.kernelNumber, set.kernelNumber).pointee
                let expected = metric == .innerProduct ? Float(2 * dimension) : -Float(dimension)
                #expect(scorer.one(query, row, dimension) == expected)
            }
        }
    }

    /// Heaps and results order scores by their bits, so that equal scores must have equal bits.
    @Test(arguments: sets)
    func zeroIsNeverNegative(_ set: InstructionSet) {
        for dimension in [1, 5, 16, 20] {
            let zeros = [Float](repeating: 0, count: dimension)
            let negativeZeros = [Float](repeating: -0.0, count: dimension)
            let ones = [Float](repeating: 1, count: dimension)
            for (left, right) in [(zeros, negativeZeros), (negativeZeros, ones), (ones, ones)] {
                let rows = Vectors(dimension: dimension, values: right + right + right + right + right)
                let product = scores(set, .innerProduct, left, rows)
                let distance = scores(set, .squaredL2, left, rows)
                for score in product.one + product.block + distance.one + distance.block where score == 0 {
                    #expect(score.sign == .plus)
                }
            }
        }
    }

    @Test func theBestSetIsAvailable() {
        #expect(InstructionSet.best.isAvailable)
        #expect(InstructionSet.portable.isAvailable)
        #expect(belfry_has_instruction_set(99) == 0)
    }
}
