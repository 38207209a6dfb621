import CKernels
import Foundation
import Memory
import Safetensors
import TestSupport
import Testing

@testable import Towers

private let sets = [BELFRY_PORTABLE, BELFRY_AVX2, BELFRY_AVX512].map { Int32($0.rawValue) }
    .filter { belfry_has_instruction_set($0) != 0 }

/// Layers with drawn weights, and what they compute in double precision.
private struct Model {
    struct Layer {
        let inputs: Int
        let outputs: Int
        let activation: TowerGraph.Activation
        let cycles: Int
        let weight: [Float]
        let bias: [Float]
        let gateWeight: [Float]
        let gateBias: [Float]
    }
    let layers: [Layer]

    init(
        widths: [Int], activation: TowerGraph.Activation, cycles: Int, random: inout some RandomNumberGenerator
    ) {
        func draw(_ count: Int, _ bound: Float) -> [Float] {
            (0..<count).map { _ in Float.random(in: -bound...bound, using: &random) }
        }
        layers = zip(widths, widths.dropFirst()).map { inputs, outputs in
            Layer(
                inputs: inputs, outputs: outputs, activation: activation, cycles: cycles,
                weight: draw(inputs * outputs, (6 / Float(inputs)).squareRoot()), bias: draw(outputs, 0.2),
                gateWeight: draw(inputs * outputs, 1.2 / Float(outputs).squareRoot()), gateBias: draw(inputs, 0.7))
        }
    }

    func tower(_ set: Int32, normalises: Bool = false) throws -> Tower {
        var builder = SafetensorsBuilder()
        for (index, layer) in layers.enumerated() {
            builder.add("\(index).weight", shape: [layer.outputs, layer.inputs], layer.weight)
            builder.add("\(index).bias", shape: [layer.outputs], layer.bias)
            guard layer.cycles > 0 else { continue }
            builder.add("\(index).gate.weight", shape: [layer.inputs, layer.outputs], layer.gateWeight)
            builder.add("\(index).gate.bias", shape: [layer.inputs], layer.gateBias)
        }
        return try builder.withFile { path in
            try Tower(
                graph: TowerGraph(
                    file: "user_tower.safetensors", inputs: [.crossVector(dimension: layers[0].inputs)],
                    layers: layers.enumerated().map { index, layer in
                        .dense(
                            name: "\(index)", inputs: layer.inputs, outputs: layer.outputs,
                            activation: layer.activation, cycles: layer.cycles)
                    }),
                features: [], file: try SafetensorsFile(path: path), normalises: normalises, instructionSet: set)
        }
    }

    func reference(_ x: [Float]) -> [Double] {
        layers.reduce(x.map(Double.init)) { x, layer in
            var z = product(layer.weight, layer.bias, x).map { value(layer.activation, $0) }
            for _ in 0..<layer.cycles {
                let gates = product(layer.gateWeight, layer.gateBias, z)
                let reweighted = zip(x, gates).map { $0 * 2 / (1 + exp(-$1)) }
                z = product(layer.weight, layer.bias, reweighted).map { value(layer.activation, $0) }
            }
            return z
        }
    }

    private func product(_ matrix: [Float], _ bias: [Float], _ x: [Double]) -> [Double] {
        bias.indices.map { row in
            x.indices.reduce(Double(bias[row])) { $0 + Double(matrix[row * x.count + $1]) * x[$1] }
        }
    }
}

private func value(_ activation: TowerGraph.Activation, _ x: Double) -> Double {
    switch activation {
    case .identity: x
    case .relu: x.isNaN ? x : max(x, 0)
    case .leakyReLU: x < 0 ? Double(Float(0.01)) * x : x
    case .tanh: tanh(x)
    case .sigmoid: 1 / (1 + exp(-x))
    case .silu: x / (1 + exp(-x))
    case .gelu: 0.5 * x * erfc(-x / 2.0.squareRoot())
    }
}

private func embed(_ tower: Tower, _ x: [Float], _ scratch: TowerScratch) throws -> [Float] {
    try x.withUnsafeBufferPointer {
        Array(
            try tower.embed(
                userID: nil, FeatureValues(), cached: CachedVectors(cross: $0.baseAddress), strict: false, scratch))
    }
}

private func embed(_ tower: Tower, together users: [[Float]], _ scratch: TowerScratch) throws -> [[Float]] {
    for (place, x) in users.enumerated() {
        try x.withUnsafeBufferPointer {
            try tower.place(
                userID: nil, FeatureValues(), cached: CachedVectors(cross: $0.baseAddress), strict: false, at: place,
                scratch)
        }
    }
    tower.embedPlaced(count: users.count, scratch)
    return users.indices.map { Array(tower.embedding(at: $0, scratch)) }
}

