internal import CLinux
internal import Histogram

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Something that is done to the server while a run lasts, on a thread of its own.
public protocol Disturbance: Sendable {
    /// Acts until `isOver` says so, and tells what it did.
    ///
    /// - clock: nanoseconds from the start of the run; large values before it has started.
    func act(clock: () -> UInt64, isOver: () -> Bool) -> [RunResult.Mark]
}

/// Carries out a plan.
public enum LoadRun {
    /// Opens the connections, plays the plan and joins what the threads recorded.
    ///
    /// - progress: counts while the run lasts, and can end it early.
    /// - disturbances: what is done to the server meanwhile.
    public static func run(
        _ plan: LoadPlan, progress: LoadProgress = LoadProgress(), disturbances: [any Disturbance] = []
    ) throws(LoadTestError) -> RunResult {
        guard !plan.requests.isEmpty else { throw .usage("there is no request to send") }
        guard plan.threads >= 1, plan.connections >= plan.threads else {
            throw .usage("\(plan.threads) threads need as many connections, there are \(plan.connections)")
        }
        let messages = Messages(plan.requests, target: plan.target, method: plan.method)
        let keptShare = keptShare(plan)
        var generators: [Generator] = []
        for number in 0..<plan.threads {
            generators.append(
                try Generator(
                    plan: plan, number: number, messages: messages, keptShare: keptShare, progress: progress))
        }
        // Late enough for every thread to stand by.
        let origin = monotonicNanoseconds() + 20_000_000
        let startedAt = unixSeconds() + 0.02
        let isOver = LoadProgress()
        let disturbing = disturbances.map { disturbance in
            Thread<[RunResult.Mark]> {
                disturbance.act(clock: { monotonicNanoseconds() &- origin }, isOver: { !isOver.isWanted })
            }
        }
        let processors = ProcessorTimes.current()
        let threads = generators.map { generator in
            let generator = Transferred(generator)
            return Thread<Void> { generator.value.run(origin: origin) }
        }
        for thread in threads { thread.join() }
        let end = monotonicNanoseconds() - origin
        let stolen = StolenTime(from: processors, to: .current())
        isOver.stop()
        let marks = disturbing.flatMap { $0.join() }.sorted { $0.start < $1.start }
        var result = join(plan, generators, keptShare: keptShare, startedAt: startedAt, end: end, marks: marks)
        result.stolen = stolen
        if !progress.isWanted {
            result.cut(at: progress.stoppedAt - min(progress.stoppedAt, origin))
            result.isCut = !progress.isComplete
        }
        return result
    }

    /// As many replies as memory holds, spread over the whole run where its length is known.
    private static func keptShare(_ plan: LoadPlan) -> Double {
        guard case .open(let schedule) = plan.mode else { return plan.keptShare }
        return min(plan.keptShare, Double(plan.keptCountMax) / Double(schedule.instants.count))
    }

