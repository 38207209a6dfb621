internal import Glibc
internal import Memory
internal import Snapshots

/// The snapshot to publish: seal and manifest are checked, sizes too, and the bytes as they are copied.
struct SourceSnapshot {
    /// A file that the manifest lists.
    struct File {
        let name: String
        let byteCount: Int
        let sha256: String
    }

    let path: String
    /// The id it is published under.
    let id: String
    /// The manifest's text, with that id.
    let manifest: [UInt8]
    /// All files but the manifest and `_SUCCESS`, by name.
    let files: [File]

    /// Bytes of the files and the manifest.
    var byteCount: Int { files.reduce(manifest.count) { $0 + $1.byteCount } }

    init(path source: String, id: String?) throws(PublishingError) {
        if let id, !PublishedSnapshot.isPublishableID(id) { throw .id(id) }
        do throws(SnapshotError) {
            path = try SnapshotDirectory.current(in: source)
            let checked = try SnapshotFiles(path: path)
            var text = try Self.manifestText(path)
            let own = checked.manifest.id
            self.id = id ?? own
            if self.id != own {
                guard let changed = ManifestText.replacingID(in: text, by: self.id) else {
                    throw SnapshotError(.manifest, file: "manifest.json", "has no plain \"id\" that could be replaced")
                }
                text = changed
            }
            manifest = text
            files = checked.manifest.files.map { File(name: $0, byteCount: $1.byteCount, sha256: $1.sha256) }
                .sorted { $0.name < $1.name }
            for file in files { try file.requireSize(in: path) }
        } catch {
            throw .source(path: source, error)
        }
        guard PublishedSnapshot.isPublishableID(self.id) else { throw .id(self.id) }
    }

    /// The manifest as it stands, which is what the seal seals even if somebody writes to it meanwhile.
    private static func manifestText(_ path: String) throws(SnapshotError) -> [UInt8] {
        do throws(FileError) {
            let text = try Descriptor.contents(
                of: "\(path)/manifest.json", byteCountMax: PublishingLimits.manifestByteCountMax)
            if let text, let seal = try Seal(directory: path),
                seal.hasSameContents(as: Seal(publishedAt: "", manifest: text))
            {
                return text
            }
        } catch {
            throw SnapshotError(.integrity, file: "manifest.json", "cannot \(error.operation): \(error.reason)")
        }
        throw SnapshotError(.integrity, file: "manifest.json", "changed while it was read")
    }

    /// Whether it stands in a directory of snapshots, where a daemon may serve from it.
    func isIn(_ directory: String) -> Bool {
        var parent = stat()
        var other = stat()
        return stat("\(path)/..", &parent) == 0 && stat(directory, &other) == 0
            && parent.st_dev == other.st_dev && parent.st_ino == other.st_ino
    }
}

extension SourceSnapshot.File {
    /// Looks at the size before anything is copied, and at the kind before anything is opened.
    func requireSize(in path: String) throws(SnapshotError) {
        var status = stat()
        guard stat("\(path)/\(name)", &status) == 0 else {
            throw SnapshotError(.integrity, file: name, "cannot open: \(String(cString: strerror(errno)))")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw SnapshotError(.integrity, file: name, "is not a regular file")
        }
        guard Int(status.st_size) == byteCount else {
            throw SnapshotError(
                .integrity, file: name, "has \(status.st_size) bytes, the manifest says \(byteCount)")
        }
    }
}
