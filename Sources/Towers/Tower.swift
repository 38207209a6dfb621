internal import CKernels
internal import Memory
public import Safetensors

/// The user's cached vectors as a snapshot has them; nil where it has none, which the tower reads as zeros.
public struct CachedVectors {
    /// c_u of `cs3.md`: as long as the embedding.
    public var cross: UnsafePointer<Float>?
    /// s_u: as long as the manifest's `cascade_dimension`.
    public var cascade: UnsafePointer<Float>?

    /// No cached vectors, unless given.
    public init(cross: UnsafePointer<Float>? = nil, cascade: UnsafePointer<Float>? = nil) {
        self.cross = cross
        self.cascade = cascade
    }
}

/// What one worker changes while it runs a tower. Every buffer has the size the tower needs from the start.
public final class TowerScratch {
    var entryOfFeature: [Int]
    var userID: FeatureValue?
    /// The entries of the last request that its snapshot did not know.
    public internal(set) var ignoredEntries: [Int] = []
    /// The distance between the rows of two users: the widest layer, padded.
    let stride: Int
    // (user, stride): a layer reads `current` and writes `next`.
    var current: AlignedBuffer<Float>
    var next: AlignedBuffer<Float>
    // (user, stride): x * 2 sigmoid(V z + a)
    let reweighted: AlignedBuffer<Float>
    // The inputs of one product that are not 0.
    let columns: AlignedBuffer<UInt32>

    init(featureCount: Int, width: Int) {
        entryOfFeature = Array(repeating: -1, count: featureCount)
        ignoredEntries.reserveCapacity(64)
        stride = width.roundedUpToLanes
        current = AlignedBuffer(repeating: 0, count: Tower.placeCount * stride)
        next = AlignedBuffer(repeating: 0, count: Tower.placeCount * stride)
        reweighted = AlignedBuffer(repeating: 0, count: Tower.placeCount * stride)
        columns = AlignedBuffer(repeating: 0, count: belfry_column_capacity(width))
    }
}

/// One side of a two-tower model, bound to the weights of one snapshot: features and cached vectors in, embedding
/// out. Immutable and shared; what a request changes is in `TowerScratch`.
///
///     let embedding = try tower.embed(userID: id, features, cached: vectors, strict: false, scratch)
///
/// Several users at a time, for whom each weight is read once:
///
///     for place in 0..<count {  // at most Tower.placeCount
///         try tower.place(userID: ids[place], features[place], cached: vectors, strict: false, at: place, scratch)
///     }
///     tower.embedPlaced(count: count, scratch)
///     let embedding = tower.embedding(at: place, scratch)
///
/// A user's embedding is the same, bit for bit, either way.
public final class Tower: Sendable {
    /// How many users `embedPlaced` takes at a time.
    public static let placeCount = Int(BELFRY_USERS)

    /// The length of an embedding.
    public let dimension: Int
    /// The schema of the requests it takes.
    public var features: [Feature] { encoder.features }

    private enum Input: BitwiseCopyable {
        case embedding(feature: Int, table: UnsafePointer<Float>, dimension: Int, pooling: TowerGraph.Pooling)
        case numeric(feature: Int)
        case crossVector(dimension: Int)
        case cascadeVector(dimension: Int)
    }

    private enum Layer: BitwiseCopyable {
        case dense(belfry_layer)
        case layerNorm(weight: UnsafePointer<Float>, bias: UnsafePointer<Float>, size: Int, epsilon: Float)
    }

    private let encoder: FeatureEncoder
    // The pointers below lead into this file's mapping.
    private let file: SafetensorsFile
    // And these into what it has packed.
    private let dense: DenseLayers
    // Read-only, as is what they point to. Buffers and not arrays, whose references the workers would count.
    private nonisolated(unsafe) let inputs: AlignedBuffer<Input>
    private nonisolated(unsafe) let layers: AlignedBuffer<Layer>
    private let kernels: belfry_layer_kernels
    private let inputWidth: Int
    private let width: Int
    private let normalises: Bool

