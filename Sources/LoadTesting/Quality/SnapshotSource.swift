internal import JSON

/// A snapshot that is published under other ids, and what PyTorch makes of the requests with it: all that a reply which names
/// one of those ids is recomputed from.
final class SnapshotSource: Sendable {
    /// What `expect` says about a request.
    struct Expected: Sendable {
        /// One for each query vector. (vectors, dimension)
        let embeddings: [[Double]]
        /// The exact best, by row. (k or fewer)
        let best: Set<Int>
    }

    let directory: String
    let spaceID: String
    let metric: SnapshotSchema.Metric
    let vectors: ItemVectors
    let ids: IdentifierColumn
    private let files: String
    private let expected: [String: Expected]

    /// Reads the snapshot, and the output of `belfry_models expect` for it.
    init(directory: String, expectations path: String) throws(LoadTestError) {
        let schema = try SnapshotSchema(directory: directory)
        self.directory = directory
        spaceID = schema.spaceID
        metric = schema.metric
        files = schema.files
        ids = try schema.itemIDs()
        vectors = try ItemVectors(schema)
        let dimension = schema.dimension
        let ids = ids
        var expected: [String: Expected] = [:]
        try JSONLines.read(path) { line throws(JSONLines.Fault) in
            guard let request = line.value["request"] else {
                throw JSONLines.Fault(text: "the key \"request\" is missing; expected the output of `expect`")
            }
            guard case .list(let rows)? = line.value["embeddings"], !rows.isEmpty,
                case .list(let best)? = line.value["top"]?["ids"]
            else { throw JSONLines.Fault(text: "expected \"embeddings\" and \"top\" with \"ids\"") }
            var embeddings: [[Double]] = []
            for row in rows {
                guard case .list(let components) = row, components.count == dimension else {
                    throw JSONLines.Fault(text: "/embeddings: expected lists of \(dimension) numbers")
                }
                let numbers = components.compactMap(\.asDouble)
                guard numbers.count == dimension else {
                    throw JSONLines.Fault(text: "/embeddings: not all are numbers")
                }
                embeddings.append(numbers)
            }
            var bestRows: Set<Int> = []
            for id in best {
                guard case .string(let text) = id, let row = ids.row(text) else {
                    throw JSONLines.Fault(text: "/top/ids: \(id.text()) is no item of \(directory)")
                }
                bestRows.insert(row)
            }
            expected[Expectations.key(request)] = Expected(embeddings: embeddings, best: bestRows)
        }
        guard !expected.isEmpty else { throw .failed("\(path): holds no answer") }
        self.expected = expected
    }

    /// What PyTorch says about a request, by `Expectations.key`.
    func expected(_ key: String) -> Expected? { expected[key] }

    /// Whether a published directory holds the same files, whatever its id.
    func isSame(as directory: String) -> Bool { (try? SnapshotSchema(directory: directory))?.files == files }
}
