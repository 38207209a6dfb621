/// A tower as the manifest lists it: inputs that are concatenated, then layers one after the other.
public struct TowerGraph: Sendable {
    /// One stretch of the tower's input.
    public enum Input: Sendable {
        /// Rows of the feature's table, pooled: `dimension` numbers.
        case embedding(feature: String, dimension: Int, pooling: Pooling)
        /// The feature's number.
        case numeric(feature: String)
        /// The user's cached cross vector (CS3's cross-tower synchronization): as long as the item vectors.
        case crossVector(dimension: Int)
        /// The user's cached cascade vector (CS3's cascade-model sharing).
        case cascadeVector(dimension: Int)

        /// How many numbers the input adds.
        public var width: Int {
            switch self {
            case .embedding(_, let dimension, _), .crossVector(let dimension), .cascadeVector(let dimension): dimension
            case .numeric: 1
            }
        }
    }

    /// How the rows of several values become one.
    public enum Pooling: String, BitwiseCopyable, Sendable {
        case mean, sum
    }

    /// A layer's non-linearity.
    public enum Activation: String, Sendable, CaseIterable {
        case identity, relu
        case leakyReLU = "leaky_relu"
        case tanh, sigmoid, silu, gelu
    }

    /// One layer. A new backbone is a new case here and its kernel, not a new program.
    public enum Layer: Sendable {
        /// f(Wx + b); with `cycles` > 0 cycle-adaptive (CS3's CAS): the input is reweighted by a gate computed from
        /// the output, and goes through the same weights again.
        case dense(name: String, inputs: Int, outputs: Int, activation: Activation, cycles: Int)
        case layerNorm(name: String, size: Int, epsilon: Float)

        /// How many numbers go in.
        public var inputWidth: Int {
            switch self {
            case .dense(_, let inputs, _, _, _): inputs
            case .layerNorm(_, let size, _): size
            }
        }

        /// How many come out.
        public var outputWidth: Int {
            switch self {
            case .dense(_, _, let outputs, _, _): outputs
            case .layerNorm(_, let size, _): size
            }
        }
    }

    /// The safetensors file with the weights.
    public let file: String
    /// The inputs in the order of concatenation.
    public let inputs: [Input]
    /// The layers in the order of execution.
    public let layers: [Layer]

    /// Lists a tower.
    public init(file: String, inputs: [Input], layers: [Layer]) {
        self.file = file
        self.inputs = inputs
        self.layers = layers
    }

    /// How many numbers the first layer reads.
    public var inputWidth: Int { inputs.reduce(0) { $0 + $1.width } }

    /// Whether the tower reads cached cross vectors.
    public var readsCrossVector: Bool {
        inputs.contains { if case .crossVector = $0 { true } else { false } }
    }

    /// Whether the tower reads cached cascade vectors.
    public var readsCascadeVector: Bool {
        inputs.contains { if case .cascadeVector = $0 { true } else { false } }
    }
}