    /// Binds a tower to its weights.
    ///
    /// - Parameters:
    ///   - graph: inputs and layers; their widths fit each other (the manifest has been checked).
    ///   - features: the user side's schema.
    ///   - file: the weights. A tensor that is missing, of another shape, or not used by the tower is an error.
    ///   - normalises: whether the embedding is divided by its norm.
    public convenience init(graph: TowerGraph, features: [Feature], file: SafetensorsFile, normalises: Bool)
        throws(SafetensorsError)
    {
        try self.init(
            graph: graph, features: features, file: file, normalises: normalises,
            instructionSet: belfry_best_instruction_set())
    }

    /// Binds a tower that runs with one of the instruction sets (`belfry_instruction_set`) that this machine has, for tests
    /// and measurements that compare them.
    package init(
        graph: TowerGraph, features: [Feature], file: SafetensorsFile, normalises: Bool, instructionSet: Int32
    ) throws(SafetensorsError) {
        encoder = try FeatureEncoder(features: features, file: file)
        self.file = file
        self.normalises = normalises
        inputWidth = graph.inputWidth
        dimension = graph.layers.last?.outputWidth ?? graph.inputWidth
        width = max(inputWidth, graph.layers.map { max($0.inputWidth, $0.outputWidth) }.max() ?? 0)
        try file.requireExactly(graph.tensorNames(features: features))

        var inputs: [Input] = []
        for input in graph.inputs {
            switch input {
            case .embedding(let name, let dimension, let pooling):
                let feature = features.firstIndex { $0.name == name }!
                let rows = features[feature].encoding.rowCount!
                let table = try file.floats("inputs.\(name).weight", shape: [rows, dimension])
                inputs.append(.embedding(feature: feature, table: table, dimension: dimension, pooling: pooling))
            case .numeric(let name):
                inputs.append(.numeric(feature: features.firstIndex { $0.name == name }!))
            case .crossVector(let dimension):
                inputs.append(.crossVector(dimension: dimension))
            case .cascadeVector(let dimension):
                inputs.append(.cascadeVector(dimension: dimension))
            }
        }
        self.inputs = AlignedBuffer(copying: inputs)

        kernels = belfry_layer_kernels_for(instructionSet).pointee
        dense = try DenseLayers(graph: graph, file: file, tile: kernels.tile)
        var layers: [Layer] = []
        for (layer, packed) in zip(graph.layers, dense.layers) {
            switch layer {
            case .dense:
                layers.append(.dense(packed!))
            case .layerNorm(let name, let size, let epsilon):
                layers.append(
                    .layerNorm(
                        weight: try file.floats("\(name).weight", shape: [size]),
                        bias: try file.floats("\(name).bias", shape: [size]), size: size, epsilon: epsilon))
            }
        }
        self.layers = AlignedBuffer(copying: layers)
    }

    /// Makes the buffers for one worker.
    public func makeScratch() -> TowerScratch {
        TowerScratch(featureCount: features.count, width: width)
    }

    /// Computes a user's embedding: `dimension` floats in the scratch, valid until its next use.
    ///
    /// - Parameters:
    ///   - userID: the request's user id as a feature value, for a tower that has a feature of source `user_id`.
    ///   - values: the request's features and context.
    ///   - cached: the user's cached vectors; zeros where there are none.
    ///   - strict: whether a feature the schema does not know is an error.
    public func embed(
        userID: FeatureValue?, _ values: borrowing FeatureValues, cached: CachedVectors, strict: Bool,
        _ scratch: TowerScratch
    ) throws(FeatureError) -> UnsafeMutableBufferPointer<Float> {
        try place(userID: userID, values, cached: cached, strict: strict, at: 0, scratch)
        embedPlaced(count: 1, scratch)
        return embedding(at: 0, scratch)
    }

    /// Takes one of several users in: encodes the features and copies the cached vectors. Parameters and errors are those
    /// of `embed`; an error leaves the other places as they are.
    ///
    /// - Parameter place: the user's place in the batch, less than `placeCount`.
    public func place(
        userID: FeatureValue?, _ values: borrowing FeatureValues, cached: CachedVectors, strict: Bool, at place: Int,
        _ scratch: TowerScratch
    ) throws(FeatureError) {
        precondition(place >= 0 && place < Tower.placeCount)
        try encoder.match(userID: userID, values, strict: strict, scratch)
        try assemble(values, cached, scratch, into: scratch.current.base + place * scratch.stride)
    }

