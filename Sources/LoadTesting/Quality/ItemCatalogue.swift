/// The items of a snapshot, to know which ids a reply may name and how many there are.
public struct ItemCatalogue: Sendable {
    /// The snapshot's id, as replies name it.
    public let snapshotID: String
    private let ids: IdentifierColumn

    /// How many items there are.
    public var count: Int { ids.count }

    /// Reads the manifest and the ids of a snapshot's directory.
    ///
    /// Throws `LoadTestError.failed` for one that is missing or damaged.
    public init(directory: String) throws(LoadTestError) {
        let schema = try SnapshotSchema(directory: directory)
        snapshotID = schema.id
        ids = try schema.itemIDs()
    }

    /// Whether an item has the id, compared byte by byte.
    public func contains(_ id: String) -> Bool { ids.contains(id) }
}
