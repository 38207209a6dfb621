internal import Glibc
internal import Memory

/// Which snapshot of a directory serves: the symbolic link `current`, or the file `CURRENT` that holds an id, where a
/// store has no links.
struct CurrentSnapshot {
    let directory: String
    /// Makes a symbolic link; a test's own where links must fail.
    var link: (_ target: String, _ path: String) -> Int32 = { symlink($0, $1) }

    private var linkPath: String { "\(directory)/current" }
    private var filePath: String { "\(directory)/CURRENT" }

    /// Names a snapshot, so that a reader sees the old name or the new one. Without the sync of the directory a power
    /// failure could bring the old one back after the publisher has said it is done.
    func name(_ id: String) throws(FileError) {
        // A store that has a CURRENT and no link was given it on purpose.
        let hasLink = DirectoryEntries.status(of: linkPath) != nil
        if !hasLink, DirectoryEntries.status(of: filePath) != nil { return try writeFile(id) }
        let draft = "\(directory)/.current.tmp"
        try DirectoryEntries.remove(draft)
        guard link(id, draft) == 0 else {
            let code = errno
            guard [EPERM, ENOTSUP, EOPNOTSUPP, ENOSYS].contains(code) else {
                throw FileError(path: draft, operation: "link", code: code)
            }
            return try writeFile(id)
        }
        try DirectoryEntries.rename(draft, to: linkPath)
        try Descriptor.syncDirectory(directory)
    }

    private func writeFile(_ id: String) throws(FileError) {
        let draft = "\(directory)/.CURRENT.tmp"
        try DirectoryEntries.remove(draft)
        try Descriptor.create(draft, Array("\(id)\n".utf8))
        try DirectoryEntries.rename(draft, to: filePath)
        try Descriptor.syncDirectory(directory)
    }

    /// Whether a snapshot of the directory is named by the link, whatever way the link goes, or by the file. Rather too
    /// much than too little: it is asked before something is removed.
    func names(_ id: String) -> Bool {
        var linked = stat()
        var own = stat()
        if stat(linkPath, &linked) == 0, stat("\(directory)/\(id)", &own) == 0,
            linked.st_dev == own.st_dev, linked.st_ino == own.st_ino
        {
            return true
        }
        return linkTarget?.split(separator: "/").last.map(String.init) == id || fileWord == id
    }

    /// Whether readers take exactly this id from here already.
    func serves(_ id: String) -> Bool {
        (DirectoryEntries.status(of: linkPath) == nil ? fileWord : linkTarget) == id
    }

    private var linkTarget: String? {
        withUnsafeTemporaryAllocation(byteCount: Int(PATH_MAX), alignment: 1) { buffer in
            let count = readlink(linkPath, buffer.baseAddress!.assumingMemoryBound(to: CChar.self), buffer.count)
            return count < 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
        }
    }

    private var fileWord: String? {
        guard let bytes = try? Descriptor.contents(of: filePath, byteCountMax: 4096) else { return nil }
        return String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).first.map(String.init)
    }
}
