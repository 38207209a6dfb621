internal import CLinux
internal import Glibc

/// CLOCK_MONOTONIC in nanoseconds.
@inline(__always)
func clockNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// The server's one thread: reads what came, sends what is due, stands still when it is time for that.
struct EventLoop: ~Copyable {
    static let descriptorMax = 65_536

    let behaviour: Behaviour
    var ledger: Ledger
    private let listener: Int32
    private let wake: Int32
    private let epoll: Int32
    private let connections: UnsafeMutablePointer<UnsafeMutablePointer<ClientConnection>?>
    private var queue = DueQueue()
    private var answer = RetrievalAnswer()
    private var body = ByteQueue(capacity: 65_536)
    private let plainBody: [UInt8]
    // When the single server of a serial delay is free again.
    private var freeAt: UInt64 = 0
    private var tokens: Double
    private var tokensAt: UInt64 = 0
    private var nextStall: UInt64 = .max
    // Snapshots: indices into `lives`.
    private var lives: [SnapshotLife]
    private var latestLink = ""
    private var nextLook: UInt64 = 0
    private var active = 0
    private var previous: Int?
    private var activation: (at: UInt64, snapshot: Int)?
    private var isEnding = false
    private var openCount = 0

    init(_ behaviour: Behaviour, listener: Int32, wake: Int32, ringCapacity: Int) {
        self.behaviour = behaviour
        self.listener = listener
        self.wake = wake
        ledger = Ledger(capacity: ringCapacity)
        epoll = epoll_create1(0)
        connections = .allocate(capacity: EventLoop.descriptorMax)
        connections.initialize(repeating: nil, count: EventLoop.descriptorMax)
        plainBody =
            behaviour.bodyByteCount == 0
            ? Array("ok".utf8) : [UInt8](repeating: UInt8(ascii: "x"), count: behaviour.bodyByteCount)
        tokens = behaviour.capacityBurst
        lives = behaviour.snapshots.map { SnapshotLife(id: $0) }
        if let directory = behaviour.watchedDirectory { latestLink = SnapshotLife.current(directory) }
        precondition(!behaviour.snapshots.isEmpty, "a snapshot has to serve")
    }

    deinit {
        for descriptor in 0..<EventLoop.descriptorMax {
            guard let connection = connections[descriptor] else { continue }
            if connection.pointee.isOpen { close(connection.pointee.descriptor) }
            connection.pointee.input.deallocate()
            connection.pointee.output.deallocate()
            connection.deallocate()
        }
        connections.deallocate()
        body.deallocate()
        close(epoll)
    }

    mutating func run() {
        _ = belfry_epoll_set(epoll, EPOLL_CTL_ADD, listener, EPOLLIN.rawValue, UInt32(listener))
        _ = belfry_epoll_set(epoll, EPOLL_CTL_ADD, wake, EPOLLIN.rawValue, UInt32(wake))
        if let stall = behaviour.stall { nextStall = clockNanoseconds() + stall.offsetNanoseconds }
        let spins = behaviour.spins
        let events = UnsafeMutablePointer<belfry_event>.allocate(capacity: 64)
        defer { events.deallocate() }
        while !isEnding {
            sendDue()
            // Nobody is kept waiting by a sleep while nobody is connected, and a server that was left behind costs nothing.
            let count = belfry_epoll_wait(epoll, events, 64, spins && openCount > 0 ? 0 : patienceMillis())
            if count <= 0 { continue }
            if clockNanoseconds() >= nextStall { continue }  // what came is told again after the stall
            for index in 0..<Int(count) {
                take(events[index])
                // Between two requests, so that a burst of them holds up no reply.
                sendDue()
            }
        }
    }

    /// How long to sleep: to 200 us before the next instant that matters, the kernel's clock being as coarse as 1 ms.
    private func patienceMillis() -> Int32 {
        let look = behaviour.watchedDirectory == nil ? UInt64.max : nextLook
        let next = min(queue.earliest, nextStall, activation?.at ?? .max, look)
        let now = clockNanoseconds()
        guard next > now + 1_200_000 else { return 0 }
        return Int32(min((next - now - 200_000) / 1_000_000, 1000))
    }

