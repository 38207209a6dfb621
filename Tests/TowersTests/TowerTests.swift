import Foundation
import Memory
import Safetensors
import TestSupport
import Testing

@testable import Towers

/// Binds a tower to the tensors of a builder.
private func tower(
    _ inputs: [TowerGraph.Input], _ layers: [TowerGraph.Layer], features: [Feature] = [], normalises: Bool = false,
    _ fill: (inout SafetensorsBuilder) -> Void
) throws -> Tower {
    var builder = SafetensorsBuilder()
    fill(&builder)
    return try builder.withFile { path in
        try Tower(
            graph: TowerGraph(file: "user_tower.safetensors", inputs: inputs, layers: layers), features: features,
            file: try SafetensorsFile(path: path), normalises: normalises)
    }
}

/// Adds an identity layer "l" that lets a test see the tower's input.
private func identity(_ size: Int) -> (TowerGraph.Layer, (inout SafetensorsBuilder) -> Void) {
    (
        .dense(name: "l", inputs: size, outputs: size, activation: .identity, cycles: 0),
        { builder in
            builder.add("l.weight", shape: [size, size], (0..<size * size).map { $0 / size == $0 % size ? 1 : 0 })
            builder.add("l.bias", shape: [size], Array(repeating: 0, count: size))
        }
    )
}

private func embed(
    _ tower: Tower, _ values: FeatureValues = FeatureValues(), userID: FeatureValue? = nil,
    cached: CachedVectors = CachedVectors(), strict: Bool = false
) throws -> [Float] {
    let scratch = tower.makeScratch()
    defer { withExtendedLifetime(scratch) {} }
    return try Array(tower.embed(userID: userID, values, cached: cached, strict: strict, scratch))
}

@Suite struct TowerTests {
    /// y for one input and one output, by the equations of CS3: z = f(wx + b); K times z = f(w (x 2 sigmoid(vz + a)) + b).
    @Test(arguments: 0...4) func runsCyclesAsTheEquationsSay(cycles: Int) throws {
        let (w, b, v, a, x): (Double, Double, Double, Double, Double) = (0.7, -0.3, 1.9, 0.4, 1.6)
        var z = tanh(w * x + b)
        for _ in 0..<cycles { z = tanh(w * (x * 2 / (1 + exp(-(v * z + a)))) + b) }
        let model = try tower(
            [.crossVector(dimension: 1)],
            [.dense(name: "l", inputs: 1, outputs: 1, activation: .tanh, cycles: cycles)]
        ) { builder in
            builder.add("l.weight", shape: [1, 1], [Float(w)])
            builder.add("l.bias", shape: [1], [Float(b)])
            if cycles > 0 {
                builder.add("l.gate.weight", shape: [1, 1], [Float(v)])
                builder.add("l.gate.bias", shape: [1], [Float(a)])
            }
        }
        let cross = [Float(x)]
        let y = try cross.withUnsafeBufferPointer {
            try embed(model, cached: CachedVectors(cross: $0.baseAddress))
        }
        #expect(abs(Double(y[0]) - z) < 1e-6)
    }

    @Test func anUntrainedGateChangesNothing() throws {
        let (inputs, outputs) = (5, 3)
        let weight = (0..<inputs * outputs).map { Float(sin(Double($0))) }
        func model(cycles: Int) throws -> Tower {
            try tower(
                [.crossVector(dimension: inputs)],
                [.dense(name: "l", inputs: inputs, outputs: outputs, activation: .relu, cycles: cycles)]
            ) { builder in
                builder.add("l.weight", shape: [outputs, inputs], weight)
                builder.add("l.bias", shape: [outputs], [0.1, 0.2, 0.3])
                if cycles > 0 {
                    builder.add("l.gate.weight", shape: [inputs, outputs], Array(repeating: 0, count: 15))
                    builder.add("l.gate.bias", shape: [inputs], Array(repeating: 0, count: 5))
                }
            }
        }
        let x: [Float] = [1, -2, 3, -4, 5]
        try x.withUnsafeBufferPointer { x in
            let cached = CachedVectors(cross: x.baseAddress)
            let (cycled, plain) = (
                try embed(model(cycles: 3), cached: cached), try embed(model(cycles: 0), cached: cached)
            )
            #expect(cycled == plain)
        }
    }

