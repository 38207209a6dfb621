internal import Glibc
internal import Memory

/// The lock that makes publishers and pruners of a directory take turns. The kernel releases it when its holder dies,
/// however it dies; the file stays. Readers need no lock.
struct DirectoryLock: ~Copyable {
    /// The lock file's name, which is no snapshot's id.
    static let name = ".publish.lock"

    private let descriptor: Int32

    /// Waits for the lock.
    init(directory: String, timeoutSeconds: Int) throws(PublishingError) {
        let path = "\(directory)/\(Self.name)"
        var descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o644)
        // A file that another user made can be locked all the same; only NFS asks for the right to write to it.
        if descriptor < 0, errno == EACCES { descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) }
        guard descriptor >= 0 else { throw .file(FileError(path: path, operation: "open")) }
        let attemptCount = timeoutSeconds * 1_000_000 / Int(PublishingLimits.lockPollMicroseconds)
        for attempt in 0...attemptCount {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 {
                self.descriptor = descriptor
                return
            }
            guard errno == EWOULDBLOCK || errno == EINTR else {
                let error = FileError(path: path, operation: "lock")
                close(descriptor)
                throw .file(error)
            }
            if attempt < attemptCount { usleep(PublishingLimits.lockPollMicroseconds) }
        }
        close(descriptor)
        throw .locked(directory: directory, seconds: timeoutSeconds)
    }

    deinit {
        close(descriptor)
    }
}
