#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// CLOCK_MONOTONIC in nanoseconds: what schedules, sends and replies are measured by.
@inline(__always)
func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}

/// CLOCK_REALTIME in nanoseconds: what the kernel notes arrivals by.
@inline(__always)
func wallClockNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}

/// How far CLOCK_REALTIME is ahead of CLOCK_MONOTONIC, in nanoseconds modulo 2^64. The one is read between two readings of the other:
/// a thread that loses its core in between would be wrong by that long, so it reads again.
func wallClockLead() -> UInt64 {
    var lead: UInt64 = 0
    var shortest = UInt64.max
    for _ in 0..<4 where shortest > 1000 {
        let before = monotonicNanoseconds()
        let wall = wallClockNanoseconds()
        let taken = monotonicNanoseconds() - before
        if taken < shortest {
            shortest = taken
            lead = wall &- before &- taken / 2
        }
    }
    return lead
}

/// Seconds of the Unix epoch.
func unixSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
