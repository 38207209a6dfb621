internal import Glibc
internal import Memory

/// The entries of directories: listed, aged, removed.
enum DirectoryEntries {
    /// The names in a directory, sorted, without `.` and `..`.
    static func names(in path: String) throws(FileError) -> [String] {
        guard let directory = opendir(path) else { throw FileError(path: path, operation: "list") }
        defer { closedir(directory) }
        var names: [String] = []
        errno = 0
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
            errno = 0
        }
        guard errno == 0 else { throw FileError(path: path, operation: "list") }
        return names.sorted()
    }

    /// What stands at a path, a link itself rather than its target; nil if nothing does.
    static func status(of path: String) -> stat? {
        var status = stat()
        return lstat(path, &status) == 0 ? status : nil
    }

    /// Whether a directory stands at the path, and not a link to one.
    static func isDirectory(_ path: String) -> Bool {
        status(of: path).map { $0.st_mode & S_IFMT == S_IFDIR } ?? false
    }

    /// When something in the directory, or itself, was last written, in seconds since 1970; nil if it is not there.
    static func lastChangeSeconds(of path: String) -> Int? {
        guard let own = status(of: path) else { return nil }
        let names = (try? names(in: path)) ?? []
        return names.reduce(own.st_mtim.tv_sec) { latest, name in
            max(latest, status(of: "\(path)/\(name)")?.st_mtim.tv_sec ?? latest)
        }
    }

    /// Removes a file, a link, or a directory with all it holds; nothing if it is not there.
    static func remove(_ path: String) throws(FileError) {
        guard let status = status(of: path) else { return }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            guard unlink(path) == 0 || errno == ENOENT else { throw FileError(path: path, operation: "remove") }
            return
        }
        for name in try names(in: path) { try remove("\(path)/\(name)") }
        guard rmdir(path) == 0 || errno == ENOENT else { throw FileError(path: path, operation: "remove") }
    }

    /// Renames, replacing what stands under the new name.
    static func rename(_ old: String, to new: String) throws(FileError) {
        guard Glibc.rename(old, new) == 0 else { throw FileError(path: old, operation: "rename to \(new)") }
    }
}
