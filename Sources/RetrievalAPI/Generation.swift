internal import ItemIndex
public import Retrieval
public import Snapshots

/// A loaded snapshot with all that is needed to answer from it: for each worker a session and one for its long requests, whose
/// buffers are allocated here and not when the first request comes. Workers share it through a `Swappable`; who owns it is drawn in
/// `docs/SNAPSHOT-LIFE.md`.
public final class Generation: Sendable {
    /// What answers.
    public let snapshot: Snapshot
    /// What no search may find.
    public let paused: PausedRows
    /// How many workers it serves.
    public let workerCount: Int
    // Two per worker, used by that worker alone, and one for whoever rehearses the generation.
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
        sessions = (0...2 * workerCount).map { _ in Session(snapshot: snapshot, paused: paused) }
    }

    /// A reader's session, for that reader's thread while it holds the generation. Readers `0 ..< workerCount` are the workers,
    /// the next as many are they again with requests that were set aside; `2 * workerCount` is nobody, whose session is for whoever
    /// rehearses the generation. Before the generation serves, whoever loads it may use them all.
    @inline(__always)
    public func session(_ reader: Int) -> Session { sessions[reader] }

    /// The session that no reader uses.
    public var rehearsalSession: Session { sessions[2 * workerCount] }
}
