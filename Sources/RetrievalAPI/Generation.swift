internal import ItemIndex
public import Retrieval
public import Snapshots

/// A loaded snapshot with all that is needed to answer from it: for each worker a session, whose buffers are allocated here and
/// not when the first request comes. Workers share it through a `Swappable`; who owns it is drawn in
/// `docs/SNAPSHOT-LIFE.md`.
public final class Generation: Sendable {
    /// What answers.
    public let snapshot: Snapshot
    /// What no search may find.
    public let paused: PausedRows
    /// How many workers it serves.
    public let workerCount: Int
    // One per worker, used by that worker alone, and one for whoever rehearses the generation.
    private nonisolated(unsafe) let sessions: [Session]

    /// Allocates the sessions.
    ///
    /// - workerCount: of the server that will answer from it.
    /// - pausedRows: rows that are paused from the start.
    public init(snapshot: Snapshot, workerCount: Int, pausedRows: [Int] = []) {
        self.snapshot = snapshot
        self.workerCount = workerCount
        let paused = PausedRows(rows: pausedRows)
        self.paused = paused
        sessions = (0...workerCount).map { _ in Session(snapshot: snapshot, paused: paused) }
    }

    /// A worker's session, for that worker's thread while it holds the generation; or `workerCount`, the one that no worker
    /// uses. Before the generation serves, whoever loads it may use them all.
    @inline(__always)
    public func session(_ worker: Int) -> Session { sessions[worker] }
}