    private mutating func sendDue() {
        var now = clockNanoseconds()
        if now >= nextStall {
            standStill()
            now = clockNanoseconds()
        }
        if let activation, now >= activation.at {
            lives[active].destroyedAt = wallClockNanoseconds() &+ behaviour.destructionNanoseconds
            if behaviour.destructionNanoseconds == .max { lives[active].destroyedAt = nil }
            previous = active
            active = activation.snapshot
            lives[active].servingAt = wallClockNanoseconds()
            self.activation = nil
        }
        if let directory = behaviour.watchedDirectory, now >= nextLook { look(directory, now) }
        while queue.earliest <= now {
            let entry = queue.removeEarliest()
            guard let connection = connections[Int(entry.descriptor)], connection.pointee.isOpen,
                connection.pointee.generation == entry.generation
            else { continue }
            if transmit(connection) { process(connection) }
            now = clockNanoseconds()
            if now >= nextStall { return }
        }
    }

    /// Finds what `current` names, if that is new.
    private mutating func look(_ directory: String, _ now: UInt64) {
        nextLook = now + 2_000_000
        let id = SnapshotLife.current(directory)
        guard id != latestLink, !id.isEmpty else { return }
        latestLink = id
        lives.append(SnapshotLife(id: id, foundAt: wallClockNanoseconds()))
        if let reason = behaviour.refusalReason?(id) {
            lives[lives.count - 1].reason = reason
        } else {
            // From when it was noted as found, so that it serves no sooner after that than was asked for.
            activation = (clockNanoseconds() + behaviour.activationNanoseconds, lives.count - 1)
        }
    }

    private mutating func standStill() {
        guard let stall = behaviour.stall else { return }
        let start = nextStall
        let end = start + stall.nanoseconds
        while true {
            let now = clockNanoseconds()
            guard now < end else { break }
            // Long sleeps in parts, so that `stop` is not kept waiting; the last part awake, to end on time.
            if end - now > 300_000 {
                var pause = timespec(tv_sec: 0, tv_nsec: Int(min(end - now - 200_000, 20_000_000)))
                nanosleep(&pause, nil)
                var byte: UInt8 = 0
                if Glibc.read(wake, &byte, 1) == 1 {
                    isEnding = true
                    break
                }
            }
        }
        ledger.counts.stalls.append((start, end))
        nextStall = start + max(stall.periodNanoseconds, stall.nanoseconds + 1)
    }

    private mutating func take(_ event: belfry_event) {
        let descriptor = Int32(event.token)
        if descriptor == wake {
            isEnding = true
        } else if descriptor == listener {
            accept()
        } else if let connection = connections[Int(descriptor)], connection.pointee.isOpen {
            if event.events & EPOLLOUT.rawValue != 0, connection.pointee.awaitsRoom {
                connection.pointee.awaitsRoom = false
                _ = belfry_epoll_set(epoll, EPOLL_CTL_MOD, descriptor, EPOLLIN.rawValue, UInt32(descriptor))
                if transmit(connection) { process(connection) }
            }
            if event.events & ~EPOLLOUT.rawValue != 0, connection.pointee.isOpen { read(connection) }
        }
    }

    private mutating func accept() {
        while true {
            let descriptor = Glibc.accept(listener, nil, nil)
            guard descriptor >= 0 else { return }
            guard descriptor < EventLoop.descriptorMax else {
                close(descriptor)
                continue
            }
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
            var on: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
            let connection =
                connections[Int(descriptor)]
                ?? {
                    let made = UnsafeMutablePointer<ClientConnection>.allocate(capacity: 1)
                    made.initialize(to: ClientConnection(descriptor: descriptor))
                    return made
                }()
            connections[Int(descriptor)] = connection
            connection.pointee.generation &+= 1
            connection.pointee.isOpen = true
            openCount += 1
            connection.pointee.isBusy = false
            connection.pointee.awaitsRoom = false
            connection.pointee.input.clear()
            connection.pointee.output.clear()
            ledger.counts.connections += 1
            _ = belfry_epoll_set(epoll, EPOLL_CTL_ADD, descriptor, EPOLLIN.rawValue, UInt32(descriptor))
        }
    }

