import Synchronization

/// What one worker counts. Written by its thread, read by any.
final class WorkerCounters: Sendable {
    let connections = Atomic<Int>(0)
    let requests = Atomic<Int>(0)
    let refused = Atomic<Int>(0)
}

/// How much a server has done, summed over its workers.
public struct HTTPCounters: Sendable, Equatable {
    /// Connections that are open now, those to be refused included.
    public var connections = 0
    /// Requests that a handler was called for, since the start.
    public var requests = 0
    /// Requests that the server itself answered with an error or cut off (400, 413, 501, 503), since the start. What
    /// libmicrohttpd refuses before the head is complete is in neither number.
    public var refused = 0
}
