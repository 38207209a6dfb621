/// What the bytes of `pauses.journal` say.
struct JournalContents {
    /// The ids that are paused, as bytes: Swift takes texts for equal that an index does not.
    var paused: Set<[UInt8]> = []
    /// How many bytes are good, from the start. What is behind them was being written when the daemon or the machine stopped.
    var byteCount = 0
    /// How many lines are good.
    var lineCount = 0
    /// How many of them pause, resume or drop.
    var changeCount = 0
    /// Whether the last good line is `synced`.
    var endsSynced = false

    /// Reads a journal.
    ///
    /// - Throws: `StateError` if anything that was acknowledged, or may have been, is damaged.
    init(_ bytes: [UInt8], path: String) throws(StateError) {
        var baselineLineCount = 1
        while byteCount < bytes.count {
            guard let line = JournalLine.read(bytes, at: byteCount), line.number == lineCount else { break }
            endsSynced = line.content == .synced
            switch line.content {
            case .header(let pausedCount) where lineCount == 0 && pausedCount < bytes.count:
                // The header, the ids, `synced`.
                baselineLineCount = pausedCount + 2
            case .header, .unknown:
                throw StateError(
                    path: path,
                    fault: "line \(lineCount + 1) is intact and none that this version writes; \(Self.remedy)")
            case _ where lineCount == 0:
                throw StateError(path: path, fault: "begins with something else than its header; \(Self.remedy)")
            case .pause(let id):
                paused.insert(Array(id.utf8))
                changeCount += 1
            case .resume(let id), .drop(let id):
                paused.remove(Array(id.utf8))
                changeCount += 1
            case .synced:
                break
            }
            lineCount += 1
            byteCount += line.byteCount
        }
        // An append that was cut short has no `synced` behind it: that is written once the append is on disk, and the next
        // append only then. So a damaged line with a `synced` behind it was acknowledged.
        guard lineCount >= baselineLineCount, !Self.hasSynced(bytes, from: byteCount) else {
            throw StateError(
                path: path, fault: "damaged at byte \(byteCount), line \(lineCount + 1); \(Self.remedy)")
        }
    }

    private static let remedy =
        "an ad that somebody paused could come back, so the daemon does not start: restore the file from a backup, or move "
        + "it away and pause again what must not be shown"

    /// Whether an intact `synced` stands anywhere behind `start`, at the beginning of a line or not: the damage may have
    /// taken a line feed.
    private static func hasSynced(_ bytes: [UInt8], from start: Int) -> Bool {
        (start..<max(start, bytes.count)).contains { JournalLine.read(bytes, at: $0)?.content == .synced }
    }
}
