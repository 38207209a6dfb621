internal import CLinux
internal import Histogram

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// One thread's part of a run: its connections, its slice of the schedule and its records. Used by one thread at a time.
///
/// Request `position` of the slice is request `position * threads + number` of the run.
final class Generator {
    /// What a connection is doing.
    private enum State {
        case disconnected  // waits for `retryAt`
        case connecting
        case idle
        case busy
    }

    private struct Connection {
        var descriptor: Int32 = -1
        var state = State.disconnected
        var position = 0  // of the request under way
        var sentAt: UInt64 = 0
        var freeSince: UInt64 = 0
        var unsent = 0  // bytes of the message that the socket did not take yet
        var retryAt: UInt64 = 0
        var retryDelay: UInt64 = 0
        var reply = ReplyBuffer()
    }

    /// What a reply kept for the check looks like until all threads' records are joined.
    struct Kept {
        let position: Int
        let body: [UInt8]
        let jsonByteCount: Int?
    }

    private static let retryDelayMin: UInt64 = 10_000_000
    private static let retryDelayMax: UInt64 = 1_000_000_000
    private static let timerToken = UInt32.max
    /// How often timeouts and broken connections are looked after.
    private static let sweepMilliseconds: Int32 = 10

    private let plan: LoadPlan
    private let number: Int
    private let messages: Messages
    private let progress: LoadProgress
    private let keepSample: Sample
    private let disconnectSample: Sample
    private let epoll: Int32
    private let timer: Int32
    private var timerDue: UInt64 = 0
    private let connections: UnsafeMutableBufferPointer<Connection>
    private var idle: RingBuffer
    private var busyCount = 0
    private var expectedService: UInt64 = 0  // a running mean that single slow replies hardly move, in nanoseconds
    private var brokenCount = 0

    private var origin: UInt64 = 0  // the run's start on the monotonic clock
    private let instants: [UInt64]  // this thread's slice; empty in closed loop
    private let warmupEnd: UInt64
    private let closedEnd: UInt64  // 0 in open loop
    private var noticed = 0  // positions before it have been due
    private var dispatched = 0  // positions before it have been sent or given up

    /// What the thread recorded; read after it ended.
    private(set) var outcomes: [Outcome]
    private(set) var latency = LatencyHistogram.latencies()
    private(set) var service = LatencyHistogram.latencies()
    private(set) var sendLag = LatencyHistogram.latencies()
    private(set) var connectionWait = LatencyHistogram.latencies()
    private(set) var snapshots = SnapshotNames()
    private(set) var kept: [Kept] = []
    private(set) var errorBodies: [UInt16: String] = [:]
    private(set) var reconnections = 0
    private(set) var degradedCount = 0
    private var keptByteCount = 0

    /// Opens the connections and waits until all stand.
    init(
        plan: LoadPlan, number: Int, messages: Messages, keptShare: Double, progress: LoadProgress
    ) throws(LoadTestError) {
        self.plan = plan
        self.number = number
        self.messages = messages
        self.progress = progress
        keepSample = Sample(share: keptShare, seed: plan.seed, purpose: 1)
        disconnectSample = Sample(share: plan.disconnectShare, seed: plan.seed, purpose: 2)
        switch plan.mode {
        case .open(let schedule):
            instants = stride(from: number, to: schedule.instants.count, by: plan.threads).map { schedule.instants[$0] }
            outcomes = instants.map { Outcome(scheduled: $0) }
            warmupEnd = schedule.warmupNanoseconds
            closedEnd = 0
        case .closed(let warmup, let nanoseconds):
            instants = []
            outcomes = []
            outcomes.reserveCapacity(1 << 20)
            warmupEnd = warmup
            closedEnd = warmup + nanoseconds
        }
        // To let it grow would move it, and that would take milliseconds of a run.
        kept.reserveCapacity(min(plan.keptCountMax, Int(keptShare * Double(instants.count)) + 1000))
        let count = plan.connections / plan.threads + (number < plan.connections % plan.threads ? 1 : 0)
        connections = .allocate(capacity: count)
        for index in 0..<count { connections.initializeElement(at: index, to: Connection()) }
        idle = RingBuffer(capacity: count)
        epoll = epoll_create1(0)
        timer = timerfd_create(Int32(CLOCK_MONOTONIC), Int32(TFD_NONBLOCK))
        _ = belfry_epoll_set(epoll, EPOLL_CTL_ADD, timer, EPOLLIN.rawValue, Self.timerToken)
        try connectAll()
    }

