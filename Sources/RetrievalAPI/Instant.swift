#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// A reading of CLOCK_MONOTONIC, which never goes back.
struct Instant: Comparable {
    /// Since some instant before the machine's start.
    let nanoseconds: UInt64

    static var now: Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    /// Whole microseconds, rounded down.
    func micros(since earlier: Instant) -> Int {
        Int(nanoseconds - earlier.nanoseconds) / 1000
    }

    /// The instant so many milliseconds later, up to a day.
    func advanced(byMillis millis: Double) -> Instant {
        Instant(nanoseconds: nanoseconds + UInt64(millis * 1e6))
    }

    static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }
}
