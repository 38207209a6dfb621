import CMicrohttpd
import Memory
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What libmicrohttpd calls, in this order: a connection is accepted; a request line has arrived; the head is complete;
/// parts of the body, if any; the body is complete, which is where the handler runs; the reply is sent or the
/// connection is lost; the connection is closed.
///
/// The handler must not run when the head is complete: libmicrohttpd takes a reply at that point as a refusal to read
/// the body, and closes the connection after it.
extension Worker {
    func setCallbacks(_ options: inout belfry_http_options) {
        // The pointers are what this file passed to libmicrohttpd: the worker, which outlives its daemon, and a
        // connection, which is retained from its start to its end.
        options.connection_changed = { context, connection, socketContext, change in
            let worker = Unmanaged<Worker>.fromOpaque(context!).takeUnretainedValue()
            if change == .CONNECTION_NOTIFY_STARTED {
                let record = worker.accepted(connection!)
                socketContext!.pointee = Unmanaged.passRetained(record).toOpaque()
            } else if let record = socketContext!.pointee {
                worker.closed(Unmanaged<Connection>.fromOpaque(record).takeRetainedValue())
                socketContext!.pointee = nil
            }
        }
        options.target_received = { context, target, connection in
            let worker = Unmanaged<Worker>.fromOpaque(context!).takeUnretainedValue()
            let record = Unmanaged<Connection>.fromOpaque(belfry_http_socket_context(connection))
            worker.begin(record.takeUnretainedValue(), connection!, target: target!)
            return record.toOpaque()
        }
        options.handle = { context, connection, _, method, version, upload, uploadSize, request in
            let worker = Unmanaged<Worker>.fromOpaque(context!).takeUnretainedValue()
            let record = Unmanaged<Connection>.fromOpaque(request!.pointee!).takeUnretainedValue()
            let part = UnsafeRawBufferPointer(start: upload, count: uploadSize!.pointee)
            uploadSize!.pointee = 0
            return worker.proceed(record, connection!, method: method!, version: version!, part: part)
                ? .YES : .NO
        }
        options.completed = { context, _, request, _ in
            guard let record = request!.pointee else { return }
            let worker = Unmanaged<Worker>.fromOpaque(context!).takeUnretainedValue()
            worker.finish(Unmanaged<Connection>.fromOpaque(record).takeUnretainedValue())
            request!.pointee = nil
        }
    }

    /// The time; of the first callback of a round also when the round began.
    private func now() -> UInt64 {
        let now = monotonicNanoseconds()
        if roundBeganAt == 0 { roundBeganAt = now }
        return now
    }

    private func accepted(_ connection: OpaquePointer) -> Connection {
        callbackCount += 1
        let isRefused = admittedCount >= limits.connectionsPerWorkerMax
        if isRefused {
            belfry_http_set_idle_timeout(connection, UInt32(limits.refusalTimeoutSeconds))
        } else {
            admittedCount += 1
        }
        let record = Connection(
            connection, socket: belfry_http_socket(connection), isRefused: isRefused, index: connections.count,
            readySince: now())
        connections.append(record)
        counters.connections.store(connections.count, ordering: .relaxed)
        return record
    }

    private func closed(_ record: Connection) {
        finish(record)
        if !record.isRefused { admittedCount -= 1 }
        let last = connections.removeLast()
        if last !== record {
            connections[record.index] = last
            last.index = record.index
        }
        counters.connections.store(connections.count, ordering: .relaxed)
    }

    private func begin(_ record: Connection, _ connection: OpaquePointer, target: UnsafePointer<CChar>) {
        finish(record)
        let exchange = takeExchange()
        let now = now()
        // Bytes that are read in a round were there when it began, unless libmicrohttpd looked for them by itself: it does
        // right after it accepted a connection or sent a reply.
        let polledAt = record.readySince < roundBeganAt ? roundBeganAt : now
        exchange.begin(target: bytes(of: target), connection: connection, at: now, polledAt: polledAt)
        record.exchange = exchange
        record.sweptByteCount = -1
    }

    private func finish(_ record: Connection) {
        callbackCount += 1
        guard let exchange = record.exchange else { return }
        record.exchange = nil
        record.readySince = now()
        giveBack(exchange)
    }

    /// Takes a request one callback further. False closes the connection without a reply.
    private func proceed(
        _ record: Connection, _ connection: OpaquePointer, method: UnsafePointer<CChar>,
        version: UnsafePointer<CChar>, part: UnsafeRawBufferPointer
    ) -> Bool {
        callbackCount += 1
        guard let exchange = record.exchange else { return false }
        switch exchange.stage {
        case .head:
            exchange.stage = .body
            exchange.begin(method: method)
            let check = HeadCheck(
                connection, method: exchange.methodText, target: exchange.target.bytes,
                version: Text(bytes(of: version)))
            return act(on: check, exchange, isRefused: record.isRefused)
        case .body where !part.isEmpty:
            return take(part, exchange, record)
        case .body:
            if exchange.refusal != nil { return refuse(exchange) }
            counters.requests.add(1, ordering: .relaxed)
            return answer(exchange, record)
        case .postponed:
            return answer(exchange, record)
        case .aside:
            return false  // the worker has ended
        case .done:
            exchange.stage = .answered
            return send(exchange)
        case .answered:
            return true
        }
    }