    deinit {
        for index in connections.indices {
            if connections[index].descriptor >= 0 { close(connections[index].descriptor) }
            connections[index].reply.free()
        }
        connections.deallocate()
        close(timer)
        close(epoll)
    }

    // MARK: The run

    /// Plays the slice from `origin` on, in nanoseconds of the monotonic clock.
    func run(origin: UInt64) {
        self.origin = origin
        belfry_set_timer_slack(1)
        // From here on no instant of the run is negative.
        while monotonicNanoseconds() < origin { sched_yield() }
        if closedEnd > 0 { runClosed() } else { runOpen() }
    }

    private func runOpen() {
        messages.withUnsafeBytes { bytes in
            var now = monotonicNanoseconds() &- origin
            while true {
                dispatchDue(bytes, &now)
                if dispatched == instants.count, busyCount == 0 { return }
                if !progress.isWanted, busyCount == 0 { return giveUpWaiting(now) }
                wait(until: noticed < instants.count ? instants[noticed] : .max, now: now) { index, events in
                    handle(index, events, bytes)
                    // A long batch of replies must not hold up what is due meanwhile.
                    var now = monotonicNanoseconds() &- origin
                    dispatchDue(bytes, &now)
                }
                now = monotonicNanoseconds() &- origin
            }
        }
    }

    private func runClosed() {
        messages.withUnsafeBytes { bytes in
            while true {
                var now = monotonicNanoseconds() &- origin
                let isOver = now >= closedEnd || !progress.isWanted
                if isOver, busyCount == 0 { return }
                while !isOver, let index = idle.popFirst() {
                    outcomes.append(Outcome(scheduled: now))
                    send(index, outcomes.count - 1, at: now, bytes)
                    now = monotonicNanoseconds() &- origin
                }
                wait(until: .max, now: now) { handle($0, $1, bytes) }
            }
        }
    }

    /// Notes what has become due, and sends it as far as connections are free.
    @inline(__always)
    private func dispatchDue(_ bytes: UnsafeRawBufferPointer, _ now: inout UInt64) {
        while true {
            while noticed < instants.count, instants[noticed] <= now, progress.isWanted {
                outcomes[noticed].lagTicks = Outcome.ticks(now - instants[noticed])
                noticed += 1
            }
            guard dispatched < noticed, let index = idle.popFirst() else { return }
            let position = dispatched
            dispatched += 1
            let seenDue = instants[position] + outcomes[position].lag
            let free = connections[index].freeSince
            if free > seenDue {
                // It waited for this connection; what passed since the connection was free is the generator's doing.
                outcomes[position].waitTicks = Outcome.ticks(free - seenDue)
                outcomes[position].lagTicks &+= Outcome.ticks(now - free)
            } else {
                outcomes[position].lagTicks = Outcome.ticks(now - instants[position])
            }
            send(index, position, at: now, bytes)
            now = monotonicNanoseconds() &- origin
        }
    }

    // MARK: Waiting

    /// Handles what sockets have to say; returns when `instant` is near, something happened or a sweep was due. The last
    /// stretch before the instant is spent polling, and so is the time in which a reply is likely: a thread that sleeps sees
    /// it 20 us late, and one that never sleeps is made to by the kernel, for milliseconds.
    @inline(__always)
    private func wait(until instant: UInt64, now: UInt64, _ handle: (Int, UInt32) -> Void) {
        var timeout = Self.sweepMilliseconds
        let next = min(instant, expectedReply(after: now))
        if plan.spinNanoseconds == .max || next <= now &+ plan.spinNanoseconds {
            timeout = 0
        } else if next != .max {
            arm(next - plan.spinNanoseconds)
        }
        withUnsafeTemporaryAllocation(of: belfry_event.self, capacity: 16) { events in
            let count = belfry_epoll_wait(epoll, events.baseAddress, 16, timeout)
            if count > 0 {
                for event in events[..<Int(count)] {
                    if event.token == Self.timerToken {
                        var expirations: UInt64 = 0
                        read(timer, &expirations, 8)
                        timerDue = 0
                    } else {
                        handle(Int(event.token), event.events)
                    }
                }
            }
        }
        sweepIfDue()
    }

