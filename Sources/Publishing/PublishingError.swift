internal import Glibc
public import Memory
public import Snapshots

/// Why nothing was published, or removed: what is wrong and what to do.
public enum PublishingError: Error, CustomStringConvertible {
    /// The source is no complete and unchanged snapshot.
    case source(path: String, SnapshotError)
    /// The operating system refused something.
    case file(FileError)
    /// The target's file system has not enough room; found before anything was written.
    case space(directory: String, neededByteCount: Int, availableByteCount: Int)
    /// Another publisher holds the lock.
    case locked(directory: String, seconds: Int)
    /// The id is published with other contents.
    case otherContents(id: String, directory: String)
    /// Something that is no snapshot stands under the id.
    case occupied(path: String, reason: String)
    /// The text is no id, or one that a name in the directory means already.
    case id(String)
    /// The directory is not there, or one that holds a snapshot itself.
    case directory(path: String, reason: String)
    /// The snapshot is published, and `current` could not be set to it.
    case activation(id: String, FileError)
    /// SOURCE_DATE_EPOCH is no number of seconds.
    case sourceDate(String)

    /// One line.
    public var description: String {
        switch self {
        case .source(let path, let error):
            "\(path) is not published: \(error.stage.rawValue) check failed: \(error)"
        case .file(let error) where error.code == ENOSPC || error.code == EDQUOT || error.code == EFBIG:
            "\(error); free room or lift the limit, and try again: nothing was left behind"
        case .file(let error): "\(error)"
        case .space(let directory, let needed, let available):
            "\(directory): the snapshot needs \(needed) bytes, and \(available) are free: prune or free some and publish again"
        case .locked(let directory, let seconds):
            "\(directory): another publisher has held \(DirectoryLock.name) for the \(seconds) s this one waited; "
                + "wait for it, or find it with `fuser -v \(directory)/\(DirectoryLock.name)`"
        case .otherContents(let id, let directory):
            "'\(id)' is published in \(directory) with other contents, and a snapshot is never modified: "
                + "publish under another id (--id)"
        case .occupied(let path, let reason):
            "\(path) \(reason): remove it, or publish under another id (--id)"
        case .id(let text):
            "'\(text)' cannot be a snapshot's id: ids match [A-Za-z0-9_-]{1,64} and are not 'current'"
        case .directory(let path, let reason): "\(path) \(reason)"
        case .activation(let id, let error):
            "'\(id)' is published and whole, but 'current' was not set to it: \(error)"
        case .sourceDate(let text): "SOURCE_DATE_EPOCH is '\(text)', not seconds since 1970"
        }
    }
}
