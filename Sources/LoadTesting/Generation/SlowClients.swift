#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Clients that send a request a byte at a time and never finish soon (`--slow-clients`): a server that waits for one of
/// them keeps others waiting. They are not part of the latencies.
public struct SlowClients: Disturbance {
    private let target: Target
    private let count: Int
    private let message: [UInt8]

    /// - count: how many connections.
    /// - request: what they send, a byte every 50 ms each.
    public init(target: Target, count: Int, request: LoadRequest) {
        self.target = target
        self.count = count
        message = Array(
            (Messages.head("POST", target.path, authority: target.authority, bodyByteCount: request.body.utf8.count)
                + request.body).utf8)
    }

    /// Trickles until the run is over.
    public func act(clock: () -> UInt64, isOver: () -> Bool) -> [RunResult.Mark] {
        var clients: [(descriptor: Int32, sent: Int)] = []
        var closed = 0
        defer { for client in clients { close(client.descriptor) } }
        while !isOver() {
            while clients.count < count {
                let descriptor = target.open(isBlocking: false)
                guard descriptor >= 0 else { break }
                clients.append((descriptor, 0))
            }
            for index in clients.indices.reversed() {
                var byte = message[clients[index].sent % message.count]
                let sent = Glibc.send(clients[index].descriptor, &byte, 1, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
                if sent == 1 {
                    clients[index].sent += 1
                } else if errno != EAGAIN, errno != EINPROGRESS {
                    close(clients[index].descriptor)
                    clients.remove(at: index)
                    closed += 1
                }
            }
            usleep(50_000)
        }
        let end = clock()
        return [
            RunResult.Mark(
                kind: "slow clients", label: "\(count) clients, \(closed) closed by the server", start: 0, end: end)
        ]
    }
}