    private static func join(
        _ plan: LoadPlan, _ generators: [Generator], keptShare: Double, startedAt: Double, end: UInt64,
        marks: [RunResult.Mark]
    ) -> RunResult {
        let threads = generators.count
        var result = RunResult(
            isOpenLoop: false, scheduledRate: 0, warmupEnd: 0, end: end, startedAt: startedAt, outcomes: [],
            latency: .latencies(), service: .latencies(), sendLag: .latencies(), connectionWait: .latencies(),
            snapshots: [], marks: marks, kept: [], keptShare: keptShare, errorBodies: [:], isCut: false,
            reconnections: 0)
        switch plan.mode {
        case .open(let schedule):
            result.isOpenLoop = true
            result.scheduledRate = schedule.rate
            result.warmupEnd = schedule.warmupNanoseconds
            result.end = schedule.endNanoseconds
        case .closed(let warmup, let nanoseconds):
            result.warmupEnd = warmup
            result.end = warmup + nanoseconds
        }
        // Threads number snapshots as they meet them.
        var numbers: [[UInt8]] = []
        for generator in generators {
            numbers.append(
                generator.snapshots.names.map { name in
                    if let known = result.snapshots.firstIndex(of: name) { return UInt8(known) }
                    guard result.snapshots.count < 255 else { return 255 }
                    result.snapshots.append(name)
                    return UInt8(result.snapshots.count - 1)
                })
            result.latency.add(generator.latency)
            result.service.add(generator.service)
            result.sendLag.add(generator.sendLag)
            result.connectionWait.add(generator.connectionWait)
            result.errorBodies.merge(generator.errorBodies) { first, _ in first }
            result.reconnections += generator.reconnections
            result.degraded += generator.degradedCount
        }
        // In the order they were due. An early end leaves requests that were never sent.
        var order: [(scheduled: UInt64, thread: Int, position: Int)] = []
        for (thread, generator) in generators.enumerated() {
            for position in generator.outcomes.indices where generator.outcomes[position].kind != .pending {
                order.append((generator.outcomes[position].scheduled, thread, position))
            }
        }
        if threads > 1 { order.sort { ($0.scheduled, $0.thread) < ($1.scheduled, $1.thread) } }
        var places = generators.map { [Int](repeating: -1, count: $0.outcomes.count) }
        result.outcomes.reserveCapacity(order.count)
        for (_, thread, position) in order {
            var outcome = generators[thread].outcomes[position]
            if outcome.snapshot != 255 { outcome.snapshot = numbers[thread][Int(outcome.snapshot)] }
            places[thread][position] = result.outcomes.count
            result.outcomes.append(outcome)
        }
        for (thread, generator) in generators.enumerated() {
            for kept in generator.kept {
                result.kept.append(
                    RunResult.KeptReply(
                        outcome: places[thread][kept.position],
                        request: (kept.position * threads + thread) % plan.requests.count, body: kept.body,
                        jsonByteCount: kept.jsonByteCount))
            }
        }
        let successes = result.counted.count { $0.kind == .success }
        result.keptShare = successes > 0 ? Double(result.kept.count) / Double(successes) : 0
        return result
    }
}

/// A thread that gives a value when it ends.
final class Thread<Value> {
    private let box: ThreadBox<Value>
    private var thread = pthread_t()

    init(_ work: @escaping @Sendable () -> Value) {
        box = ThreadBox(work)
        // The thread holds the box until it has ended, and `join` reads the value after that.
        let status = pthread_create(
            &thread, nil,
            { argument in
                let box = Unmanaged<AnyObject>.fromOpaque(argument!).takeRetainedValue() as! any Runnable
                box.run()
                return nil
            }, Unmanaged<AnyObject>.passRetained(box).toOpaque())
        precondition(status == 0, "pthread_create: \(String(cString: strerror(status)))")
    }

    func join() -> Value {
        pthread_join(thread, nil)
        return box.value!
    }
}

private protocol Runnable: AnyObject {
    func run()
}

private final class ThreadBox<Value>: Runnable {
    private let work: () -> Value
    private(set) var value: Value?

    init(_ work: @escaping () -> Value) {
        self.work = work
    }

    func run() {
        value = work()
    }
}

extension RunResult {
    /// The run was stopped: what was due later does not count.
    fileprivate mutating func cut(at instant: UInt64) {
        isCut = true
        // A thread may have sent what came due between the wish and its being seen: that counts.
        end = min(end, max(instant, outcomes.last?.scheduled ?? 0))
        let seconds = Double(end - min(end, warmupEnd)) / 1e9
        if isOpenLoop { scheduledRate = seconds > 0 ? Double(counted.count) / seconds : 0 }
    }
}

/// A value that one thread hands to another and does not touch until that has ended.
private struct Transferred<Value>: @unchecked Sendable {
    let value: Value

    init(_ value: Value) {
        self.value = value
    }
}
