internal import Memory
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Which items are paused, kept in `pauses.journal` of the state directory. A change is on disk before its call returns, and
/// a crash at any instant leaves every change that was acknowledged. Any thread may call it; calls wait for each other and for
/// the disk, so workers do not.
///
///     let journal = try PauseJournal(in: state)
///     let changed = try journal.pause(["i17", "i4"])
///
/// An id is UTF-8 of 1 to 256 bytes and is compared byte by byte. A call that throws has changed nothing in memory, and nothing
/// on disk either unless the disk refused even to take the bytes back; the journal then writes itself anew before the next change.
public final class PauseJournal: Sendable {
    private let directory: StateDirectory
    private let path: String
    private let state: Mutex<State>
    /// How many bytes of an interrupted write were cut off when the journal was opened; nothing in them was acknowledged.
    public let discardedByteCount: Int

    /// How long an id may be, in bytes.
    public static let idByteCounts = 1...256
    static let fileName = "pauses.journal"
    /// 1.6 million paused ids of the greatest length, and far more than any catalogue has of ordinary ones.
    private static let fileByteCountMax = 1 << 32
    /// Below this many bytes a journal in use is not compacted.
    private static let compactionByteCountMin = 1 << 20

    private struct State: ~Copyable {
        var descriptor: Int32 = -1
        /// The length up to which the file is good.
        var byteCount = 0
        /// The next line's number.
        var lineCount = 0
        /// Lines that pause, resume or drop.
        var changeCount = 0
        var paused: Set<[UInt8]> = []
        /// The length at which the file is compacted.
        var compactionByteCount = PauseJournal.compactionByteCountMin
        /// Whether the file may hold something else than it should: it is written anew before the next change.
        var isDoubtful = false
        var lines = ByteWriter(capacity: 1024)
        var body = ByteWriter(capacity: 512)

        deinit {
            if descriptor >= 0 { StateDirectory.closeDescriptor(descriptor) }
        }
    }

    /// Opens the journal, or begins an empty one. What a crash cut short is cut off; a journal that is mostly outdated is
    /// compacted.
    ///
    /// - Throws: `StateError` if it is damaged anywhere else, so that no pause is lost silently.
    public init(in directory: StateDirectory) throws(StateError) {
        let path = directory.path(of: Self.fileName)
        self.directory = directory
        self.path = path
        var state = State()
        var discarded = 0
        if let opened = try Self.open(in: directory, path: path) {
            // Owned by `state` from here on, which closes it.
            state.descriptor = opened.descriptor
            let contents = try JournalContents(opened.bytes, path: path)
            state.byteCount = contents.byteCount
            state.lineCount = contents.lineCount
            state.changeCount = contents.changeCount
            state.paused = contents.paused
            discarded = opened.bytes.count - contents.byteCount
            try Self.settle(&state, path: path, cutsOff: discarded > 0, endsSynced: contents.endsSynced)
            if contents.changeCount > 2 * contents.paused.count {
                // A full disk is no reason not to start: the file is good as it is.
                do throws(StateError) {
                    try Self.rewrite(&state, in: directory, path: path)
                } catch {}
            }
        } else {
            try Self.rewrite(&state, in: directory, path: path)
        }
        discardedByteCount = discarded
        self.state = Mutex(state)
    }

    // MARK: Reading

    /// The paused ids, ordered by their bytes. A list and no `Set<String>`: Swift takes two spellings of an accented letter
    /// for equal, and they are two ids.
    public var ids: [String] {
        // Sorted outside of the lock, which a change may wait for.
        let paused = state.withLock { $0.paused }
        return paused.sorted { $0.lexicographicallyPrecedes($1) }.map { String(decoding: $0, as: UTF8.self) }
    }

    /// How many ids are paused.
    public var count: Int { state.withLock { $0.paused.count } }

    /// The file's length in bytes.
    public var byteCount: Int { state.withLock { $0.byteCount } }

    // MARK: Changing

