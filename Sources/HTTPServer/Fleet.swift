import Synchronization

/// The workers of a running server and the sockets they listen on.
final class Fleet: Sendable {
    let address: ListenAddress
    let workers: [Worker]
    private let sockets: Mutex<ListeningSockets?>  // nil: all workers have ended

    /// Listens and starts the workers.
    init(
        _ configuration: HTTPConfiguration, makeHandler: @escaping @Sendable (Int) -> (Exchange) -> Void
    ) throws(HTTPServerError) {
        let sockets = try ListeningSockets.open(
            configuration.address, count: configuration.workers, backlog: configuration.limits.backlog)
        var workers: [Worker] = []
        for (number, socket) in sockets.descriptors.enumerated() {
            let worker = Worker(
                number: number, socket: socket, configuration: configuration, makeHandler: makeHandler)
            do throws(HTTPServerError) {
                try worker.start()
            } catch {
                for worker in workers { worker.stop(at: 0) }
                for worker in workers { worker.join() }
                throw error
            }
            workers.append(worker)
        }
        address = sockets.address
        self.workers = workers
        self.sockets = Mutex(sockets)
    }

    /// Ends the workers by the deadline, in nanoseconds of CLOCK_MONOTONIC, and frees the address. Whoever calls it
    /// second waits for the same end.
    func end(by deadline: UInt64) {
        for worker in workers { worker.stop(at: deadline) }
        sockets.withLock { sockets in
            guard sockets != nil else { return }
            for worker in workers { worker.join() }
            sockets = nil
        }
    }

    var counters: HTTPCounters {
        workers.reduce(into: HTTPCounters()) {
            $0.connections += $1.counters.connections.load(ordering: .relaxed)
            $0.requests += $1.counters.requests.load(ordering: .relaxed)
            $0.refused += $1.counters.refused.load(ordering: .relaxed)
        }
    }
}