/// Widths around every multiple that the kernels count in: lanes, halves of tiles, tiles, blocks of inputs.
private let shapes = [
    [1, 1], [3, 17, 1], [16, 16], [31, 33, 15], [64, 48], [65, 100, 24], [96, 64, 40], [129, 257, 63],
    [256, 256, 128, 64],
    [200, 300, 7], [512, 31], [20, 560],
]

@Suite struct LayerKernelTests {
    @Test(arguments: shapes) func everySetComputesTheEquations(widths: [Int]) throws {
        var random = SeededRandom(seed: UInt64(widths.reduce(7) { $0 * 31 + $1 }))
        for activation in TowerGraph.Activation.allCases {
            for cycles in activation == .relu ? [0, 1, 2] : [1] {
                let model = Model(widths: widths, activation: activation, cycles: cycles, random: &random)
                // A third of the inputs are 0, as activations leave them.
                let x = (0..<widths[0]).map { _ in max(-1, Float.random(in: -2...1, using: &random)) + 1 }
                let expected = model.reference(x)
                // The terms of a sum are about 1 however small the sum is.
                let scale = expected.reduce(1) { max($0, abs($1)) }
                for set in sets {
                    let tower = try model.tower(set)
                    let y = try embed(tower, x, tower.makeScratch())
                    for (y, expected) in zip(y, expected) {
                        #expect(abs(Double(y) - expected) < 2e-6 * scale, "\(activation) \(cycles) on \(set)")
                    }
                }
            }
        }
    }

    /// Every sum is built in the same order in each set, and both of these fuse products and sums.
    @Test(
        .enabled(if: sets.contains(Int32(BELFRY_AVX512.rawValue)) && sets.contains(Int32(BELFRY_AVX2.rawValue))),
        arguments: shapes)
    func setsThatFuseAgreeBitForBit(widths: [Int]) throws {
        var random = SeededRandom(seed: 5)
        for activation in TowerGraph.Activation.allCases {
            let model = Model(widths: widths, activation: activation, cycles: 1, random: &random)
            let x = (0..<widths[0]).map { _ in Float.random(in: -1...1, using: &random) }
            let results = try [BELFRY_AVX2, BELFRY_AVX512].map { set in
                let tower = try model.tower(Int32(set.rawValue))
                return try embed(tower, x, tower.makeScratch()).map(\.bitPattern)
            }
            #expect(results[0] == results[1], "\(activation)")
        }
    }

    @Test(arguments: shapes) func usersTogetherGetTheBitsThatEachGetsAlone(widths: [Int]) throws {
        var random = SeededRandom(seed: 11)
        for (activation, normalises) in [(TowerGraph.Activation.relu, true), (.tanh, false)] {
            let model = Model(widths: widths, activation: activation, cycles: 1, random: &random)
            let users = (0..<Tower.placeCount).map { user in
                // The second user is cold: all zeros.
                (0..<widths[0]).map { _ in user == 1 ? 0 : max(0, Float.random(in: -1...1, using: &random)) }
            }
            for set in sets {
                let tower = try model.tower(set, normalises: normalises)
                let scratch = tower.makeScratch()
                let alone = try users.map { try embed(tower, $0, scratch).map(\.bitPattern) }
                for count in 1...Tower.placeCount {
                    let together = try embed(tower, together: Array(users[..<count]), scratch)
                    #expect(together.map { $0.map(\.bitPattern) } == Array(alone[..<count]), "\(count) on \(set)")
                }
            }
        }
    }

    /// The kernel for four users beside the one for one, whether or not a tower would take it on this set.
    @Test(arguments: sets, shapes) func fourAgreesWithOne(set: Int32, widths: [Int]) throws {
        var random = SeededRandom(seed: 23)
        let model = Model(widths: widths, activation: .leakyReLU, cycles: 2, random: &random)
        let kernels = belfry_layer_kernels_for(set).pointee
        for layer in model.layers {
            let (inputs, outputs) = (layer.inputs, layer.outputs)
            let stride = max(inputs, outputs).roundedUpToLanes
            func padded(_ values: [Float]) -> AlignedBuffer<Float> {
                let buffer = AlignedBuffer<Float>(repeating: 0, count: values.count.roundedUpToLanes)
                buffer.base.update(from: values, count: values.count)
                return buffer
            }
            func packed(_ matrix: [Float], outputs: Int, inputs: Int) -> AlignedBuffer<Float> {
                let buffer = AlignedBuffer<Float>(repeating: 0, count: belfry_packed_count(outputs, inputs))
                belfry_pack(matrix, outputs, inputs, kernels.tile, buffer.base)
                return buffer
            }
            let weight = packed(layer.weight, outputs: outputs, inputs: inputs)
            let gateWeight = packed(layer.gateWeight, outputs: inputs, inputs: outputs)
            let bias = padded(layer.bias)
            let gateBias = padded(layer.gateBias)
            let x = AlignedBuffer<Float>(repeating: 0, count: 4 * stride)
            for i in 0..<4 * stride { x.base[i] = max(0, Float.random(in: -1...1, using: &random)) }
            let y = AlignedBuffer<Float>(repeating: 0, count: 4 * stride)
            let together = AlignedBuffer<Float>(repeating: 0, count: 4 * stride)
            let reweighted = AlignedBuffer<Float>(repeating: 0, count: 4 * stride)
            let columns = AlignedBuffer<UInt32>(repeating: 0, count: belfry_column_capacity(max(inputs, outputs)))
            var bound = belfry_layer()
            bound.weight = UnsafePointer(weight.base)
            bound.bias = UnsafePointer(bias.base)
            bound.gate_weight = UnsafePointer(gateWeight.base)
            bound.gate_bias = UnsafePointer(gateBias.base)
            bound.inputs = inputs
            bound.outputs = outputs
            bound.activation = layer.activation.kernelCode
            bound.cycles = 2
            kernels.four(&bound, x.base, stride, together.base, reweighted.base, columns.base)
            for user in 0..<4 {
                let row = user * stride
                kernels.one(&bound, x.base + row, y.base + row, reweighted.base, columns.base)
                for output in row..<row + outputs {
                    #expect(y.base[output].bitPattern == together.base[output].bitPattern)
                }
            }
        }
    }

