internal import Glibc
internal import Snapshots

/// Where snapshots lie: a directory of them with a `current`, or one snapshot itself. Only read.
struct SnapshotShelf: Sendable {
    /// What `--snapshots` names.
    let path: String

    /// Whether it is one snapshot and no directory of them.
    var isOneSnapshot: Bool { Self.exists("\(path)/manifest.json") || Self.exists("\(path)/_SUCCESS") }

    /// A snapshot's id and directory.
    struct Entry: Sendable, Equatable {
        let id: String
        let path: String
    }

    /// The snapshot that `current` or `CURRENT` names, or the only one.
    func current() throws(SnapshotError) -> Entry {
        let found = try SnapshotDirectory.current(in: path)
        if isOneSnapshot {
            return Entry(id: try SnapshotFiles(path: found).manifest.id, path: found)
        }
        // The link is followed once, here: it may name another snapshot a moment later.
        guard let real = Self.realPath(found), let name = real.split(separator: "/").last.map(String.init) else {
            throw SnapshotError(.directory, file: found, "cannot be resolved: \(String(cString: strerror(errno)))")
        }
        guard Manifest.isID(name) else {
            throw SnapshotError(.directory, file: found, "leads to '\(name)', which is no snapshot id")
        }
        return Entry(id: name, path: real)
    }

    /// The directory of a published snapshot; nil if there is none of this id.
    func entry(_ id: String) -> Entry? {
        if isOneSnapshot {
            return (try? current()).flatMap { $0.id == id ? $0 : nil }
        }
        // A link is a name for a snapshot and none itself; `current` is made under such a name.
        guard Manifest.isID(id), !Self.isLink("\(path)/\(id)"), Self.exists("\(path)/\(id)/_SUCCESS") else {
            return nil
        }
        return Entry(id: id, path: Self.realPath("\(path)/\(id)") ?? "\(path)/\(id)")
    }

    /// Every published snapshot, by id.
    func entries() -> [Entry] {
        if isOneSnapshot { return (try? current()).map { [$0] } ?? [] }
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var found: [Entry] = []
        while let item = readdir(directory) {
            let name = withUnsafePointer(to: &item.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let entry = entry(name) { found.append(entry) }
        }
        return found.sorted { $0.id < $1.id }
    }

    private static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    private static func isLink(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
    }

    private static func realPath(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
