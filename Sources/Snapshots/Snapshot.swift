internal import CKernels
public import ItemIndex
internal import JSON
public import Memory
internal import Safetensors
public import Towers

/// One version of a model, loaded: user tower, item index, items and cached vectors, all of one space. Immutable and
/// shared by every worker; it lives as long as somebody holds it.
///
///     let files = try SnapshotFiles(path: path)
///     try files.verify()
///     let snapshot = try Snapshot(loading: files)
public final class Snapshot: Sendable {
    /// What the manifest says.
    public let manifest: Manifest
    /// The space of its vectors.
    public var spaceID: Text { spaceIDText.text }
    /// Whether the user tower reads vectors that are cached by user.
    public let towerReadsCachedVectors: Bool
    /// The directory it was read from.
    public let path: String
    /// The user's side.
    public let userTower: Tower
    /// Search over the item vectors.
    public let index: ItemIndex
    /// Ids and attributes of the items.
    public let items: ItemCatalogue
    /// The users' cached vectors; nil for a snapshot without users.
    public let users: UserVectors?
    private let spaceIDText: OwnedText

    /// Loads a snapshot and holds every file against the manifest. The files' bytes must have been verified: FAISS
    /// does not survive every damaged index.
    ///
    /// - Throws: `SnapshotError` of stage `contents` or `index`.
    public convenience init(loading files: SnapshotFiles) throws(SnapshotError) {
        try self.init(loading: files, manifest: files.manifest)
    }

    /// Loads with a manifest other than the files' own, for tests that have to see what a deviation changes.
    package init(loading files: SnapshotFiles, manifest: Manifest) throws(SnapshotError) {
        self.manifest = manifest
        path = files.path
        spaceIDText = OwnedText(manifest.spaceID)
        towerReadsCachedVectors = manifest.user.tower.readsCrossVector || manifest.user.tower.readsCascadeVector
        do throws(SafetensorsError) {
            func open(_ name: String) throws(SafetensorsError) -> SafetensorsFile {
                let file = try SafetensorsFile(path: files.path(of: name))
                guard let space = file.metadata["space_id"] else { throw file.fault("its metadata names no space_id") }
                guard space == manifest.spaceID else {
                    throw file.fault("belongs to space '\(space)', the manifest to '\(manifest.spaceID)'")
                }
                return file
            }
            userTower = try Tower(
                graph: manifest.user.tower, features: manifest.user.features, file: try open(manifest.user.tower.file),
                normalises: manifest.user.isNormalised)
            // The item tower is not run here, but a snapshot whose item tower does not fit is a broken one.
            _ = try Tower(
                graph: manifest.item.tower, features: manifest.item.features, file: try open(manifest.item.tower.file),
                normalises: manifest.item.isNormalised)
            let itemsFile = try open("items.safetensors")
            items = try ItemCatalogue(
                file: itemsFile, manifest: manifest, words: try Snapshot.attributeWords(files, manifest))
            if let described = manifest.users {
                users = try UserVectors(file: try open("users.safetensors"), manifest: manifest, users: described)
            } else {
                users = nil
            }
            if files.has("item_state.safetensors") {
                try Snapshot.checkItemState(try open("item_state.safetensors"), manifest)
            }
            externalVectors =
                manifest.index.holdsVectors
                ? nil
                : ExternalVectors(
                    file: itemsFile,
                    base: try itemsFile.floats("vectors", shape: [manifest.itemCount, manifest.dimension]))
        } catch {
            throw SnapshotError(.contents, file: error.file, error.fault)
        }
        do throws(ItemIndexError) {
            index = try ItemIndex(path: files.path(of: "index.faiss"), externalVectors: externalVectors?.base)
        } catch {
            throw SnapshotError(.index, file: "index.faiss", error.fault)
        }
        try Snapshot.requireFit(index, manifest)
        if manifest.item.isNormalised { try Snapshot.requireUnitVectors(index) }
    }

    /// Vectors that stand in items.safetensors: the mapping has to live as long as the index that points into it.
    private struct ExternalVectors: Sendable {
        let file: SafetensorsFile
        // Leads into the file's read-only mapping.
        nonisolated(unsafe) let base: UnsafePointer<Float>
    }
    private let externalVectors: ExternalVectors?

    private static func requireFit(_ index: ItemIndex, _ manifest: Manifest) throws(SnapshotError) {
        func refuse(_ fault: String) -> SnapshotError { SnapshotError(.index, file: "index.faiss", fault) }
        guard index.count == manifest.itemCount else {
            throw refuse("has \(index.count) vectors, the manifest \(manifest.itemCount) items")
        }
        guard index.dimension == manifest.dimension else {
            throw refuse("has dimension \(index.dimension), the manifest \(manifest.dimension)")
        }
        let metric: Metric =
            switch manifest.metric {
            case .innerProduct: .innerProduct
            case .squaredL2: .squaredL2
            }
        guard index.metric == metric else {
            throw refuse("has the metric \(index.metric), the manifest '\(manifest.metric.rawValue)'")
        }
        let isKind =
            switch (index.kind, manifest.index.kind) {
            case (.flat, .flat), (.hnsw, .hnsw), (.ivfFlat, .ivfFlat): true
            default: false
            }
        guard isKind else {
            throw refuse("is a \(index.kind) index, the manifest says '\(manifest.index.kind.rawValue)'")
        }
    }

    /// A zero vector stays zero when it is normalised; every other one has norm 1 up to rounding.
    private static func requireUnitVectors(_ index: ItemIndex) throws(SnapshotError) {
        for row in 0..<index.count {
            let squaredNorm = belfry_squared_norm(index.vector(row).baseAddress, index.dimension)
            guard squaredNorm == 0 || abs(squaredNorm - 1) < 1e-3 else {
                throw SnapshotError(
                    .index, file: "index.faiss",
                    "row \(row) has norm \(squaredNorm.squareRoot()), and the manifest says items are normalised")
            }
        }
    }

    private static func attributeWords(_ files: SnapshotFiles, _ manifest: Manifest) throws(SafetensorsError)
        -> [String: [String]]
    {
        let names = manifest.attributes.filter { $0.type == .code }.map(\.name)
        guard !names.isEmpty else { return [:] }
        func refuse(_ fault: String) -> SafetensorsError { SafetensorsError(file: "attributes.json", fault: fault) }
        let mapping: MappedFile
        do throws(FileError) {
            mapping = try MappedFile(path: files.path(of: "attributes.json"))
        } catch {
            throw refuse("cannot \(error.operation): \(error.reason)")
        }
        do throws(JSONDocumentError) {
            let root = try mapping.withBytes { bytes throws(JSONDocumentError) in try JSONDocument(bytes) }.root
            try root.requireKeys(names)
            var words: [String: [String]] = [:]
            for (name, node) in try root.members() { words[name] = try node.strings() }
            return words
        } catch {
            throw refuse(error.description)
        }
    }

    private static func checkItemState(_ file: SafetensorsFile, _ manifest: Manifest) throws(SafetensorsError) {
        var names: Set<String> = []
        if manifest.item.tower.readsCrossVector { names.insert("c_v") }
        if manifest.item.tower.readsCascadeVector { names.insert("s_v") }
        try file.requireExactly(names)
        if names.contains("c_v") { _ = try file.floats("c_v", shape: [manifest.itemCount, manifest.dimension]) }
        if let cascadeDimension = manifest.cascadeDimension, names.contains("s_v") {
            _ = try file.floats("s_v", shape: [manifest.itemCount, cascadeDimension])
        }
    }
}
