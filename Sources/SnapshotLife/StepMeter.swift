internal import CProcess

/// What a step takes, of time and of the calling thread's processor time.
struct StepMeter {
    private let began = ContinuousClock.now
    private let cpuBegan = belfry_thread_cpu_time()
    /// Processor time of other processes that worked for the step, in nanoseconds.
    var elsewhere: UInt64 = 0

    /// What it has taken so far.
    func stop() -> SnapshotRecord.Cost {
        let (seconds, attoseconds) = (ContinuousClock.now - began).components
        return SnapshotRecord.Cost(
            millis: Double(seconds) * 1e3 + Double(attoseconds) / 1e15,
            cpuMillis: Double(belfry_thread_cpu_time() - cpuBegan + elsewhere) / 1e6)
    }
}