    /// Pauses items, known or not. All of them or none.
    ///
    /// - Returns: the ids that were not paused before, in the order given. When it returns they are on disk.
    @discardableResult public func pause(_ ids: [String]) throws(StateError) -> [String] {
        try change(ids, isPause: true, JournalLine.Content.pause)
    }

    /// Lets items be shown again. All of them or none.
    ///
    /// - Returns: the ids that were paused before, in the order given. When it returns the change is on disk.
    @discardableResult public func resume(_ ids: [String]) throws(StateError) -> [String] {
        try change(ids, isPause: false, JournalLine.Content.resume)
    }

    /// Forgets the pauses of items that no retained snapshot holds. Like `resume`, and told apart from it in the file.
    ///
    /// - Returns: the ids that were paused before.
    @discardableResult public func drop(_ ids: [String]) throws(StateError) -> [String] {
        try change(ids, isPause: false, JournalLine.Content.drop)
    }

    private func change(
        _ ids: [String], isPause: Bool, _ content: (String) -> JournalLine.Content
    ) throws(StateError) -> [String] {
        for id in ids where !Self.idByteCounts.contains(id.utf8.count) {
            throw StateError(path: path, fault: "an id has \(id.utf8.count) bytes, not 1 to 256")
        }
        return try state.withLock { state throws(StateError) in
            // A closed directory may be another daemon's by now.
            try directory.withDescriptor { _ throws(StateError) in }
            var seen: Set<[UInt8]> = []
            let changed = ids.filter { id in
                let bytes = Array(id.utf8)
                return state.paused.contains(bytes) != isPause && seen.insert(bytes).inserted
            }
            if state.isDoubtful { try Self.rewrite(&state, in: directory, path: path) }
            guard !changed.isEmpty else { return [] }
            try Self.append(changed.map(content), to: &state, path: path)
            if isPause { state.paused.formUnion(seen) } else { state.paused.subtract(seen) }
            if state.byteCount >= state.compactionByteCount { Self.compact(&state, in: directory, path: path) }
            return changed
        }
    }

    // MARK: The file

