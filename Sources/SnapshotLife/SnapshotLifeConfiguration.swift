public import DaemonState

/// What a `SnapshotLife` is made with.
public struct SnapshotLifeConfiguration: Sendable {
    /// A directory of snapshots with a `current`, or one snapshot itself.
    public var snapshots: String
    /// Where to remember which snapshot serves; nil forgets it at the end.
    public var state: StateDirectory?
    /// How many workers answer from a generation.
    public var workerCount: Int
    /// Whether the snapshot that served before stays in memory, so that a rollback is immediate, until the next one is loaded.
    public var keepsPrevious = false
    /// How far the item count may be from that of the snapshot that serves: at least this share of it, at most its inverse.
    public var itemCountRatio = 0.5
    /// Whether a candidate may drop or retype a feature that the serving snapshot has.
    public var allowsSchemaChange = false
    /// What answers must have in common with those of the snapshot that serves.
    public var skew = SkewRequirement()
    /// A file of `/v1/retrieve` requests, one a line, that candidates are compared by beside those that were sampled; nil for none.
    public var recordedRequests: String?
    /// Processor time that warming up may take, in seconds.
    public var warmupSeconds = 5.0
    /// Bytes of memory that must be left when a snapshot is loaded.
    public var memoryReserve = 64 << 20
    /// The program that parses an index first, in a process of its own; nil parses it here. It is run as `PROGRAM parse-index PATH`.
    public var indexParser: String?
    /// How long that process may take, in milliseconds.
    public var parseMillisMax: Int32 = 600_000
    /// Whether snapshots are loaded, once one serves, only on processor time that nobody else wants. On a machine that is always
    /// busy with something else that may take for ever.
    public var lowersPriority = true
    /// Called with one line of status when another snapshot serves.
    public var tellStatus: @Sendable (String) -> Void = { _ in }
    /// Whether the files of a snapshot that is gone from memory may stay in the kernel's cache.
    public var keepsFilesCached = false

    /// Names what must be named.
    public init(snapshots: String, state: StateDirectory? = nil, workerCount: Int) {
        self.snapshots = snapshots
        self.state = state
        self.workerCount = workerCount
    }
}
