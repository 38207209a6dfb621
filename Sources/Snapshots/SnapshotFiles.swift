internal import Crypto
internal import Glibc
public import Identifiers
internal import JSON
internal import Memory
internal import Safetensors

/// The files of a snapshot that is complete and unchanged: `_SUCCESS` seals the manifest, and the manifest every other
/// file. Nothing here parses more than JSON, so that damaged bytes never reach a parser that could abort.
public struct SnapshotFiles: Sendable {
    /// The snapshot's directory.
    public let path: String
    /// What the manifest says.
    public let manifest: Manifest

    /// Files that every snapshot has, next to the manifest and `_SUCCESS`.
    static let requiredFiles = [
        "user_tower.safetensors", "item_tower.safetensors", "items.safetensors", "index.faiss", "golden.jsonl",
        "warmup.jsonl",
    ]

    /// Reads seal and manifest, and checks that the manifest is the one that was sealed. The other files are only
    /// looked at by `verify`.
    public init(path: String) throws(SnapshotError) {
        self.path = path
        let seal = try SnapshotFiles.map(
            "_SUCCESS", in: path, .directory, byteCountMax: SnapshotLimits.sealByteCountMax
        ).withBytes { bytes throws(SnapshotError) in try Manifest.seal(json: bytes) }
        manifest = try SnapshotFiles.map(
            "manifest.json", in: path, .directory, byteCountMax: SnapshotLimits.manifestByteCountMax
        ).withBytes { bytes throws(SnapshotError) in
            try SnapshotFiles.check(bytes, "manifest.json", seal, sealedBy: "_SUCCESS")
            return try Manifest(json: bytes)
        }
        let hasWords = manifest.attributes.contains { $0.type == .code }
        let required = SnapshotFiles.requiredFiles + (hasWords ? ["attributes.json"] : [])
        for file in required where manifest.files[file] == nil {
            throw SnapshotError(.manifest, file: "manifest.json", "files lacks '\(file)', which this snapshot needs")
        }
    }

    /// Compares size and sha256 of every file with the manifest's. The bytes are read once, in the order of names.
    public func verify() throws(SnapshotError) {
        for (file, seal) in manifest.files.sorted(by: { $0.key < $1.key }) {
            try SnapshotFiles.map(file, in: path, .integrity).withBytes { bytes throws(SnapshotError) in
                try SnapshotFiles.check(bytes, file, seal, sealedBy: "the manifest")
            }
        }
    }

    /// Lends the items' ids without loading anything else of the snapshot.
    public func withItemIDs<Outcome>(_ body: (Identifiers) -> Outcome) throws(SnapshotError) -> Outcome {
        do throws(SafetensorsError) {
            let file = try SafetensorsFile(path: path(of: "items.safetensors"))
            defer { withExtendedLifetime(file) {} }
            return body(try Identifiers(file: file, type: manifest.itemIDType, count: manifest.itemCount))
        } catch {
            throw SnapshotError(.contents, file: error.file, error.fault)
        }
    }

    /// The path of one of the files.
    public func path(of file: String) -> String {
        "\(path)/\(file)"
    }

    /// Whether the manifest lists the file.
    public func has(_ file: String) -> Bool {
        manifest.files[file] != nil
    }

    private static func map(
        _ file: String, in path: String, _ stage: SnapshotError.Stage, byteCountMax: Int = .max
    ) throws(SnapshotError) -> MappedFile {
        // Looked at before it is opened: opening a named pipe waits until somebody writes to it.
        var status = stat()
        if stat("\(path)/\(file)", &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw SnapshotError(stage, file: file, "is not a regular file")
            }
            guard status.st_size <= byteCountMax else {
                throw SnapshotError(.manifest, file: file, "has \(status.st_size) bytes, the limit is \(byteCountMax)")
            }
        }
        do {
            return try MappedFile(path: "\(path)/\(file)")
        } catch {
            if file == "_SUCCESS", error.code == ENOENT {
                throw SnapshotError(
                    stage, file: path, "has no _SUCCESS file, so it is not a snapshot, or not completely written")
            }
            throw SnapshotError(stage, file: file, "cannot \(error.operation): \(error.reason)")
        }
    }

    private static func check(
        _ bytes: UnsafeRawBufferPointer, _ file: String, _ seal: Manifest.FileSeal, sealedBy sealer: String
    ) throws(SnapshotError) {
        guard bytes.count == seal.byteCount else {
            throw SnapshotError(
                .integrity, file: file, "has \(bytes.count) bytes, \(sealer) says \(seal.byteCount)")
        }
        var hash = SHA256()
        hash.update(bufferPointer: bytes)
        let digest = hash.finalize().hexadecimal
        guard digest == seal.sha256 else {
            throw SnapshotError(
                .integrity, file: file, "has sha256 \(digest), \(sealer) says \(seal.sha256)")
        }
    }
}

extension SHA256Digest {
    fileprivate var hexadecimal: String {
        let digits = Array("0123456789abcdef")
        var text = ""
        for byte in self {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return text
    }
}
