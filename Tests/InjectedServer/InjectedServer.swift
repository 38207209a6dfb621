internal import CLinux
internal import Glibc

/// A small, punctual HTTP/1.1 server that is slow, wrong or gone in known ways, to hold a load tester to.
///
///     let server = try InjectedServer(behaviour)
///     server.start()
///     ...  // a load test against server.port
///     let truth = server.stop()
///
/// `GET /` answers `ok`, `POST /v1/retrieve` like a retrieval daemon; `/livez`, `/readyz`, `/v1/snapshots` as that does.
/// `GET /truth` tells what the server saw as JSON, `POST /truth:reset` begins anew (the ordinals too).
public final class InjectedServer: @unchecked Sendable {
    // `thread` belongs to whoever calls `start` and `stop`; the loop's thread touches only `outcome`, at its end, and
    // `stop` reads that after joining it.

    /// The port could not be had.
    public struct Failure: Error, CustomStringConvertible {
        /// What did not work, with the system's reason.
        public let description: String

        init(_ what: String) {
            description = "\(what): \(String(cString: strerror(errno)))"
        }
    }

    /// The port on 127.0.0.1.
    public let port: UInt16
    private let behaviour: Behaviour
    private let ringCapacity: Int
    private let listener: Int32
    // A pipe: a byte in `ending` wakes the loop and ends it.
    private let wake: Int32
    private let ending: Int32
    private var thread: pthread_t?
    private var outcome = Truth()

    /// Listens, without answering yet.
    ///
    /// - port: 0 for any that is free.
    /// - ringCapacity: how many exchanges the truth holds (40 bytes each); of a longer run the last ones.
    public init(_ behaviour: Behaviour = Behaviour(), port: UInt16 = 0, ringCapacity: Int = 1 << 17) throws {
        self.behaviour = behaviour
        self.ringCapacity = max(1, ringCapacity)
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard listener >= 0 else { throw Failure("no socket") }
        var on: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && listen(descriptor, 4096) == 0
                    && getsockname(descriptor, $0, &size) == 0
            }
        }
        guard bound else {
            let failure = Failure("cannot listen on 127.0.0.1:\(port)")
            close(descriptor)
            throw failure
        }
        self.port = UInt16(bigEndian: address.sin_port)
        _ = fcntl(listener, F_SETFL, O_NONBLOCK)
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            close(listener)
            throw Failure("no pipe")
        }
        wake = ends[0]
        ending = ends[1]
        _ = fcntl(wake, F_SETFL, O_NONBLOCK)
    }

    deinit {
        _ = stop()
        close(listener)
        close(wake)
        close(ending)
    }

    /// Serves on a thread of its own. The clock of stalls starts here. Once only.
    public func start() {
        precondition(thread == nil, "a server starts once")
        var created = pthread_t()
        // The loop holds no reference to the server beyond `stop`, which `deinit` calls and which joins the thread.
        let status = pthread_create(
            &created, nil,
            { pointer in
                Unmanaged<InjectedServer>.fromOpaque(pointer!).takeUnretainedValue().run()
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
        precondition(status == 0, "no thread")
        thread = created
    }

    /// Ends the loop, closes every connection and tells what the server saw. A second call tells the same.
    @discardableResult
    public func stop() -> Truth {
        if let thread {
            var byte: UInt8 = 1
            _ = write(ending, &byte, 1)
            pthread_join(thread, nil)
            self.thread = nil
        }
        return outcome
    }

    private func run() {
        belfry_set_timer_slack(1)
        var loop = EventLoop(behaviour, listener: listener, wake: wake, ringCapacity: ringCapacity)
        loop.run()
        outcome = loop.ledger.truth
    }
}