    /// Runs the handler, and sends what it answers unless it postpones that or sets the request aside.
    private func answer(_ exchange: Exchange, _ record: Connection) -> Bool {
        exchange.stage = .answered
        exchange.isDone = nil
        handler(exchange)
        if exchange.isDone != nil {
            precondition(suspends, "a reply is postponed by a server that is not configured for it")
            // A worker that has ended calls nobody again.
            guard !hasEnded else { return false }
            exchange.stage = .postponed
            postponedCount += 1
            MHD_suspend_connection(record.connection)
            return true
        }
        if exchange.wantsSettingAside {
            precondition(suspends, "a request is set aside by a server that is not configured for it")
            guard !hasEnded else { return false }
            exchange.stage = .aside
            aside.append(record)
            MHD_suspend_connection(record.connection)
            return true
        }
        return send(exchange)
    }

    private func send(_ exchange: Exchange) -> Bool {
        if isEnding { exchange.closesConnection = true }
        return exchange.send(withServerTiming: sendsServerTiming)
    }

    /// Goes on with postponed requests whose time has come, or with all.
    func resumePostponed(all: Bool = false) {
        guard postponedCount > 0 else { return }
        for connection in connections {
            guard let exchange = connection.exchange, exchange.stage == .postponed, let isDone = exchange.isDone,
                all || isDone()
            else { continue }
            exchange.isDone = nil
            postponedCount -= 1
            MHD_resume_connection(connection.connection)
        }
    }

    /// Decides at the end of the head whether the request is refused. Refused requests are read to their end, within
    /// `discardBytesMax`, before they are answered; unless one cannot tell where they end, or the client waits for our
    /// word before it sends the body.
    private func act(on check: HeadCheck, _ exchange: Exchange, isRefused: Bool) -> Bool {
        if let problem = check.problem {
            exchange.refusal = problem
            return refuse(exchange)
        }
        let declared = check.declaredByteCount ?? 0
        if isRefused {
            exchange.refusal = .tooManyConnections
        } else if declared > UInt64(limits.bodyBytesMax) {
            exchange.refusal = .bodyTooLarge
        }
        if exchange.refusal != nil, check.awaitsContinue || declared > UInt64(limits.discardBytesMax) {
            return refuse(exchange)
        }
        return true
    }

    private func take(_ part: UnsafeRawBufferPointer, _ exchange: Exchange, _ record: Connection) -> Bool {
        if exchange.refusal == nil {
            if exchange.received.count + part.count <= limits.bodyBytesMax {
                exchange.received.append(part)
                return true
            }
            exchange.refusal = .bodyTooLarge
            exchange.discardedByteCount = exchange.received.count
        }
        exchange.discardedByteCount += part.count
        guard exchange.discardedByteCount > limits.discardBytesMax else { return true }
        sayBeforeCutting(exchange, record)
        counters.refused.add(1, ordering: .relaxed)
        return false
    }

    private func refuse(_ exchange: Exchange) -> Bool {
        guard let problem = exchange.refusal else { return false }
        exchange.stage = .answered
        exchange.answer(problem)
        if problem.status == 503 { exchange.setHeader("Retry-After", limits.retryAfterSeconds) }
        exchange.closesConnection = true
        counters.refused.add(1, ordering: .relaxed)
        return exchange.send(withServerTiming: sendsServerTiming)
    }

    /// In the middle of a body libmicrohttpd takes no reply, it can only cut the connection. A client that looks gets
    /// to read why: nothing else is on its way to it then, so the reply is written past libmicrohttpd. If the socket
    /// does not take it at once, it is lost.
    private func sayBeforeCutting(_ exchange: Exchange, _ record: Connection) {
        guard let problem = exchange.refusal else { return }
        var content = ByteWriter()
        problem.write(to: &content)
        var message = ByteWriter()
        message.append("HTTP/1.1 ")
        message.append(decimal: problem.status)
        message.append(" Refused\r\nContent-Type: application/problem+json\r\nConnection: close\r\nContent-Length: ")
        message.append(decimal: content.count)
        message.append("\r\n\r\n")
        content.withUnsafeBytes { message.append($0) }
        message.withUnsafeBytes {
            _ = Glibc.send(record.socket, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        }
    }
}
