internal import Glibc
internal import Memory
internal import Snapshots

/// Publishes snapshots into a directory that daemons serve from.
///
///     let publisher = SnapshotPublisher(directory: "/var/lib/belfry/snapshots")
///     let publication = try publisher.publish("runs/today/snapshot", activates: true)
///
/// A reader never sees a part of a snapshot: everything is written into `ID.tmp/`, which is no id, and renamed when it is
/// complete and on the disk. A publisher that is killed leaves `ID.tmp/` behind at most, which the next publisher of the
/// id removes. Publishers take turns by a lock in the directory. `docs/SNAPSHOT.md` has the order of the steps.
public struct SnapshotPublisher: Sendable {
    /// Where snapshots are published.
    public let directory: String
    /// How long to wait for another publisher, in seconds.
    public let lockTimeoutSeconds: Int

    /// A publisher of a directory, which must exist.
    ///
    /// - lockTimeoutSeconds: how long to wait for another publisher; nil for ten minutes.
    public init(directory: String, lockTimeoutSeconds: Int? = nil) {
        self.directory = directory
        self.lockTimeoutSeconds = lockTimeoutSeconds ?? PublishingLimits.lockTimeoutSeconds
    }

    /// What was done.
    public struct Publication: Sendable, Equatable {
        /// The id it is published under.
        public let id: String
        /// Its directory.
        public let path: String
        /// Whether it was copied now; false if it was there already.
        public let isNew: Bool
        /// Whether `current` was set to it now.
        public let isActivated: Bool
        /// How many files it has, the manifest and `_SUCCESS` among them.
        public let fileCount: Int
        /// How many bytes they have.
        public let byteCount: Int
    }

    /// Copies a snapshot into the directory. Every byte is hashed on its way and held against the manifest. What cannot
    /// be published leaves nothing behind.
    ///
    /// - source: a snapshot, or a directory of snapshots with a `current`.
    /// - id: the id to publish it under; its own if nil. With another id the manifest's `id` and the seal over it change,
    ///   and nothing else.
    /// - activates: whether `current` then names it.
    @discardableResult
    public func publish(_ source: String, id: String? = nil, activates: Bool = false) throws(PublishingError)
        -> Publication
    {
        let contents = try SourceSnapshot(path: source, id: id)
        try requireDirectory()
        let path = "\(directory)/\(contents.id)"
        let lock = try DirectoryLock(directory: directory, timeoutSeconds: lockTimeoutSeconds)
        defer { withExtendedLifetime(lock) {} }
        let seal = Seal(publishedAt: try PublicationTime.text(), manifest: contents.manifest)
        let isNew = try !isPublished(contents, seal, path)
        if isNew {
            let draft = "\(path).tmp"
            try asPublishing { () throws(FileError) in try DirectoryEntries.remove(draft) }
            do throws(PublishingError) {
                try requireSpace(contents)
                try write(contents, seal, draft)
                // The rename is the publication. It must not reach the disk before what it names has, which is why
                // every file and the draft were synced.
                try asPublishing { () throws(FileError) in try DirectoryEntries.rename(draft, to: path) }
            } catch {
                try? DirectoryEntries.remove(draft)
                throw error
            }
        }
        // It must have reached the disk before anybody is told. What stood there already may be the work of a publisher
        // that was killed before this line.
        try asPublishing { () throws(FileError) in try Descriptor.syncDirectory(directory) }
        let current = CurrentSnapshot(directory: directory)
        let isActivated = activates && !current.serves(contents.id)
        if isActivated {
            do throws(FileError) {
                try current.name(contents.id)
            } catch {
                throw .activation(id: contents.id, error)
            }
        }
        return Publication(
            id: contents.id, path: path, isNew: isNew, isActivated: isActivated, fileCount: contents.files.count + 2,
            byteCount: contents.byteCount + seal.json.count)
    }

    private func requireDirectory() throws(PublishingError) {
        var status = stat()
        guard stat(directory, &status) == 0 else {
            throw .directory(path: directory, reason: "does not exist: make it, or name another with --to")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw .directory(path: directory, reason: "is not a directory")
        }
        for file in ["manifest.json", "_SUCCESS"] where DirectoryEntries.status(of: "\(directory)/\(file)") != nil {
            throw .directory(path: directory, reason: "is a snapshot itself: name the directory above it")
        }
    }

    /// Whether these contents stand under the id already. Throws if something else does.
    private func isPublished(_ contents: SourceSnapshot, _ seal: Seal, _ path: String) throws(PublishingError)
        -> Bool
    {
        guard DirectoryEntries.status(of: path) != nil else { return false }
        guard DirectoryEntries.isDirectory(path), let standing = try? Seal(directory: path) else {
            throw .occupied(path: path, reason: "is there and is no published snapshot")
        }
        guard standing.hasSameContents(as: seal) else {
            throw .otherContents(id: contents.id, directory: directory)
        }
        // A seal says what should be there. Bytes are the daemon's to verify, but what is cut off shows at once.
        let sizes = contents.files.map { ($0.name, $0.byteCount) } + [("manifest.json", contents.manifest.count)]
        for (name, byteCount) in sizes {
            let found = DirectoryEntries.status(of: "\(path)/\(name)").map { Int($0.st_size) }
            guard found == byteCount else {
                let size = found.map { "has \($0) bytes instead of \(byteCount)" } ?? "is missing"
                throw .occupied(path: path, reason: "is damaged, its \(name) \(size)")
            }
        }
        return true
    }

    private func requireSpace(_ contents: SourceSnapshot) throws(PublishingError) {
        var status = statvfs()
        guard statvfs(directory, &status) == 0 else {
            throw .file(FileError(path: directory, operation: "look for free space in"))
        }
        let block = max(Int(status.f_frsize), 1)
        let blocks = contents.files.reduce(0) { $0 + ($1.byteCount + block - 1) / block }
        let needed = blocks * block + contents.manifest.count + PublishingLimits.reserveByteCount
        let available = Int(status.f_bavail) * block
        guard needed <= available else {
            throw .space(directory: directory, neededByteCount: needed, availableByteCount: available)
        }
    }

    private func write(_ contents: SourceSnapshot, _ seal: Seal, _ draft: String) throws(PublishingError) {
        guard mkdir(draft, 0o755) == 0, chmod(draft, 0o755) == 0 else {
            throw .file(FileError(path: draft, operation: "create"))
        }
        let copying = FileCopying(dropsSource: !contents.isIn(directory))
        for file in contents.files {
            try copying.copy(file, from: contents.path, to: draft)
        }
        try asPublishing { () throws(FileError) in
            try Descriptor.create("\(draft)/manifest.json", contents.manifest)
            try Descriptor.create("\(draft)/_SUCCESS", seal.json)
            try Descriptor.syncDirectory(draft)
        }
        // What a daemon will read, read back as a daemon does.
        do throws(SnapshotError) {
            guard try SnapshotFiles(path: draft).manifest.id == contents.id else {
                throw SnapshotError(.manifest, file: "manifest.json", "did not take the id '\(contents.id)'")
            }
        } catch {
            throw .source(path: contents.path, error)
        }
    }
}
