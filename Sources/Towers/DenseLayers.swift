internal import CKernels
internal import Safetensors

#if canImport(Glibc)
    internal import Glibc
#endif

/// The weights of a tower's dense layers in the order in which the kernels of one instruction set read them: a copy, made
/// once, in one stretch of memory. A tower is read from front to back for every user, and what the processor has to
/// fetch is nearly all that it costs.
final class DenseLayers: Sendable {
    /// By the place among the graph's layers; nil for a layer of another kind. Valid while this object lives.
    nonisolated(unsafe) let layers: [belfry_layer?]
    private nonisolated(unsafe) let memory: UnsafeMutableRawPointer

    /// One page is one entry in the processor's table of translations. No gain was measured while nothing else wants
    /// that table; it is there for when something does.
    private static let hugePageByteCount = 2 << 20
    /// Smaller towers are not worth a huge page: they fit caches beside everything else.
    private static let hugePageThreshold = 256 << 10

    /// Packs the weights. A tensor that is missing or of another shape is an error.
    init(graph: TowerGraph, file: SafetensorsFile, tile: Int) throws(SafetensorsError) {
        var sources: [Source?] = []
        for layer in graph.layers { sources.append(try Source(layer, file)) }
        var byteCount = max(sources.reduce(0) { $0 + ($1?.packedCount ?? 0) }, 1) * MemoryLayout<Float>.stride
        var alignment = 64
        if byteCount >= DenseLayers.hugePageThreshold {
            alignment = DenseLayers.hugePageByteCount
            byteCount = (byteCount + alignment - 1) / alignment * alignment
        }
        memory = .allocate(byteCount: byteCount, alignment: alignment)
        #if os(Linux)
            // A wish: without huge pages the memory is as good as any other.
            if alignment == DenseLayers.hugePageByteCount { _ = madvise(memory, byteCount, MADV_HUGEPAGE) }
        #endif
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
        var position = memory.assumingMemoryBound(to: Float.self)
        var layers: [belfry_layer?] = []
        for source in sources { layers.append(source?.pack(tile: tile, at: &position)) }
        self.layers = layers
    }

    deinit {
        memory.deallocate()
    }

    /// A dense layer's tensors where the file is mapped.
    private struct Source {
        let weight: UnsafePointer<Float>  // (outputs, inputs), row-major
        let bias: UnsafePointer<Float>  // (outputs)
        let gateWeight: UnsafePointer<Float>?  // (inputs, outputs), row-major; V of cs3.md
        let gateBias: UnsafePointer<Float>?  // (inputs); a of cs3.md
        let inputs: Int
        let outputs: Int
        let activation: Int32
        let cycles: Int

        init?(_ layer: TowerGraph.Layer, _ file: SafetensorsFile) throws(SafetensorsError) {
            guard case .dense(let name, let inputs, let outputs, let activation, let cycles) = layer else {
                return nil
            }
            self.inputs = inputs
            self.outputs = outputs
            self.activation = activation.kernelCode
            self.cycles = cycles
            weight = try file.floats("\(name).weight", shape: [outputs, inputs])
            bias = try file.floats("\(name).bias", shape: [outputs])
            gateWeight = cycles > 0 ? try file.floats("\(name).gate.weight", shape: [inputs, outputs]) : nil
            gateBias = cycles > 0 ? try file.floats("\(name).gate.bias", shape: [inputs]) : nil
        }

        /// How many floats it takes when it is packed.
        var packedCount: Int {
            let plain = belfry_packed_count(outputs, inputs) + outputs.roundedUpToLanes
            return gateWeight == nil
                ? plain : plain + belfry_packed_count(inputs, outputs) + inputs.roundedUpToLanes
        }

        /// Writes the tensors from `position`, where there are zeros, and moves it behind them.
        func pack(tile: Int, at position: inout UnsafeMutablePointer<Float>) -> belfry_layer {
            func pack(matrix: UnsafePointer<Float>, outputs: Int, inputs: Int) -> UnsafePointer<Float> {
                belfry_pack(matrix, outputs, inputs, tile, position)
                defer { position += belfry_packed_count(outputs, inputs) }
                return UnsafePointer(position)
            }
            func pack(vector: UnsafePointer<Float>, count: Int) -> UnsafePointer<Float> {
                position.update(from: vector, count: count)
                defer { position += count.roundedUpToLanes }
                return UnsafePointer(position)
            }
            // In the order in which they are read.
            let packedWeight = pack(matrix: weight, outputs: outputs, inputs: inputs)
            let packedBias = pack(vector: bias, count: outputs)
            var packed = belfry_layer()
            packed.weight = packedWeight
            packed.bias = packedBias
            if let gateWeight, let gateBias {
                packed.gate_weight = pack(matrix: gateWeight, outputs: inputs, inputs: outputs)
                packed.gate_bias = pack(vector: gateBias, count: inputs)
            }
            packed.inputs = inputs
            packed.outputs = outputs
            packed.activation = activation
            packed.cycles = cycles
            return packed
        }
    }
}

extension Int {
    /// The next multiple of what the kernels pad vectors to.
    var roundedUpToLanes: Int {
        (self + Int(BELFRY_LANES) - 1) / Int(BELFRY_LANES) * Int(BELFRY_LANES)
    }
}
