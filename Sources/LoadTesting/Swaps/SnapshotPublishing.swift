internal import Foundation

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Publishes one snapshot after the other under new ids while a run lasts (`--swap-publish`), and waits each time until the
/// daemon serves it and has destroyed the one before.
///
/// A swap's window begins when the daemon saw the snapshot (`times.found`) and ends when it had destroyed the one before
/// (`times.destroyed`, whose millisecond is counted in). Both are the daemon's wall clock, which is this machine's as well:
/// they are put on the run's clock by what the two clocks differ by when the end is seen, and never lie outside of what was
/// seen here. After its end the run is left alone for the time to settle and once more for as long as the window was, so
/// that each swap has a quiet window of its length, unless the plan leaves it out.
public struct SnapshotPublishing: Disturbance {
    /// What is published, and where.
    public struct Plan: Sendable {
        /// Directories of snapshots, published in turn.
        public var sources: [String]
        /// Where the daemon looks for them.
        public var directory: String
        /// The ids, one for each swap, all new.
        public var ids: [String]
        /// From the start of one to the start of the next at the least, in nanoseconds.
        public var every: UInt64
        /// When the first starts and from when on none does, in nanoseconds from the start of the run.
        public var first: UInt64
        /// See `first`.
        public var until: UInt64
        /// How long the server is left alone after a swap before its quiet window begins, in nanoseconds.
        public var settle: UInt64
        /// Whether the quiet window is left out.
        public var isBackToBack = false
        /// A swap that takes longer has failed, in nanoseconds.
        public var timeout: UInt64
        /// How to publish.
        public var command = PublishCommand()

        /// Creates a plan with the settle time and the timeout of `belfry loadtest`.
        public init(sources: [String], directory: String, ids: [String], every: UInt64, first: UInt64, until: UInt64) {
            self.sources = sources
            self.directory = directory
            self.ids = ids
            self.every = every
            self.first = first
            self.until = until
            settle = 500_000_000
            timeout = 120_000_000_000
        }

        /// Ids that no other run has: `swap-0001-a-sx3k2p`, the letter that of the source.
        public static func ids(_ count: Int, sources: Int, tag: String) -> [String] {
            (0..<count).map { turn in
                let number = String(turn + 1)
                let letter = Character(UnicodeScalar(UInt8(ascii: "a") + UInt8(turn % sources)))
                return "swap-" + String(repeating: "0", count: max(0, 4 - number.count)) + "\(number)-\(letter)-\(tag)"
            }
        }
    }

    private let plan: Plan
    private let admin: Target
    private let metrics: Target
    private let progress: LoadProgress

    /// - admin: the admin plane.
    /// - metrics: where `/metrics` is, the data plane.
    /// - progress: of the run, which ends when all are published.
    public init(_ plan: Plan, admin: Target, metrics: Target, progress: LoadProgress) {
        self.plan = plan
        self.admin = admin
        self.metrics = metrics
        self.progress = progress
    }

    /// How often the admin plane is asked while a swap lasts, in microseconds.
    private static let pollMicros: UInt32 = 50_000

    /// Publishes until all are, or the run is over.
    public func act(clock: () -> UInt64, isOver: () -> Bool) -> [RunResult.Mark] {
        let client = ControlClient(admin)
        var marks: [RunResult.Mark] = []
        var latest: Int?  // the mark of the swap whose memory is not known yet
        var published: [String] = []
        var due = plan.first
        var count = 0
        for (turn, id) in plan.ids.enumerated() {
            guard due < plan.until, wait(until: due, clock, isOver) else { break }
            let start = clock()
            noteMemory(&marks, &latest)
            let before = try? SnapshotStatus(client)
            removeOld(&published, before)
            published.append(id)
            count += 1
            let source = plan.sources[turn % plan.sources.count]
            let outcome = plan.command.publish(
                source, to: plan.directory, id: id, seconds: Double(plan.timeout) / 1e9)
            let end = clock()
            marks.append(RunResult.Mark(kind: "publish", label: id, start: start, end: end, fault: outcome.fault))
            var record = SwapRecord(
                id: id, source: source, previous: before?.serving, publishMillis: Double(end - start) / 1e6,
                publishCPUMillis: outcome.cpuMillis)
            record.fault = outcome.fault
            let watched = Watch(start: start, published: end)
            let window = watch(&record, watched, client, clock, isOver)
            let isUnfinished = record.fault == nil && record.windowMillis == nil
            marks.append(
                RunResult.Mark(
                    kind: "swap", label: id, start: window.lowerBound, end: window.upperBound, fault: record.fault,
                    swap: isUnfinished ? nil : record))
            latest = isUnfinished ? nil : marks.count - 1
            let quiet = plan.isBackToBack ? 0 : window.upperBound - window.lowerBound
            due = max(due + plan.every, window.upperBound + plan.settle + quiet)
            due = max(due, clock())
        }
        // The last one's quiet time counts too.
        let isComplete = wait(until: due, clock, isOver)
        noteMemory(&marks, &latest)
        removeOld(&published, try? SnapshotStatus(client))
        if isComplete, count == plan.ids.count { progress.complete() }
        return marks
    }