    /// When the next reply is likely to come, in nanoseconds of the run: past replies that did not come are given up.
    @inline(__always)
    private func expectedReply(after now: UInt64) -> UInt64 {
        guard busyCount > 0, connections.count <= Self.expectingConnectionsMax else { return .max }
        var soonest = UInt64.max
        for index in connections.indices where connections[index].state == .busy {
            let instant = connections[index].sentAt &+ expectedService
            if instant &+ plan.spinNanoseconds > now { soonest = min(soonest, instant) }
        }
        return soonest
    }

    /// With more connections than this there is always something to do, and looking through them would cost more than it gives.
    private static let expectingConnectionsMax = 64

    /// Lets the timer wake the thread at an instant of the run, absolutely: no rounding, no drift.
    private func arm(_ instant: UInt64) {
        guard timerDue != instant else { return }
        timerDue = instant
        let absolute = origin + instant
        var setting = itimerspec()
        setting.it_value.tv_sec = Int(absolute / 1_000_000_000)
        setting.it_value.tv_nsec = Int(absolute % 1_000_000_000)
        timerfd_settime(timer, Int32(TFD_TIMER_ABSTIME), &setting, nil)
    }

    private var nextSweep: UInt64 = 0
    /// What arrivals, which the kernel notes by the wall clock, are ahead of the monotonic clock, in nanoseconds.
    private var wallClockOffset = wallClockLead()

    /// Fails requests that took too long, and opens broken connections again.
    @inline(__always)
    private func sweepIfDue() {
        let now = monotonicNanoseconds() &- origin
        if now >= nextSweep { sweep(now) }
    }

    @inline(never)
    private func sweep(_ now: UInt64) {
        nextSweep = now + UInt64(Self.sweepMilliseconds) * 1_000_000
        wallClockOffset = wallClockLead()
        if busyCount + brokenCount > 0 {
            for index in connections.indices {
                switch connections[index].state {
                case .busy where now - min(now, connections[index].sentAt) > plan.timeoutNanoseconds:
                    finish(index, .timeout, at: now)
                    reconnect(index, now)
                case .disconnected where connections[index].retryAt <= now: startConnecting(index, now)
                default: break
                }
            }
        }
        while dispatched < noticed, now - instants[dispatched] > plan.timeoutNanoseconds { giveUp(.timeout, now) }
    }

    /// The run was stopped while no connection stood: what was due before has failed, and must not drop out of the report.
    private func giveUpWaiting(_ now: UInt64) {
        while dispatched < noticed { giveUp(.closed, now) }
    }

    /// Ends the wait of the request that is next, unsent.
    private func giveUp(_ kind: OutcomeKind, _ now: UInt64) {
        outcomes[dispatched].kind = kind
        outcomes[dispatched].waitTicks = Outcome.ticks(now - instants[dispatched] - outcomes[dispatched].lag)
        count(outcomes[dispatched])
        dispatched += 1
    }

    // MARK: Connections

    private func connectAll() throws(LoadTestError) {
        for index in connections.indices {
            let descriptor = plan.target.open(isBlocking: true)
            guard descriptor >= 0 else {
                throw .failed("cannot connect to \(plan.target): \(String(cString: strerror(errno)))")
            }
            let flags = fcntl(descriptor, F_GETFL)
            _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
            _ = belfry_note_arrivals(descriptor)
            connections[index].descriptor = descriptor
            connections[index].state = .idle
            _ = belfry_epoll_set(epoll, EPOLL_CTL_ADD, descriptor, EPOLLIN.rawValue, UInt32(index))
            idle.append(index)
        }
    }

    /// Closes a connection that is of no use any more and opens it anew.
    private func reconnect(_ index: Int, _ now: UInt64) {
        close(connections[index].descriptor)
        connections[index].descriptor = -1
        connections[index].retryDelay = 0
        reconnections += 1
        brokenCount += 1
        startConnecting(index, now)
    }

