public import Towers

/// What `manifest.json` says: everything about a snapshot that is not a tensor. `docs/SNAPSHOT.md` defines each key.
public struct Manifest: Sendable {
    /// The only format this version reads.
    public static let format = "belfry-snapshot/1"

    /// How vectors are compared.
    public enum Metric: String, Sendable {
        /// The score is the inner product.
        case innerProduct = "ip"
        /// The score is minus the squared distance.
        case squaredL2 = "l2"
    }

    /// Whether ids are numbers or texts.
    public enum IDType: String, Sendable {
        case u64, string
    }

    /// An item attribute's column.
    public struct Attribute: Sendable, Equatable {
        /// How a value is stored.
        public enum ValueType: String, Sendable {
            case code, f32, i64
        }
        /// The attribute's name.
        public let name: String
        /// How a value is stored.
        public let type: ValueType
        /// Whether an item may have several values, or none.
        public let isMultiValued: Bool
    }

    /// The users' table.
    public struct Users: Sendable {
        /// How many users have a row.
        public let count: Int
        /// Whether c_u is there.
        public let hasCrossVectors: Bool
        /// Whether s_u is there.
        public let hasCascadeVectors: Bool
    }

    /// The item vectors' index.
    public struct Index: Sendable {
        /// The kinds of FAISS index.
        public enum Kind: String, Sendable {
            case flat, hnsw
            case ivfFlat = "ivf_flat"
        }
        /// FAISS's factory string, for people.
        public let factory: String
        /// The kind of FAISS index.
        public let kind: Kind
        /// Whether the float32 vectors stand in `index.faiss`; else they are `vectors` in items.safetensors.
        public let holdsVectors: Bool
        /// Candidates a graph search keeps, unless the request says otherwise.
        public let ef: Int?
        /// Inverted lists a search visits, unless the request says otherwise.
        public let nprobe: Int?
        /// The k of `recallFloor`.
        public let recallK: Int
        /// The least recall@k against exact search, at the default ef or nprobe.
        public let recallFloor: Double
    }

    /// A file's seal.
    public struct FileSeal: Sendable, Equatable {
        /// Its size.
        public let byteCount: Int
        /// Its SHA-256, 64 lower-case hexadecimal digits.
        public let sha256: String
    }

    /// One side's features and tower.
    public struct Side: Sendable {
        /// The schema.
        public let features: [Feature]
        /// The tower.
        public var tower: TowerGraph
        /// Whether the side's vectors have norm 1.
        public let isNormalised: Bool
    }

    /// The snapshot's id.
    public let id: String
    /// RFC 3339 UTC.
    public let createdAt: String
    /// Names the space that user and item vectors share.
    public let spaceID: String
    /// Names the ranker's space; nil when no tower reads cascade vectors.
    public let cascadeSpaceID: String?
    /// The length of user and item vectors.
    public let dimension: Int
    /// The length of cascade vectors; nil without them.
    public let cascadeDimension: Int?
    /// How vectors are compared.
    public let metric: Metric
    /// Click probability is sigmoid(score * scale + bias).
    public let score: (scale: Double, bias: Double)
    /// The type of item ids.
    public let itemIDType: IDType
    /// The type of user ids.
    public let userIDType: IDType
    /// How many items there are.
    public let itemCount: Int
    /// The items' attributes.
    public let attributes: [Attribute]
    /// The users' table; nil without `users.safetensors`.
    public let users: Users?
    /// The user side.
    public let user: Side
    /// The item side: checked, not run.
    public let item: Side
    /// The item vectors' index.
    public let index: Index
    /// The seal of every file but the manifest and `_SUCCESS`.
    public let files: [String: FileSeal]
}
