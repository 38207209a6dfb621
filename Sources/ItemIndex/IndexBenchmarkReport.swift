/// What `IndexBenchmark` measured, as `belfry index bench --json` writes it.
public struct IndexBenchmarkReport: Codable, Sendable {
    /// One row for each k.
    public let rows: [Row]
    /// How many items the index holds.
    public let items: Int
    /// The length of their vectors.
    public let dimension: Int
    /// How many queries were run.
    public let queries: Int
    /// `ip` or `l2`.
    public let metric: String
    /// What the index searches by.
    public let kind: IndexKind
    /// What the scores were computed with.
    public let instructionSet: InstructionSet
    /// The recall that was asked for.
    public let targetRecall: Double

    /// The cheapest setting for one k.
    public struct Row: Codable, Sendable {
        /// How many hits a query wanted.
        public let k: Int
        /// The setting.
        public let parameters: Parameters
        /// The recall it has, 0...1.
        public let recall: Double
        /// The median time of a query in microseconds.
        public let usP50: Double
        /// The 99th percentile in microseconds, by nearest rank.
        public let usP99: Double
        /// The mean in microseconds.
        public let usMean: Double
        /// One thread, one query at a time.
        public let queriesPerSecond: Double
        /// Memory of the index by item, vectors included.
        public let bytesPerItem: Double

        enum CodingKeys: String, CodingKey {
            case k, parameters, recall
            case usP50 = "us_p50"
            case usP99 = "us_p99"
            case usMean = "us_mean"
            case queriesPerSecond = "queries_per_second"
            case bytesPerItem = "bytes_per_item"
        }
    }

    /// `{"ef": 200}`, `{"nprobe": 8}`, `{"exact": true}`, or `{}` for a flat index.
    public struct Parameters: Codable, Sendable, Equatable {
        /// The width of a graph walk.
        public let ef: Int?
        /// How many inverted lists are read.
        public let nprobe: Int?
        /// True if every item is compared although the index could do without.
        public let exact: Bool?

        init(_ parameters: SearchParameters) {
            ef = parameters.ef
            nprobe = parameters.nprobe
            exact = parameters.exact ? true : nil
        }

        var searchParameters: SearchParameters {
            SearchParameters(ef: ef, nprobe: nprobe, exact: exact ?? false)
        }
    }

    enum CodingKeys: String, CodingKey {
        case rows, items, dimension, queries, metric, kind
        case instructionSet = "instruction_set"
        case targetRecall = "target_recall"
    }
}
