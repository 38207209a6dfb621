internal import Glibc

/// What `--snapshots` names: one snapshot itself, or a directory of snapshots in which `current` (a symbolic link, or a
/// plain file `CURRENT` that holds an id, where a store has no links) says which one serves.
public enum SnapshotDirectory {
    /// The path of the snapshot to serve.
    public static func current(in path: String) throws(SnapshotError) -> String {
        if exists("\(path)/manifest.json") || exists("\(path)/_SUCCESS") { return path }
        if exists("\(path)/current") { return "\(path)/current" }
        if isLink("\(path)/current") {
            throw SnapshotError(
                .directory, file: "\(path)/current",
                "points to '\(target(of: "\(path)/current"))', which does not exist")
        }
        if let id = contents(of: "\(path)/CURRENT") {
            guard Manifest.isID(id) else {
                throw SnapshotError(.directory, file: "\(path)/CURRENT", "does not hold a snapshot id")
            }
            guard exists("\(path)/\(id)") else {
                throw SnapshotError(.directory, file: "\(path)/CURRENT", "names '\(id)', which does not exist")
            }
            return "\(path)/\(id)"
        }
        guard exists(path) else {
            throw SnapshotError(.directory, file: path, "does not exist")
        }
        throw SnapshotError(
            .directory, file: path,
            "is no snapshot (it has no _SUCCESS) and no directory of snapshots (it has neither 'current' nor 'CURRENT')"
        )
    }

    private static func exists(_ path: String) -> Bool {
        access(path, F_OK) == 0
    }

    private static func isLink(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
    }

    private static func target(of link: String) -> String {
        withUnsafeTemporaryAllocation(byteCount: Int(PATH_MAX), alignment: 1) { buffer in
            let count = readlink(link, buffer.baseAddress!.assumingMemoryBound(to: CChar.self), buffer.count)
            return String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
        }
    }

    /// The first word of a small file, empty if it has none; nil if there is no file.
    private static func contents(of path: String) -> String? {
        // A named pipe would have us wait for somebody who writes to it.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        return withUnsafeTemporaryAllocation(byteCount: 128, alignment: 1) { buffer in
            let count = read(descriptor, buffer.baseAddress!, buffer.count)
            let text = String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
            return text.split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
        }
    }
}