    /// Whether the instant came before the end of the run.
    private func wait(until instant: UInt64, _ clock: () -> UInt64, _ isOver: () -> Bool) -> Bool {
        // Before the start the clock reads far in the future.
        while !isOver() {
            let now = clock()
            if now >= instant, now < 1 << 63 { return true }
            // In steps that an end of the run does not have to wait for.
            usleep(now < 1 << 63 ? UInt32(min(20_000, (instant - now) / 1000 + 1)) : 1000)
        }
        return false
    }

    // MARK: One swap

    private struct Watch {
        let start: UInt64
        let published: UInt64
    }

    /// Waits until the snapshot serves and the one before is destroyed, and gives the window.
    private func watch(
        _ record: inout SwapRecord, _ watched: Watch, _ client: ControlClient, _ clock: () -> UInt64,
        _ isOver: () -> Bool
    ) -> Range<UInt64> {
        var latestFault: String?
        var hasServed = false
        while record.fault == nil, !isOver() {
            do throws(LoadTestError) {
                let status = try SnapshotStatus(client)
                let now = clock()
                if let entry = status.entry(record.id) {
                    hasServed = hasServed || entry.state == "serving"
                    if entry.state == "failed" { record.fault = "refused: \(entry.reason ?? "no reason given")" }
                    let before = record.previous.flatMap { status.entry($0) }
                    if status.serving == record.id, record.previous == nil || before?.times["destroyed"] != nil {
                        return finish(&record, entry, before, watched, now)
                    }
                } else if record.id != status.serving, hasServed {
                    record.fault = "it served and is gone from GET /v1/snapshots"
                }
            } catch {
                latestFault = error.description
            }
            if record.fault == nil, clock() - watched.start > plan.timeout {
                let what = hasServed ? "serves, but the one before is not destroyed" : "does not serve"
                let limit = short(Double(plan.timeout) / 1e9)
                record.fault = "after \(limit) s it \(what)" + (latestFault.map { "; \($0)" } ?? "")
            }
            usleep(Self.pollMicros)
        }
        return watched.published..<max(watched.published + 1, clock())
    }

    private func finish(
        _ record: inout SwapRecord, _ entry: SnapshotStatus.Entry, _ before: SnapshotStatus.Entry?, _ watched: Watch,
        _ now: UInt64
    ) -> Range<UInt64> {
        // What the wall clock is ahead of the run's. Taken now, so that a clock that is being corrected does no harm.
        let offset = wallClockNanoseconds() &- now
        func instant(_ wall: UInt64?) -> UInt64? { wall.map { $0 &- offset } }
        let found = instant(entry.times["found"])
        let destroyed = instant(before.map { $0.times["destroyed"] } ?? entry.times["serving"])
        if let found, found > now &+ 1_000_000_000, found < 1 << 63 {
            record.fault = "the daemon's clock is not this machine's: it found the snapshot in the future"
        }
        let start = min(max(found ?? watched.published, watched.start), now - 1)
        // The daemon's times end with the millisecond.
        let end = min(max((destroyed ?? now) &+ 1_000_000, start + 1), now)
        for (name, value) in entry.durations where name != "destroy" { record.stepMillis[name] = value }
        for (name, value) in entry.cpu where name != "destroy" { record.stepCPUMillis[name] = value }
        record.stepMillis["destroy"] = before?.durations["destroy"]
        record.stepCPUMillis["destroy"] = before?.cpu["destroy"]
        if let found = entry.times["found"], let serving = entry.times["serving"], serving >= found {
            record.servingMillis = Double(serving - found) / 1e6
        }
        record.windowMillis = Double(end - start) / 1e6
        return start..<end
    }

    // MARK: Before the next

    /// Notes what the daemon holds now that the swap before is long over: neither its window nor the quiet one is disturbed.
    private func noteMemory(_ marks: inout [RunResult.Mark], _ latest: inout Int?) {
        guard let index = latest else { return }
        latest = nil
        marks[index].swap?.residentBytes = ResidentMemory.bytes(metrics)
    }

    /// Removes what this run published and the daemon neither serves nor would roll back to. Nothing if it does not say.
    private func removeOld(_ published: inout [String], _ status: SnapshotStatus?) {
        guard let status, let serving = status.serving else { return }
        for id in published where id != serving && id != status.previous {
            let path = "\(plan.directory)/\(id)"
            // First out of the daemon's sight: a half removed snapshot would look like a damaged one.
            if rename(path, path + ".tmp") == 0 { try? FileManager.default.removeItem(atPath: path + ".tmp") }
        }
        published.removeAll { $0 != serving && $0 != status.previous }
    }
}

/// A daemon's memory as it says itself.
enum ResidentMemory {
    /// `process_resident_memory_bytes` of `/metrics`, or nil where there is none.
    static func bytes(_ target: Target) -> Double? {
        let client = ControlClient(target, timeoutSeconds: 5)
        guard let reply = try? client.send("GET", "/metrics"), reply.status == 200 else { return nil }
        return bytes(inMetrics: reply.text)
    }

    /// The value in the text format of Prometheus.
    static func bytes(inMetrics text: String) -> Double? {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count >= 2, words[0] == "process_resident_memory_bytes" { return Double(words[1]) }
        }
        return nil
    }
}