    /// Computes the embeddings of the users at the first `count` places. Each has to be placed again before the next run.
    public func embedPlaced(count: Int, _ scratch: TowerScratch) {
        precondition(count >= 0 && count <= Tower.placeCount)
        for layer in layers.elements { run(layer, count: count, scratch) }
        guard normalises else { return }
        for place in 0..<count { belfry_l2_normalise(scratch.current.base + place * scratch.stride, dimension) }
    }

    /// The embedding that the last run computed for a place: `dimension` floats, valid until the scratch is used again.
    public func embedding(at place: Int, _ scratch: TowerScratch) -> UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(start: scratch.current.base + place * scratch.stride, count: dimension)
    }

    /// Concatenates the inputs.
    private func assemble(
        _ values: borrowing FeatureValues, _ cached: CachedVectors, _ scratch: TowerScratch,
        into row: UnsafeMutablePointer<Float>
    ) throws(FeatureError) {
        var position = row
        position.update(repeating: 0, count: inputWidth)
        for input in inputs.elements {
            switch input {
            case .embedding(let feature, let table, let dimension, let pooling):
                encoder.pool(
                    feature, table: table, dimension: dimension, pooling: pooling, values, scratch, into: position)
                position += dimension
            case .numeric(let feature):
                position.pointee = try encoder.number(feature, values, scratch)
                position += 1
            case .crossVector(let dimension):
                if let cross = cached.cross { position.update(from: cross, count: dimension) }
                position += dimension
            case .cascadeVector(let dimension):
                if let cascade = cached.cascade { position.update(from: cascade, count: dimension) }
                position += dimension
            }
        }
    }

    /// Runs one layer from `scratch.current` to `scratch.current`.
    @inline(__always)
    private func run(_ layer: Layer, count: Int, _ scratch: TowerScratch) {
        let (x, y, stride) = (scratch.current.base, scratch.next.base, scratch.stride)
        let (reweighted, columns) = (scratch.reweighted.base, scratch.columns.base)
        switch layer {
        case .dense(var layer):
            if count >= kernels.users_for_four {
                kernels.four(&layer, x, stride, y, reweighted, columns)
            } else {
                for place in 0..<count {
                    kernels.one(&layer, x + place * stride, y + place * stride, reweighted, columns)
                }
            }
        case .layerNorm(let weight, let bias, let size, let epsilon):
            for place in 0..<count {
                belfry_layer_norm(weight, bias, x + place * stride, size, epsilon, y + place * stride)
            }
        }
        swap(&scratch.current, &scratch.next)
    }
}

extension TowerGraph {
    /// The names of the tensors that a file must hold for this tower: no fewer and no more.
    public func tensorNames(features: [Feature]) -> Set<String> {
        var names: Set<String> = []
        for case .embedding(let feature, _, _) in inputs { names.insert("inputs.\(feature).weight") }
        for feature in features {
            guard case .vocabulary = feature.encoding else { continue }
            names.formUnion(["vocabulary.\(feature.name).bytes", "vocabulary.\(feature.name).offsets"])
        }
        for layer in layers {
            switch layer {
            case .dense(let name, _, _, _, let cycles):
                names.formUnion(["\(name).weight", "\(name).bias"])
                if cycles > 0 { names.formUnion(["\(name).gate.weight", "\(name).gate.bias"]) }
            case .layerNorm(let name, _, _):
                names.formUnion(["\(name).weight", "\(name).bias"])
            }
        }
        return names
    }
}

extension TowerGraph.Activation {
    /// The kernel's number for it.
    var kernelCode: Int32 {
        let code =
            switch self {
            case .identity: BELFRY_IDENTITY
            case .relu: BELFRY_RELU
            case .leakyReLU: BELFRY_LEAKY_RELU
            case .tanh: BELFRY_TANH
            case .sigmoid: BELFRY_SIGMOID
            case .silu: BELFRY_SILU
            case .gelu: BELFRY_GELU
            }
        return Int32(code.rawValue)
    }
}