    private static func open(
        in directory: StateDirectory, path: String
    ) throws(StateError) -> (descriptor: Int32, bytes: [UInt8])? {
        try directory.withDescriptor { directory throws(StateError) in
            let descriptor = openat(directory, fileName, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            guard descriptor >= 0 else {
                if errno == ENOENT { return nil }
                throw StateError(path: path, operation: "open")
            }
            do throws(StateError) {
                return (
                    descriptor,
                    try StateDirectory.contents(descriptor, path: path, byteCountMax: fileByteCountMax)
                )
            } catch {
                StateDirectory.closeDescriptor(descriptor)
                throw error
            }
        }
    }

    /// Brings what was read to disk. A daemon that was killed may have left lines that are in the file and not on disk; the
    /// changes in them are in force from now on, and a later call that finds nothing to change would acknowledge them.
    private static func settle(
        _ state: inout State, path: String, cutsOff: Bool, endsSynced: Bool
    ) throws(StateError) {
        if cutsOff, ftruncate(state.descriptor, off_t(state.byteCount)) != 0 {
            throw StateError(path: path, operation: "cut off an interrupted write")
        }
        guard fdatasync(state.descriptor) == 0 else { throw StateError(path: path, operation: "sync") }
        if !endsSynced { markSynced(&state) }
        state.compactionByteCount = max(compactionByteCountMin, 4 * compactedByteCount(state))
    }

    /// Appends lines and brings them to disk. If that fails the file is cut back to what it was.
    private static func append(
        _ contents: [JournalLine.Content], to state: inout State, path: String
    ) throws(StateError) {
        state.lines.removeAll()
        for (index, content) in contents.enumerated() {
            JournalLine.append(content, number: state.lineCount + index, to: &state.lines, body: &state.body)
        }
        let bytes = state.lines.withUnsafeBytes { Array($0) }
        guard StateDirectory.write(bytes, to: state.descriptor, at: state.byteCount) else {
            let code = errno
            if ftruncate(state.descriptor, off_t(state.byteCount)) != 0 { state.isDoubtful = true }
            throw StateError(path: path, operation: "write", code: code)
        }
        guard fdatasync(state.descriptor) == 0 else {
            let code = errno
            // Linux forgets which pages it could not write: what this file has on disk is anybody's guess, whatever a later
            // sync says.
            _ = ftruncate(state.descriptor, off_t(state.byteCount))
            state.isDoubtful = true
            throw StateError(path: path, operation: "sync", code: code)
        }
        state.byteCount += bytes.count
        state.lineCount += contents.count
        state.changeCount += contents.count
        markSynced(&state)
    }

    /// Notes that all above is on disk. The note itself need not be: without it the lines above are as good, only a damage in
    /// them could be taken for an interrupted write.
    private static func markSynced(_ state: inout State) {
        state.lines.removeAll()
        JournalLine.append(.synced, number: state.lineCount, to: &state.lines, body: &state.body)
        let bytes = state.lines.withUnsafeBytes { Array($0) }
        if StateDirectory.write(bytes, to: state.descriptor, at: state.byteCount) {
            state.byteCount += bytes.count
            state.lineCount += 1
        } else if ftruncate(state.descriptor, off_t(state.byteCount)) != 0 {
            state.isDoubtful = true
        }
    }

    private static func compact(_ state: inout State, in directory: StateDirectory, path: String) {
        let compacted = compactedByteCount(state)
        guard state.byteCount >= 4 * compacted else {
            state.compactionByteCount = 4 * compacted
            return
        }
        do throws(StateError) {
            try rewrite(&state, in: directory, path: path)
        } catch {
            // The change itself is on disk. Trying again at every change would make each as slow as this one.
            state.compactionByteCount = 2 * state.byteCount
        }
    }

    /// About as many bytes as the journal has when nothing in it is outdated.
    private static func compactedByteCount(_ state: borrowing State) -> Int {
        state.paused.reduce(0) { $0 + $1.count + 32 }
    }

    /// Writes the journal anew from what is in memory: temporary file, fsync, rename, fsync of the directory.
    private static func rewrite(
        _ state: inout State, in directory: StateDirectory, path: String
    ) throws(StateError) {
        state.lines.removeAll()
        let ids = state.paused
        JournalLine.append(.header(pausedCount: ids.count), number: 0, to: &state.lines, body: &state.body)
        for (index, id) in ids.enumerated() {
            JournalLine.append(
                .pause(String(decoding: id, as: UTF8.self)), number: 1 + index, to: &state.lines, body: &state.body)
        }
        JournalLine.append(.synced, number: 1 + ids.count, to: &state.lines, body: &state.body)
        let bytes = state.lines.withUnsafeBytes { Array($0) }
        let descriptor = try directory.withDescriptor { directory throws(StateError) in
            let descriptor = try StateDirectory.writeTemporary(fileName, bytes, in: directory, path: path)
            do throws(StateError) {
                try StateDirectory.renameTemporary(fileName, in: directory, path: path)
            } catch {
                StateDirectory.closeDescriptor(descriptor)
                throw error
            }
            return descriptor
        }
        // From here on the name is the new file's, whether or not the directory is on disk yet: the old one must get no more
        // lines. Until the directory is on disk there is doubt which of the two a power failure would leave.
        if state.descriptor >= 0 { StateDirectory.closeDescriptor(state.descriptor) }
        state.descriptor = descriptor
        state.byteCount = bytes.count
        state.lineCount = ids.count + 2
        state.changeCount = ids.count
        state.compactionByteCount = max(compactionByteCountMin, 4 * bytes.count)
        state.isDoubtful = true
        try directory.withDescriptor { directory throws(StateError) in
            try StateDirectory.sync(directory, path: path)
        }
        state.isDoubtful = false
    }
}