    /// Columns of zeros are left out, and nothing else is.
    @Test(arguments: sets) func noNumberThatIsNotFiniteGetsLost(set: Int32) throws {
        var random = SeededRandom(seed: 3)
        for activation in TowerGraph.Activation.allCases {
            for cycles in [0, 1] {
                let model = Model(widths: [40, 70, 20], activation: activation, cycles: cycles, random: &random)
                let tower = try model.tower(set)
                let scratch = tower.makeScratch()
                for place in [0, 15, 16, 39] {
                    var x = [Float](repeating: 0, count: 40)
                    x[place] = .nan
                    let alone = try embed(tower, x, scratch)
                    #expect(alone.allSatisfy { $0.isNaN }, "\(activation)")
                    let users = [x, x.map { _ in 1 }, x.map { _ in 0 }, x.map { _ in -1 }]
                    let together = try embed(tower, together: users, scratch)
                    #expect(together[0].allSatisfy { $0.isNaN })
                    for others in together[1...] {
                        #expect(others.allSatisfy { $0.isFinite }, "one user's NaN is no other's")
                    }
                }
            }
            let model = Model(widths: [40, 20], activation: .identity, cycles: 0, random: &random)
            let tower = try model.tower(set)
            let scratch = tower.makeScratch()
            var x = [Float](repeating: -0.0, count: 40)
            let cold = try embed(tower, x, scratch)
            #expect(cold == model.layers[0].bias)
            x[7] = .infinity
            let infinite = try embed(tower, x, scratch)
            #expect(infinite.allSatisfy { $0.isInfinite })
        }
    }

    /// Each activation over all of the range of float32, against the C library in double precision.
    @Test(arguments: TowerGraph.Activation.allCases) func activationsAreAsPreciseAsFloatsAre(
        activation: TowerGraph.Activation
    ) throws {
        let width = 100
        var builder = SafetensorsBuilder()
        builder.add(
            "l.weight", shape: [width, width], (0..<width * width).map { $0 / width == $0 % width ? 1 : 0 })
        builder.add("l.bias", shape: [width], [Float](repeating: 0, count: width))
        let magnitudes = (0..<500).map { Float(pow(2, Double($0) / 2 - 126 + 0.37 * Double($0 % 3))) }
        let near = (0..<500).map { Float($0) * 0.0407 }
        let points = (magnitudes + near).flatMap { abs($0) < 1e37 ? [$0, -$0] : [] }
        for set in sets {
            let tower = try builder.withFile { path in
                try Tower(
                    graph: TowerGraph(
                        file: "user_tower.safetensors", inputs: [.crossVector(dimension: width)],
                        layers: [
                            .dense(name: "l", inputs: width, outputs: width, activation: activation, cycles: 0)
                        ]),
                    features: [], file: try SafetensorsFile(path: path), normalises: false, instructionSet: set)
            }
            let scratch = tower.makeScratch()
            for first in stride(from: 0, to: points.count - width, by: width) {
                let x = Array(points[first..<first + width])
                for (x, y) in zip(x, try embed(tower, x, scratch)) {
                    let exact = value(activation, Double(x))
                    // A tail of gelu is as precise as 1 is, and nothing more precise than the least normal number.
                    let floor =
                        switch activation {
                        case .gelu: abs(Double(x)) * 1.2e-7
                        case .silu: max(abs(Double(x)), 1) * 1.2e-38
                        default: 1.2e-38
                        }
                    let error = abs(Double(y) - exact) / max(Double(Float(abs(exact)).ulp), floor)
                    let limit = [.identity, .relu].contains(activation) ? 0 : 4.0
                    #expect(error <= limit, "\(activation)(\(x)) is \(y), not \(exact), on \(set)")
                }
            }
        }
    }
}
