internal import Glibc
internal import Memory

/// Removes published snapshots but the newest, and what killed publishers left.
///
///     let retention = SnapshotRetention(directory: "/var/lib/belfry/snapshots", keeping: 3)
///     let pruning = try retention.prune { ["served-last"] }
///
/// A snapshot is first renamed to `ID.removed`, which is no id, and deleted when that is on the disk: nobody ever sees half
/// of one.
public struct SnapshotRetention: Sendable {
    /// The directory of snapshots.
    public let directory: String
    /// How many stay at least: the newest by time of publication, by id where that is the same.
    public let keptCount: Int
    /// How long to wait for a publisher, in seconds.
    public let lockTimeoutSeconds: Int

    /// A retention of a directory.
    ///
    /// - keeping: how many stay, at least one.
    /// - lockTimeoutSeconds: how long to wait for a publisher; nil for ten minutes.
    public init(directory: String, keeping keptCount: Int, lockTimeoutSeconds: Int? = nil) {
        precondition(keptCount >= 1, "at least one snapshot stays")
        self.directory = directory
        self.keptCount = keptCount
        self.lockTimeoutSeconds = lockTimeoutSeconds ?? PublishingLimits.lockTimeoutSeconds
    }

    /// What was done.
    public struct Pruning: Sendable, Equatable {
        /// Ids of snapshots that were removed, the newest first.
        public let removed: [String]
        /// Ids of snapshots that stay, the newest first.
        public let kept: [String]
        /// Names of directories that a killed publisher or pruner had left and that were removed.
        public let leftovers: [String]
    }

    /// Removes what neither is among the newest, nor is named by `current` or `CURRENT`, nor is protected.
    ///
    /// - protected: ids in use. It is asked twice: before anything is chosen, and again when the chosen have been renamed
    ///   and nothing is deleted yet. What has come into use meanwhile, or all if it throws, is renamed back.
    @discardableResult
    public func prune(protected: () throws -> Set<String>) throws -> Pruning {
        try prune(now: time(nil), protected: protected)
    }

    @discardableResult
    func prune(now: Int, protected: () throws -> Set<String>) throws -> Pruning {
        // A directory that was misspelt must not get a lock file.
        guard DirectoryEntries.isDirectory(directory + "/.") else {
            throw PublishingError.directory(path: directory, reason: "is not a directory of snapshots")
        }
        for file in ["manifest.json", "_SUCCESS"] where DirectoryEntries.status(of: "\(directory)/\(file)") != nil {
            throw PublishingError.directory(
                path: directory, reason: "is a snapshot itself: name the directory above it")
        }
        let lock = try DirectoryLock(directory: directory, timeoutSeconds: lockTimeoutSeconds)
        defer { withExtendedLifetime(lock) {} }
        let current = CurrentSnapshot(directory: directory)
        let before = try protected()
        let all = try PublishedSnapshot.all(in: directory).map(\.id)
        var chosen = all.dropFirst(keptCount).filter { !before.contains($0) && !current.names($0) }
        var setAside: [String] = []
        do {
            for id in chosen {
                try DirectoryEntries.remove(path(removed: id))
                try DirectoryEntries.rename("\(directory)/\(id)", to: path(removed: id))
                setAside.append(id)
            }
            // A power failure must not bring a snapshot back of which files are gone.
            if !chosen.isEmpty { try Descriptor.syncDirectory(directory) }
            let after = try chosen.isEmpty ? before : protected()
            let inUse = chosen.filter { after.contains($0) || current.names($0) }
            for id in inUse { try DirectoryEntries.rename(path(removed: id), to: "\(directory)/\(id)") }
            chosen.removeAll { inUse.contains($0) }
        } catch {
            for id in setAside where DirectoryEntries.status(of: path(removed: id)) != nil {
                try? DirectoryEntries.rename(path(removed: id), to: "\(directory)/\(id)")
            }
            throw error
        }
        for id in chosen { try asPublishing { () throws(FileError) in try DirectoryEntries.remove(path(removed: id)) } }
        // A pruner that was killed before it asked again may have set aside what is in use.
        let leftovers = try removeLeftovers(now: now) { before.contains($0) || current.names($0) }
        return Pruning(removed: chosen, kept: all.filter { !chosen.contains($0) }, leftovers: leftovers)
    }

    private func path(removed id: String) -> String { "\(directory)/\(id).removed" }

    /// Removes what killed publishers and pruners left. A trainer that exports into the directory takes no lock, so that a
    /// draft has to be old.
    private func removeLeftovers(now: Int, isInUse: (_ id: String) -> Bool) throws(PublishingError) -> [String] {
        try asPublishing { () throws(FileError) in
            var leftovers: [String] = []
            for name in try DirectoryEntries.names(in: directory) {
                guard let suffix = [".tmp", ".removed"].first(where: { name.hasSuffix($0) }) else { continue }
                let id = String(name.dropLast(suffix.count))
                guard PublishedSnapshot.isPublishableID(id), suffix == ".tmp" || !isInUse(id),
                    DirectoryEntries.isDirectory("\(directory)/\(name)"),
                    let changed = DirectoryEntries.lastChangeSeconds(of: "\(directory)/\(name)"),
                    now - changed > PublishingLimits.leftoverAgeSeconds
                else { continue }
                try DirectoryEntries.remove("\(directory)/\(name)")
                leftovers.append(name)
            }
            return leftovers
        }
    }
}
