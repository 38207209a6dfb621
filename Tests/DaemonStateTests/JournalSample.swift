import DaemonState
import Testing

/// A journal with a beginning that was compacted and changes behind it, and what is paused after each of its lines.
struct JournalSample {
    var bytes: [UInt8] = []
    /// Where each line ends, and what is paused up to there; nil before the promised lines are complete.
    var states: [(end: Int, paused: Set<[UInt8]>?)] = []
    /// What was paused when each call returned, and the file's length then.
    var acknowledged: [(end: Int, paused: Set<[UInt8]>)] = []

    init() throws {
        let scratch = try ScratchDirectory()
        var paused: Set<[UInt8]> = []
        do {
            let state = try StateDirectory(path: scratch.path)
            let journal = try PauseJournal(in: state)
            try journal.pause(["old", "older", "gone"])
            try journal.resume(["gone", "older"])
            try journal.pause(["older\n"])
            try journal.resume(["older\n"])
            state.close()
        }
        paused = [Array("old".utf8)]
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        acknowledged.append((journal.byteCount, paused))
        states = try JournalSample.ends(try scratch.bytes("pauses.journal")).map { ($0, nil) }
        states[states.count - 1].paused = paused
        let changes: [(isPause: Bool, ids: [String])] = [
            (true, ["a"]), (true, ["b\n\"é", "c"]), (false, ["a"]), (true, ["d"]), (false, ["old", "c"]),
            (true, ["last", "one", "more"]),
        ]
        for change in changes {
            let before = try scratch.bytes("pauses.journal").count
            if change.isPause { try journal.pause(change.ids) } else { try journal.resume(change.ids) }
            let ends = try JournalSample.ends(try scratch.bytes("pauses.journal")).filter { $0 > before }
            try #require(ends.count == change.ids.count + 1)
            for (id, end) in zip(change.ids, ends) {
                if change.isPause { paused.insert(Array(id.utf8)) } else { paused.remove(Array(id.utf8)) }
                states.append((end, paused))
            }
            states.append((ends.last!, paused))
            acknowledged.append((ends.last!, paused))
        }
        bytes = try scratch.bytes("pauses.journal")
        state.close()
    }

    static func ends(_ bytes: [UInt8]) throws -> [Int] {
        bytes.indices.filter { bytes[$0] == UInt8(ascii: "\n") }.map { $0 + 1 }
    }

    /// What is paused after as many whole lines as `byteCount` bytes hold; nil if that must be refused.
    func paused(upTo byteCount: Int) -> Set<[UInt8]>? {
        states.last { $0.end <= byteCount }?.paused
    }
}
