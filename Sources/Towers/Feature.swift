/// A feature as the manifest declares it: where a request carries it, what it may be, and how it becomes rows of a
/// table or a number. `docs/SNAPSHOT.md` defines every word.
public struct Feature: Sendable {
    /// Where the value comes from.
    public enum Source: Sendable, Equatable {
        case user, context, userID, item, itemID
    }

    /// The JSON values it takes.
    public enum ValueType: String, BitwiseCopyable, Sendable {
        case string, integer, number, id
    }

    /// How a value becomes a table's row, or a number.
    public enum Encoding: Sendable {
        /// XXH64 of the text modulo `rows`.
        case hash(rows: Int, seed: UInt64)
        /// Row 0 is for every word that is not in the vocabulary.
        case vocabulary(rows: Int)
        /// The row is the count of boundaries that are not above the value.
        case bucketise(boundaries: [Double])
        /// No row but the number itself.
        case numeric([Transform])

        /// The rows of the embedding table; nil for a number.
        public var rowCount: Int? {
            switch self {
            case .hash(let rows, _), .vocabulary(let rows): rows
            case .bucketise(let boundaries): boundaries.count + 1
            case .numeric: nil
            }
        }

        var boundaries: [Double] {
            if case .bucketise(let boundaries) = self { boundaries } else { [] }
        }

        var transforms: [Transform] {
            if case .numeric(let transforms) = self { transforms } else { [] }
        }
    }

    /// A step from the request's number to the tower's, in float64.
    public enum Transform: BitwiseCopyable, Sendable {
        /// sign(x) log(1 + |x|)
        case log1p
        case standardise(mean: Double, deviation: Double)
        case clip(minimum: Double, maximum: Double)

        @inline(__always)
        func apply(_ x: Double) -> Double {
            switch self {
            case .log1p: x < 0 ? -log1pOf(-x) : log1pOf(x)
            case .standardise(let mean, let deviation): (x - mean) / deviation
            case .clip(let minimum, let maximum): min(max(x, minimum), maximum)
            }
        }
    }

    /// The name in requests, and in the names of tensors.
    public let name: String
    /// Where the value comes from.
    public let source: Source
    /// The JSON values it takes.
    public let type: ValueType
    /// The most values that are read of a list; nil for a single value.
    public let maximumValues: Int?
    /// How a value is encoded.
    public let encoding: Encoding

    /// Declares a feature. `maximumValues` is nil for a single-valued one and `Int.max` for a list without a limit.
    public init(name: String, source: Source, type: ValueType, maximumValues: Int?, encoding: Encoding) {
        self.name = name
        self.source = source
        self.type = type
        self.maximumValues = maximumValues
        self.encoding = encoding
    }
}

#if canImport(Glibc)
    internal import Glibc
#endif

@inline(__always)
private func log1pOf(_ x: Double) -> Double { log1p(x) }