    private func startConnecting(_ index: Int, _ now: UInt64) {
        let descriptor = plan.target.open(isBlocking: false)
        guard descriptor >= 0 else { return retryLater(index, now) }
        _ = belfry_note_arrivals(descriptor)
        connections[index].descriptor = descriptor
        connections[index].state = .connecting
        _ = belfry_epoll_set(epoll, EPOLL_CTL_ADD, descriptor, EPOLLOUT.rawValue, UInt32(index))
    }

    private func retryLater(_ index: Int, _ now: UInt64) {
        let delay = min(max(connections[index].retryDelay * 2, Self.retryDelayMin), Self.retryDelayMax)
        connections[index].retryDelay = delay
        connections[index].retryAt = now + delay
        connections[index].state = .disconnected
    }

    private func finishConnecting(_ index: Int) {
        let descriptor = connections[index].descriptor
        var fault: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &fault, &length)
        let now = monotonicNanoseconds() &- origin
        if fault != 0 {
            close(descriptor)
            connections[index].descriptor = -1
            return retryLater(index, now)
        }
        _ = belfry_epoll_set(epoll, EPOLL_CTL_MOD, descriptor, EPOLLIN.rawValue, UInt32(index))
        brokenCount -= 1
        release(index, now)
    }

    @inline(__always)
    private func release(_ index: Int, _ now: UInt64) {
        connections[index].state = .idle
        connections[index].freeSince = now
        idle.append(index)
    }

    // MARK: Requests

    @inline(__always)
    private func globalIndex(_ position: Int) -> Int { position * plan.threads + number }

    @inline(__always)
    private func send(_ index: Int, _ position: Int, at now: UInt64, _ bytes: UnsafeRawBufferPointer) {
        let connection = connections.baseAddress! + index
        connection.pointee.state = .busy
        connection.pointee.position = position
        connection.pointee.sentAt = now
        connection.pointee.reply.removeAll()
        busyCount += 1
        progress.countSent()
        let (start, end) = messages.range(globalIndex(position) % messages.count)
        connection.pointee.unsent = end - start
        push(index, bytes)
        if disconnectSample.contains(globalIndex(position)), connections[index].state == .busy {
            finish(index, .abandoned, at: monotonicNanoseconds() &- origin)
            reconnect(index, now)
        }
    }

    /// Gives the socket what it takes of the message.
    @inline(__always)
    private func push(_ index: Int, _ bytes: UnsafeRawBufferPointer) {
        let connection = connections.baseAddress! + index
        let (_, end) = messages.range(globalIndex(connection.pointee.position) % messages.count)
        let unsent = connection.pointee.unsent
        let sent = Glibc.send(
            connection.pointee.descriptor, bytes.baseAddress! + (end - unsent), unsent, Int32(MSG_NOSIGNAL))
        if sent == unsent {
            connection.pointee.unsent = 0
        } else {
            pushLater(index, sent)
        }
    }

    @inline(never)
    private func pushLater(_ index: Int, _ sent: Int) {
        if sent < 0, errno != EAGAIN, errno != EINTR {
            let now = monotonicNanoseconds() &- origin
            finish(index, .closed, at: now)
            return reconnect(index, now)
        }
        connections[index].unsent -= max(0, sent)
        let both = EPOLLIN.rawValue | EPOLLOUT.rawValue
        _ = belfry_epoll_set(epoll, EPOLL_CTL_MOD, connections[index].descriptor, both, UInt32(index))
    }

    /// Something happened on a socket.
    @inline(__always)
    private func handle(_ index: Int, _ events: UInt32, _ bytes: UnsafeRawBufferPointer) {
        let connection = connections.baseAddress! + index
        switch connection.pointee.state {
        case .disconnected: return
        case .connecting: return finishConnecting(index)
        case .idle, .busy: break
        }
        if events & EPOLLOUT.rawValue != 0, connection.pointee.unsent > 0 {
            push(index, bytes)
            guard connection.pointee.state == .busy else { return }
            if connection.pointee.unsent == 0 {
                _ = belfry_epoll_set(
                    epoll, EPOLL_CTL_MOD, connection.pointee.descriptor, EPOLLIN.rawValue, UInt32(index))
            }
        }
        guard events & ~EPOLLOUT.rawValue != 0 else { return }
        var arrived: UInt64 = 0
        let received = connection.pointee.reply.receive(connection.pointee.descriptor, arrived: &arrived)
        let now = monotonicNanoseconds() &- origin
        if connection.pointee.state == .idle {
            // Closed while nobody asked, which is the server's right, or words that nobody asked for.
            if received == 0 || received > 0 || errno != EAGAIN {
                idle.remove(index)
                reconnect(index, now)
            }
            return
        }
        if received > 0 {
            switch connection.pointee.reply.progress() {
            case .partial: return
            case .malformed:
                finish(index, .malformed, at: now)
                reconnect(index, now)
            case .whole:
                let closes = connection.pointee.reply.closes || connection.pointee.unsent > 0
                let end = instant(ofArrival: arrived, after: connection.pointee.sentAt, now: now)
                finishReply(index, at: end)
                // Free is a connection that this thread knows to be free: requests that wait for it do so until then.
                if closes { reconnect(index, now) } else { release(index, now) }
            }
        } else if received == 0 {
            if connection.pointee.reply.progressAtClose() == .whole {
                finishReply(index, at: now)
            } else {
                finish(index, .closed, at: now)
            }
            reconnect(index, now)
        } else if errno != EAGAIN, errno != EINTR {
            finish(index, .closed, at: now)
            reconnect(index, now)
        }
    }

    /// When the kernel had a reply, in nanoseconds of the run: what passes until this thread reads it is the generator's doing,
    /// and no part of the reply's latency. `now` where the kernel did not note it, or the wall clock was set meanwhile.
    @inline(__always)
    private func instant(ofArrival arrived: UInt64, after sentAt: UInt64, now: UInt64) -> UInt64 {
        let instant = arrived &- wallClockOffset &- origin
        return arrived != 0 && instant >= sentAt && instant <= now ? instant : now
    }

    @inline(__always)
    private func finishReply(_ index: Int, at now: UInt64) {
        let connection = connections.baseAddress! + index
        let position = connection.pointee.position
        let status = connection.pointee.reply.status
        let body = connection.pointee.reply.body
        outcomes[position].status = status
        outcomes[position].serverTicks = Outcome.ticks(connection.pointee.reply.serverNanoseconds)
        outcomes[position].snapshot = snapshots.find(in: body)
        let isSuccess = status >= 200 && status < 300
        finish(index, isSuccess ? .success : .status, at: now)
        if isSuccess {
            if outcomes[position].scheduled >= warmupEnd {
                if DegradedReplies.isDegraded(body) { degradedCount += 1 }
                if keepSample.contains(globalIndex(position)) {
                    keep(position, body, connection.pointee.reply.jsonByteCount)
                }
            }
        } else if errorBodies[status] == nil {
            errorBodies[status] = String(decoding: body.prefix(2000), as: UTF8.self)
        }
    }

    private func keep(_ position: Int, _ body: UnsafeRawBufferPointer, _ jsonByteCount: Int?) {
        guard kept.count < plan.keptCountMax / plan.threads,
            keptByteCount + body.count <= plan.keptBytesMax / plan.threads
        else { return }
        keptByteCount += body.count
        kept.append(Kept(position: position, body: [UInt8](body), jsonByteCount: jsonByteCount))
    }

    @inline(__always)
    private func finish(_ index: Int, _ kind: OutcomeKind, at now: UInt64) {
        let position = connections[index].position
        outcomes[position].kind = kind
        let service = now - min(now, connections[index].sentAt)
        outcomes[position].serviceTicks = Outcome.ticks(service)
        expectedService =
            (expectedService * 15 + (expectedService == 0 ? service : min(service, 2 * expectedService))) / 16
        busyCount -= 1
        count(outcomes[position])
    }

    @inline(__always)
    private func count(_ outcome: Outcome) {
        let isCounted = outcome.scheduled >= warmupEnd
        progress.countDone(outcome, isCounted: isCounted)
        guard isCounted else { return }
        sendLag.recordClamped(outcome.lag)
        connectionWait.recordClamped(outcome.wait)
        guard outcome.kind == .success else { return }
        latency.recordClamped(outcome.latency)
        service.recordClamped(outcome.service)
    }
}
