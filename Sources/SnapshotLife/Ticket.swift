internal import Glibc
public import Snapshots
internal import Synchronization

/// Why a command on snapshots was not carried out.
public enum SnapshotLifeError: Error, Sendable, CustomStringConvertible {
    /// No complete snapshot of this id is published.
    case unknownSnapshot(String)
    /// The snapshot was verified and refused.
    case refused(SnapshotError)
    /// There is no snapshot that served before.
    case nothingBefore
    /// The daemon ends.
    case ending
    /// The state directory failed, or there is none.
    case state(String)

    /// One line.
    public var description: String {
        switch self {
        case .unknownSnapshot(let id): "no snapshot '\(id)' is published"
        case .refused(let error): "\(error)"
        case .nothingBefore: "no snapshot served before this one"
        case .ending: "the daemon ends"
        case .state(let fault): fault
        }
    }
}

/// A command's outcome, once there is one.
public final class Ticket: Sendable {
    private let outcome = Mutex<Result<String, SnapshotLifeError>?>(nil)

    init() {}

    /// Whether the command is carried out or refused.
    public var isDone: Bool { outcome.withLock { $0 != nil } }

    /// What came of it; nil until then. The text is the snapshot's id.
    public var result: Result<String, SnapshotLifeError>? { outcome.withLock { $0 } }

    /// Waits for the outcome. Not for a worker's thread.
    @discardableResult
    public func wait() throws(SnapshotLifeError) -> String {
        while true {
            if let result { return try result.get() }
            usleep(1000)
        }
    }

    func finish(_ result: Result<String, SnapshotLifeError>) {
        outcome.withLock { if $0 == nil { $0 = result } }
    }
}

extension SnapshotLife.Command {
    var ticket: Ticket {
        switch self {
        case .follow(_, let ticket), .activate(_, let ticket), .load(_, let ticket), .rollback(let ticket),
            .dropPauses(let ticket):
            ticket
        }
    }
}
