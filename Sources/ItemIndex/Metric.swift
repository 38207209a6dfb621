import CFaiss
import CKernels

/// How an item's score follows from its vector and the query's. A higher score is better under either.
public enum Metric: Sendable, Equatable {
    /// The score is the inner product.
    case innerProduct
    /// The score is minus the squared Euclidean distance.
    case squaredL2

    /// FAISS's number for the metric.
    var faissNumber: Int32 {
        switch self {
        case .innerProduct: Int32(BELFRY_FAISS_INNER_PRODUCT.rawValue)
        case .squaredL2: Int32(BELFRY_FAISS_L2.rawValue)
        }
    }

    /// The metric with FAISS's number, nil for those that are not served.
    init?(faissNumber: Int32) {
        switch faissNumber {
        case Metric.innerProduct.faissNumber: self = .innerProduct
        case Metric.squaredL2.faissNumber: self = .squaredL2
        default: return nil
        }
    }

    /// The kernels' number for the metric.
    var kernelNumber: Int32 {
        switch self {
        case .innerProduct: Int32(BELFRY_INNER_PRODUCT.rawValue)
        case .squaredL2: Int32(BELFRY_SQUARED_L2.rawValue)
        }
    }
}

/// What an index searches by.
public enum IndexKind: String, Sendable, Codable {
    /// Every item is compared.
    case flat
    /// A hierarchical navigable small-world graph (Malkov and Yashunin, arXiv 1603.09320); its parameter is `ef`.
    case hnsw
    /// An inverted file over k-means cells; its parameter is `nprobe`.
    case ivfFlat = "ivf_flat"
}

/// The instruction sets that scores are compiled for. Scores of different sets may differ in the last bits.
public enum InstructionSet: String, Sendable, Codable, CaseIterable {
    /// What the compiler's baseline has.
    case portable
    /// AVX2 with FMA.
    case avx2
    /// AVX-512 F.
    case avx512

    /// Whether this machine has it.
    public var isAvailable: Bool { belfry_has_instruction_set(kernelNumber) != 0 }

    /// The best one this machine has.
    public static var best: InstructionSet {
        allCases.last { $0.isAvailable } ?? .portable
    }

    var kernelNumber: Int32 {
        switch self {
        case .portable: Int32(BELFRY_PORTABLE.rawValue)
        case .avx2: Int32(BELFRY_AVX2.rawValue)
        case .avx512: Int32(BELFRY_AVX512.rawValue)
        }
    }
}