    @Test func gateMultipliesByItsRows() throws {
        // V is (in, out): the gate of input 0 reads only output 1, that of input 1 only output 0.
        let model = try tower(
            [.crossVector(dimension: 2)],
            [.dense(name: "l", inputs: 2, outputs: 2, activation: .identity, cycles: 1)]
        ) { builder in
            builder.add("l.weight", shape: [2, 2], [1, 0, 0, 1])
            builder.add("l.bias", shape: [2], [0, 0])
            builder.add("l.gate.weight", shape: [2, 2], [0, 1, 1, 0])
            builder.add("l.gate.bias", shape: [2], [0, 0])
        }
        let x: [Float] = [2, -1]
        let y = try x.withUnsafeBufferPointer { try embed(model, cached: CachedVectors(cross: $0.baseAddress)) }
        let expected = [2 * 2 / (1 + exp(1.0)), -1 * 2 / (1 + exp(-2.0))]
        #expect(abs(Double(y[0]) - expected[0]) < 1e-6)
        #expect(abs(Double(y[1]) - expected[1]) < 1e-6)
    }

    @Test(arguments: TowerGraph.Activation.allCases) func activates(_ activation: TowerGraph.Activation) throws {
        let inputs: [Float] = [-2, -0.5, 0, 0.25, 3]
        let model = try tower(
            [.crossVector(dimension: 5)],
            [.dense(name: "l", inputs: 5, outputs: 5, activation: activation, cycles: 0)]
        ) { builder in
            builder.add("l.weight", shape: [5, 5], (0..<25).map { $0 / 5 == $0 % 5 ? 1 : 0 })
            builder.add("l.bias", shape: [5], Array(repeating: 0, count: 5))
        }
        let y = try inputs.withUnsafeBufferPointer { try embed(model, cached: CachedVectors(cross: $0.baseAddress)) }
        for (x, y) in zip(inputs.map(Double.init), y) {
            let expected =
                switch activation {
                case .identity: x
                case .relu: max(x, 0)
                case .leakyReLU: x < 0 ? 0.01 * x : x
                case .tanh: tanh(x)
                case .sigmoid: 1 / (1 + exp(-x))
                case .silu: x / (1 + exp(-x))
                case .gelu: 0.5 * x * (1 + erf(x / 2.0.squareRoot()))
                }
            #expect(abs(Double(y) - expected) < 1e-6, "\(x)")
        }
    }

    @Test func normalisesLayersAndEmbeddings() throws {
        let model = try tower(
            [.crossVector(dimension: 3)], [.layerNorm(name: "n", size: 3, epsilon: 0)], normalises: true
        ) { builder in
            builder.add("n.weight", shape: [3], [1, 2, 3])
            builder.add("n.bias", shape: [3], [0, 0, 1])
        }
        let x: [Float] = [1, 2, 3]
        let y = try x.withUnsafeBufferPointer { try embed(model, cached: CachedVectors(cross: $0.baseAddress)) }
        let deviation = (2.0 / 3).squareRoot()
        let raw = [-1 / deviation, 0, 3 / deviation + 1]
        let norm = raw.map { $0 * $0 }.reduce(0, +).squareRoot()
        for (y, raw) in zip(y, raw) { #expect(abs(Double(y) - raw / norm) < 1e-6) }
    }

    @Test func aMissingCachedVectorIsZeros() throws {
        let (layer, fill) = identity(5)
        let model = try tower([.crossVector(dimension: 2), .cascadeVector(dimension: 3)], [layer], fill)
        #expect(try embed(model) == [0, 0, 0, 0, 0])
        let vector: [Float] = [1, 2, 3]
        try vector.withUnsafeBufferPointer { vector in
            let cross = try embed(model, cached: CachedVectors(cross: vector.baseAddress))
            #expect(cross == [1, 2, 0, 0, 0])
            let cascade = try embed(model, cached: CachedVectors(cascade: vector.baseAddress))
            #expect(cascade == [0, 0, 1, 2, 3])
        }
    }

    @Test func refusesTensorsThatDoNotFit() throws {
        func bind(_ fill: (inout SafetensorsBuilder) -> Void) throws -> Tower {
            try tower(
                [.crossVector(dimension: 2)],
                [.dense(name: "l", inputs: 2, outputs: 1, activation: .relu, cycles: 0)], fill)
        }
        _ = try bind {
            $0.add("l.weight", shape: [1, 2], [1, 2]); $0.add("l.bias", shape: [1], [0])
        }
        #expect(throws: SafetensorsError.self) { try bind { $0.add("l.weight", shape: [1, 2], [1, 2]) } }
        #expect(throws: SafetensorsError.self) {
            try bind {
                $0.add("l.weight", shape: [2, 1], [1, 2]); $0.add("l.bias", shape: [1], [0])
            }
        }
        #expect(throws: SafetensorsError.self) {
            try bind {
                $0.add("l.weight", shape: [1, 2], [1, 2])
                $0.add("l.bias", shape: [1], [0])
                $0.add("l.gate.bias", shape: [2], [0, 0])
            }
        }
    }
}
