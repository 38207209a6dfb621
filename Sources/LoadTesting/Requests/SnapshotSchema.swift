internal import JSON
internal import Memory
internal import Safetensors

/// What a snapshot's manifest says that requests are drawn by and replies are held to. It is read here once more,
/// without the server's reader, so that the two can disagree.
struct SnapshotSchema {
    /// A feature that requests carry.
    struct Feature: Sendable {
        enum Source: Sendable { case user, context, userID }
        enum ValueType: String, Sendable { case string, integer, number, id }
        enum Encoding: Sendable {
            case hash
            case vocabulary(rows: Int)
            case bucketise([Double])
            case numeric([Transform])
        }

        let name: String
        let source: Source
        let type: ValueType
        /// How many values are read of a list; nil for a single value.
        let maximumValues: Int?
        let encoding: Encoding
    }

    /// A step of a numeric feature.
    enum Transform: Sendable {
        case log1p
        case standardise(mean: Double, deviation: Double)
        case clip(minimum: Double, maximum: Double)
    }

    /// What scores are made of.
    enum Metric: String, Sendable {
        case innerProduct = "ip"
        case squaredDistance = "l2"
    }

    let directory: String
    let id: String
    let spaceID: String
    let dimension: Int
    let metric: Metric
    /// The files with their sizes and hashes, as text that is equal if they are.
    let files: String
    let itemsAreNumbers: Bool
    let usersAreNumbers: Bool
    let itemCount: Int
    /// Nil without `users.safetensors`.
    let userCount: Int?
    let features: [Feature]
    let userTowerFile: String

    /// Reads `manifest.json` of a published snapshot.
    init(directory: String) throws(LoadTestError) {
        self.directory = directory
        let path = "\(directory)/manifest.json"
        do throws(FileError) {
            _ = try MappedFile(path: "\(directory)/_SUCCESS")
        } catch {
            throw .failed("\(directory) is no published snapshot: \(error)")
        }
        let file: MappedFile
        do {
            file = try MappedFile(path: path)
        } catch {
            throw .failed(error.description)
        }
        do throws(JSONDocumentError) {
            let root = try file.withBytes { bytes throws(JSONDocumentError) in try JSONDocument(bytes) }.root
            let format = try root.member("format")
            guard try format.string() == "belfry-snapshot/1" else {
                throw format.error("is '\(try format.string())', expected 'belfry-snapshot/1'")
            }
            id = try root.member("id").string()
            spaceID = try root.member("space_id").string()
            dimension = try root.member("dimension").integer(in: 1...65_536)
            let metricNode = try root.member("metric")
            guard let metric = Metric(rawValue: try metricNode.string()) else {
                throw metricNode.error("is '\(try metricNode.string())', expected 'ip' or 'l2'")
            }
            self.metric = metric
            files = BodyValue(try root.member("files").value).text(sortsKeys: true)
            itemsAreNumbers = try SnapshotSchema.isNumber(try root.member("item_id_type"))
            usersAreNumbers = try SnapshotSchema.isNumber(try root.member("user_id_type"))
            let rows = 0...Int(Int32.max) - 1
            itemCount = try root.member("items").member("count").integer(in: rows)
            userCount = try root.member("users").unlessNull.map { users throws(JSONDocumentError) in
                try users.member("count").integer(in: rows)
            }
            features = try root.member("features").member("user").elements().map { node throws(JSONDocumentError) in
                try Feature(node)
            }
            userTowerFile = try root.member("towers").member("user").member("file").string()
        } catch {
            throw .failed("\(path): \(error)")
        }
    }

    private static func isNumber(_ node: JSONNode) throws(JSONDocumentError) -> Bool {
        switch try node.string() {
        case "u64": return true
        case "string": return false
        case let other: throw node.error("is '\(other)', expected 'u64' or 'string'")
        }
    }

    /// Opens a file of the snapshot.
    func tensors(_ name: String) throws(LoadTestError) -> SafetensorsFile {
        do {
            return try SafetensorsFile(path: "\(directory)/\(name)")
        } catch {
            throw .failed("\(directory): \(error)")
        }
    }

    /// The ids of the items.
    func itemIDs() throws(LoadTestError) -> IdentifierColumn {
        try identifiers("items.safetensors", isNumber: itemsAreNumbers, count: itemCount)
    }

    /// The ids of the users; nil if the snapshot has none.
    func userIDs() throws(LoadTestError) -> IdentifierColumn? {
        guard let userCount else { return nil }
        return try identifiers("users.safetensors", isNumber: usersAreNumbers, count: userCount)
    }

    private func identifiers(_ name: String, isNumber: Bool, count: Int) throws(LoadTestError) -> IdentifierColumn {
        let file = try tensors(name)
        do {
            return try IdentifierColumn(file: file, isNumber: isNumber, count: count)
        } catch {
            throw .failed("\(directory): \(error)")
        }
    }
}

extension SnapshotSchema.Feature {
    init(_ node: JSONNode) throws(JSONDocumentError) {
        name = try node.member("name").string()
        let sourceNode = try node.member("source")
        switch try sourceNode.string() {
        case "user": source = .user
        case "context": source = .context
        case "user_id": source = .userID
        case let other: throw sourceNode.error("is '\(other)', which no request carries")
        }
        let typeNode = try node.member("type")
        guard let type = ValueType(rawValue: try typeNode.string()) else {
            throw typeNode.error("is '\(try typeNode.string())', expected string, integer, number or id")
        }
        self.type = type
        maximumValues =
            try node.member("multi_valued").boolean()
            ? try node.member("maximum_values").integer(in: 1...65_536) : nil
        let encodingNode = try node.member("encoding")
        let kind = try encodingNode.member("kind")
        switch try kind.string() {
        case "hash": encoding = .hash
        case "vocabulary": encoding = .vocabulary(rows: try encodingNode.member("rows").integer(in: 1...1 << 32))
        case "bucketise": encoding = .bucketise(try encodingNode.member("boundaries").numbers())
        case "numeric":
            encoding = .numeric(
                try encodingNode.member("transforms").elements().map { step throws(JSONDocumentError) in
                    try SnapshotSchema.Transform(step)
                })
        case let other: throw kind.error("is '\(other)', an encoding that is not known here")
        }
        // A text has no bucket, and a broken number no word.
        switch (encoding, type) {
        case (.bucketise, .string), (.bucketise, .id), (.numeric, .string), (.numeric, .id), (.hash, .number),
            (.vocabulary, .number):
            throw typeNode.error("'\(type.rawValue)' does not go with the encoding '\(try kind.string())'")
        default: break
        }
    }
}

extension SnapshotSchema.Transform {
    init(_ node: JSONNode) throws(JSONDocumentError) {
        let kind = try node.member("kind")
        switch try kind.string() {
        case "log1p": self = .log1p
        case "standardise":
            self = .standardise(
                mean: try node.member("mean").number(), deviation: try node.member("deviation").number())
        case "clip":
            self = .clip(minimum: try node.member("minimum").number(), maximum: try node.member("maximum").number())
        case let other: throw kind.error("is '\(other)', a transform that is not known here")
        }
    }
}