    private mutating func read(_ connection: UnsafeMutablePointer<ClientConnection>) {
        connection.pointee.input.reserve(16_384)
        let count = recv(
            connection.pointee.descriptor, connection.pointee.input.base + connection.pointee.input.end, 16_384, 0)
        if count > 0 {
            connection.pointee.input.end += count
            process(connection)
        } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
            drop(connection)
        }
    }

    private mutating func drop(_ connection: UnsafeMutablePointer<ClientConnection>) {
        if connection.pointee.isBusy, connection.pointee.ordinal > 0 { ledger.counts.abandoned += 1 }
        connection.pointee.isOpen = false
        openCount -= 1
        connection.pointee.isBusy = false
        close(connection.pointee.descriptor)
    }

    /// Takes the requests that have come whole, one after the other's reply.
    private mutating func process(_ connection: UnsafeMutablePointer<ClientConnection>) {
        while connection.pointee.isOpen, !connection.pointee.isBusy,
            let head = RequestHead(connection.pointee.input.bytes)
        {
            let now = clockNanoseconds()
            connection.pointee.isBusy = true
            connection.pointee.ordinal = 0
            connection.pointee.closesAfterReply = head.closes
            connection.pointee.closesUnanswered = false
            connection.pointee.pieceByteCount = 0
            connection.pointee.repeatsFrom = -1
            connection.pointee.output.clear()
            let due: UInt64
            if head.isPost ? head.path.isEqual(to: "/v1/retrieve") : head.path.isEqual(to: "/") {
                due = takeData(connection, head, now)
            } else {
                due = takeControl(connection, head, now)
            }
            connection.pointee.input.start += head.byteCount
            if due <= now {
                if !transmit(connection) { return }
            } else {
                queue.insert(
                    .init(
                        due: due, descriptor: connection.pointee.descriptor, generation: connection.pointee.generation))
            }
        }
    }

    /// Sends what the connection has to send; true when the reply is out and the connection open.
    private mutating func transmit(_ connection: UnsafeMutablePointer<ClientConnection>) -> Bool {
        if connection.pointee.closesUnanswered {
            ledger.counts.closed += 1
            connection.pointee.isBusy = false
            drop(connection)
            return false
        }
        var sending: UInt64 = 0
        while connection.pointee.output.count > 0 {
            sending = clockNanoseconds()
            let piece = connection.pointee.pieceByteCount
            let rest = connection.pointee.output.bytes
            let sent = send(
                connection.pointee.descriptor, rest.baseAddress, piece > 0 ? min(piece, rest.count) : rest.count,
                Int32(MSG_NOSIGNAL))
            if sent < 0 {
                if errno == EINTR { continue }
                guard errno == EAGAIN else {
                    drop(connection)
                    return false
                }
                connection.pointee.awaitsRoom = true
                let descriptor = connection.pointee.descriptor
                _ = belfry_epoll_set(
                    epoll, EPOLL_CTL_MOD, descriptor, EPOLLIN.rawValue | EPOLLOUT.rawValue, UInt32(descriptor))
                return false
            }
            connection.pointee.output.start += sent
            if piece > 0, sent < rest.count { return sendLater(connection) }
        }
        if connection.pointee.repeatsFrom >= 0 {
            connection.pointee.output.start = connection.pointee.repeatsFrom
            return sendLater(connection)
        }
        if connection.pointee.ordinal > 0 {
            ledger.end(ordinal: connection.pointee.ordinal, sending: sending, sent: clockNanoseconds())
        }
        connection.pointee.isBusy = false
        if connection.pointee.closesAfterReply {
            drop(connection)
            return false
        }
        return true
    }

    private mutating func sendLater(_ connection: UnsafeMutablePointer<ClientConnection>) -> Bool {
        queue.insert(
            .init(
                due: clockNanoseconds() + behaviour.pieceGapNanoseconds, descriptor: connection.pointee.descriptor,
                generation: connection.pointee.generation))
        return false
    }

    // MARK: Data requests

    /// Makes the reply and says when it is due.
    private mutating func takeData(
        _ connection: UnsafeMutablePointer<ClientConnection>, _ head: RequestHead, _ now: UInt64
    ) -> UInt64 {
        let ordinal = ledger.begin(read: now)
        let seed = behaviour.seed
        connection.pointee.ordinal = ordinal
        if isBeyondCapacity(now) {
            refuse(connection, status: 503, retryAfterSeconds: 1)
            ledger.plan(ordinal: ordinal, due: now, status: 503)
            return now
        }
        var delay =
            behaviour.slow.contains(ordinal, seed: seed, purpose: 1)
            ? behaviour.slowDelayNanoseconds : behaviour.delayNanoseconds
        if activation != nil { delay += behaviour.activationBumpNanoseconds }
        var due = now + delay
        if behaviour.isSerial {
            due = max(now, freeAt) + delay
            freeAt = due
        }
        if behaviour.closes.contains(ordinal, seed: seed, purpose: 2) {
            connection.pointee.closesUnanswered = true
            ledger.plan(ordinal: ordinal, due: due, status: 0)
            return due
        }
        for index in behaviour.refusals.indices
        where behaviour.refusals[index].share.contains(ordinal, seed: seed, purpose: 16 + UInt64(index)) {
            let refusal = behaviour.refusals[index]
            refuse(connection, status: refusal.status, retryAfterSeconds: refusal.retryAfterSeconds)
            ledger.plan(ordinal: ordinal, due: due, status: refusal.status)
            return due
        }
        ledger.plan(ordinal: ordinal, due: due, status: 200)
        body.clear()
        if head.isPost {
            let index = behaviour.wrong.indices.first {
                behaviour.wrong[$0].share.contains(ordinal, seed: seed, purpose: 32 + UInt64($0))
            }
            let request = connection.pointee.input.bytes.slice(head.headByteCount..<head.byteCount)
            if let answer = behaviour.answer {
                answer(lives[active].id, Array(request)).withUnsafeBufferPointer { body.append($0) }
            } else {
                let isWrong = answer.append(
                    to: &body, request: request, snapshot: lives[active].id, missedOfTen: behaviour.missedOfTen,
                    fault: index.map { behaviour.wrong[$0].fault })
                if isWrong { ledger.counts.wrong += 1 }
            }
        } else {
            plainBody.withUnsafeBufferPointer { body.append($0) }
        }
        let odd = behaviour.odd.indices.first {
            behaviour.odd[$0].share.contains(ordinal, seed: seed, purpose: 64 + UInt64($0))
        }
        if let odd {
            ledger.counts.odd += 1
            appendOdd(behaviour.odd[odd].oddity, connection, isJSON: head.isPost)
        } else {
            appendReply(&connection.pointee.output, isJSON: head.isPost)
        }
        return due
    }

    private mutating func isBeyondCapacity(_ now: UInt64) -> Bool {
        guard let rate = behaviour.capacityPerSecond else { return false }
        if tokensAt > 0 {
            tokens = min(behaviour.capacityBurst, tokens + Double(now - tokensAt) * rate / 1e9)
        }
        tokensAt = now
        guard tokens >= 1 else { return true }
        tokens -= 1
        return false
    }

    private mutating func refuse(
        _ connection: UnsafeMutablePointer<ClientConnection>, status: Int, retryAfterSeconds: Int?
    ) {
        ledger.counts.refused += 1
        problem(
            &connection.pointee.output, status: status, kind: status == 503 ? "overloaded" : "injected",
            fields: retryAfterSeconds.map { "Retry-After: \($0)\r\n" } ?? "")
    }

    private func appendReply(_ output: inout ByteQueue, isJSON: Bool, closing: Bool = false) {
        output.append(
            isJSON
                ? "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                : "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")
        if closing { output.append("Connection: close\r\n") }
        output.append("Content-Length: ")
        output.append(body.count)
        output.append("\r\n\r\n")
        output.append(body.bytes)
    }

    private func appendOdd(
        _ oddity: Behaviour.Oddity, _ connection: UnsafeMutablePointer<ClientConnection>, isJSON: Bool
    ) {
        let type: StaticString = isJSON ? "Content-Type: application/json\r\n" : "Content-Type: text/plain\r\n"
        switch oddity {
        case .garbage:
            connection.pointee.output.append("\u{1}\u{2}BELFRY-8 no such protocol\r\n\r\n%%%%\r\n")
        case .endlessHead:
            connection.pointee.output.append("HTTP/1.1 200 OK\r\n")
            connection.pointee.repeatsFrom = connection.pointee.output.end
            connection.pointee.output.append("X-More: there is another field after this one\r\n")
        case .shortBody:
            connection.pointee.output.append("HTTP/1.1 200 OK\r\n")
            connection.pointee.output.append(type)
            connection.pointee.output.append("Content-Length: ")
            connection.pointee.output.append(body.count)
            connection.pointee.output.append("\r\n\r\n")
            connection.pointee.output.append(body.bytes.slice(0..<(body.count / 2)))
            connection.pointee.closesAfterReply = true
        case .chunked, .brokenChunks:
            connection.pointee.output.append("HTTP/1.1 200 OK\r\n")
            connection.pointee.output.append(type)
            connection.pointee.output.append("Transfer-Encoding: chunked\r\n\r\n")
            var position = 0
            var size = 1
            while position < body.count {
                let length = min(size, body.count - position)
                connection.pointee.output.append(String(length, radix: 16) + "\r\n")
                connection.pointee.output.append(body.bytes.slice(position..<(position + length)))
                connection.pointee.output.append("\r\n")
                position += length
                size = size * 3 % 1021 + 1
                if oddity == .brokenChunks { break }
            }
            connection.pointee.output.append(oddity == .chunked ? "0\r\n\r\n" : "zz\r\nno size\r\n0\r\n\r\n")
        case .split:
            appendReply(&connection.pointee.output, isJSON: isJSON)
            connection.pointee.pieceByteCount = max(1, behaviour.pieceByteCount)
        case .doubled:
            appendReply(&connection.pointee.output, isJSON: isJSON)
            appendReply(&connection.pointee.output, isJSON: isJSON)
        case .closing:
            appendReply(&connection.pointee.output, isJSON: isJSON, closing: true)
            connection.pointee.closesAfterReply = true
        case .untilClose:
            connection.pointee.output.append("HTTP/1.0 200 OK\r\n")
            connection.pointee.output.append(type)
            connection.pointee.output.append("\r\n")
            connection.pointee.output.append(body.bytes)
            connection.pointee.closesAfterReply = true
        }
    }

    // MARK: Everything else

    private mutating func takeControl(
        _ connection: UnsafeMutablePointer<ClientConnection>, _ head: RequestHead, _ now: UInt64
    ) -> UInt64 {
        let path = head.path.text
        let prefix = "/v1/snapshots"
        if path == "/livez" || path == "/readyz" {
            connection.pointee.output.append("HTTP/1.1 204 No Content\r\n\r\n")
        } else if path == "/truth", !head.isPost {
            json(&connection.pointee.output, status: 200, ledger.truth.json)
        } else if path == "/truth:reset", head.isPost {
            ledger.reset()
            connection.pointee.output.append("HTTP/1.1 204 No Content\r\n\r\n")
        } else if path == prefix, !head.isPost {
            ledger.counts.administrative += 1
            let wall = wallClockNanoseconds()
            let states = lives.indices.map { index in
                lives[index].json(isServing: index == active, isLoading: index == activation?.snapshot, now: wall)
            }
            let before = previous.map { "\"\(lives[$0].id)\"" } ?? "null"
            json(
                &connection.pointee.output, status: 200,
                "{\"serving\":\"\(lives[active].id)\",\"previous\":\(before),"
                    + "\"snapshots\":[\(states.joined(separator: ","))]}")
        } else if path == "/metrics", !head.isPost {
            let served = lives.count { $0.foundAt != nil && $0.servingAt != nil }
            json(
                &connection.pointee.output, status: 200,
                "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes "
                    + "\(behaviour.residentBytes(served))\n")
        } else if head.isPost, path.hasPrefix(prefix + "/"), path.hasSuffix(":activate") {
            ledger.counts.administrative += 1
            let id = String(path.dropFirst(prefix.count + 1).dropLast(":activate".count))
            guard let index = lives.firstIndex(where: { $0.id == id }) else {
                problem(&connection.pointee.output, status: 409, kind: "unknown-snapshot")
                return now
            }
            return activate(connection, index, waits: !head.query.text.contains("wait=0"), now)
        } else if head.isPost, path == prefix + ":rollback" {
            ledger.counts.administrative += 1
            guard let previous else {
                problem(&connection.pointee.output, status: 409, kind: "nothing-to-roll-back-to")
                return now
            }
            return activate(connection, previous, waits: true, now)
        } else {
            problem(&connection.pointee.output, status: 404, kind: "not-found")
        }
        return now
    }

    private mutating func activate(
        _ connection: UnsafeMutablePointer<ClientConnection>, _ snapshot: Int, waits: Bool, _ now: UInt64
    ) -> UInt64 {
        let at = now + behaviour.activationNanoseconds
        activation = (at, snapshot)
        json(
            &connection.pointee.output, status: waits ? 200 : 202,
            "{\"id\":\"\(lives[snapshot].id)\",\"state\":\"\(waits ? "serving" : "loading")\"}")
        // With no time to pass it is in force before the next request is read: `sendDue` runs in between.
        return waits ? at : now
    }

    private func problem(_ output: inout ByteQueue, status: Int, kind: String, fields: String = "") {
        let body = "{\"type\":\"urn:belfry:problem:\(kind)\",\"title\":\"\(kind)\",\"status\":\(status)}"
        output.append(
            "HTTP/1.1 \(status) Injected\r\nContent-Type: application/problem+json\r\n\(fields)"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }

    private func json(_ output: inout ByteQueue, status: Int, _ body: String) {
        output.append(
            "HTTP/1.1 \(status) OK\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        )
    }
}
