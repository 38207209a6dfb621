#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// A reading of CLOCK_MONOTONIC, which never goes back.
struct Instant {
    private let nanoseconds: Int

    static var now: Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: time.tv_sec * 1_000_000_000 + time.tv_nsec)
    }

    /// Whole microseconds, rounded down.
    func micros(since earlier: Instant) -> Int {
        (nanoseconds - earlier.nanoseconds) / 1000
    }
}
