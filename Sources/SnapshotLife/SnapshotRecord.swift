internal import Glibc
public import Snapshots

/// What is known of one snapshot: its state, since when, and why it was refused.
public struct SnapshotRecord: Sendable {
    /// The stages of a snapshot's life, in order; `failed` may follow any before `serving`.
    public enum State: String, Sendable, CaseIterable {
        case found, verifying, loading, warming, ready, serving, retired, failed
    }

    /// The steps that take time.
    public enum Step: String, Sendable, CaseIterable {
        case verify, load, warm, swap, destroy
    }

    /// What a step took.
    public struct Cost: Sendable {
        /// From beginning to end, in milliseconds.
        public let millis: Double
        /// Of processor time, in milliseconds.
        public let cpuMillis: Double
    }

    /// Its id.
    public let id: String
    /// Where it is in its life.
    public internal(set) var state = State.found
    /// Why it was refused.
    public internal(set) var fault: SnapshotError?
    /// Size of its files in bytes, once its manifest is read.
    public internal(set) var byteCount: Int?
    /// How many items it has, once its manifest is read.
    public internal(set) var itemCount: Int?
    /// Its space, once its manifest is read.
    public internal(set) var spaceID: String?
    /// When it was trained, once its manifest is read.
    public internal(set) var createdAt: String?
    /// When it came to its states, and when it was destroyed (`destroyed`), in its latest life; milliseconds since 1970.
    public internal(set) var times: [(event: String, unixMillis: Int64)] = []
    /// What its steps took.
    public internal(set) var costs: [Step: Cost] = [:]
    /// What comparing it with the one that served gave.
    public internal(set) var skew: SkewReport?

    init(id: String) {
        self.id = id
        mark("found")
    }

    /// Notes that something happened now. What happened before in an earlier life is forgotten.
    mutating func mark(_ event: String) {
        times.removeAll { $0.event == event }
        times.append((event, wallClockMillis()))
    }

    /// Moves on to a state.
    mutating func enter(_ next: State) {
        if next == .verifying {
            times.removeAll { $0.event != "found" }
            costs = [:]
            fault = nil
            skew = nil
        }
        state = next
        mark(next.rawValue)
    }
}

/// Milliseconds since 1970.
func wallClockMillis() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}
