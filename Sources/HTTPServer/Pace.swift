/// When a long request lets others through: after so long, and never for more than four fifths of the time.
struct Pace {
    private var dueAt: UInt64 = 0

    /// Whether it is time, at an instant in nanoseconds.
    func isDue(at now: UInt64) -> Bool { now >= dueAt }

    /// The others were served from one instant to another; the request goes on for `quota`, or for a quarter of what they took.
    mutating func others(from begin: UInt64, to end: UInt64, quota: UInt64) {
        dueAt = end + max(quota, (end - begin) / 4)
    }
}
