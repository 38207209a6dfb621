internal import CProcess
internal import Glibc
internal import Synchronization

/// The one thread on which snapshots are verified, loaded, warmed and destroyed. Once something serves it runs only on processor
/// time that nobody else wants, as do the processes it starts; so no lock that a request or a pause may wait for is ever
/// taken on it.
final class LoaderThread: Sendable {
    private let bell = Bell()
    private let jobs = Mutex<[@Sendable () -> Void]>([])
    private let isEnding = Atomic<Bool>(false)
    private let thread: Mutex<pthread_t?> = Mutex(nil)

    /// What wakes the thread.
    private final class Bell: @unchecked Sendable {
        var semaphore = sem_t()
        init() { sem_init(&semaphore, 0, 0) }
        deinit { sem_destroy(&semaphore) }
    }

    init() {
        var created = pthread_t()
        let status = startThread(&created, named: "belfry-load") { [self] in
            while true {
                while sem_wait(&bell.semaphore) != 0 {}
                if let job = jobs.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
                    job()
                } else if isEnding.load(ordering: .acquiring) {
                    return
                }
            }
        }
        precondition(status == 0, "a thread cannot be started: \(String(cString: strerror(status)))")
        thread.withLock { $0 = created }
    }

    /// Runs a job after those given before it; does not wait.
    func begin(_ job: @escaping @Sendable () -> Void) {
        jobs.withLock { $0.append(job) }
        sem_post(&bell.semaphore)
    }

    /// Runs a job and waits for its result.
    func run<Outcome: Sendable>(_ job: @escaping @Sendable () -> Outcome) -> Outcome {
        let done = Bell()
        let outcome = Mutex<Outcome?>(nil)
        begin {
            let result = job()
            outcome.withLock { $0 = result }
            sem_post(&done.semaphore)
        }
        while sem_wait(&done.semaphore) != 0 {}
        return outcome.withLock { $0! }
    }

    /// From here on everybody else comes first. There is no way back.
    func lowerPriority() {
        begin { _ = belfry_lower_priority() }
    }

    /// Ends the thread when its jobs are done.
    func end() {
        guard
            let running = thread.withLock({ thread in
                defer { thread = nil }; return thread
            })
        else { return }
        isEnding.store(true, ordering: .releasing)
        sem_post(&bell.semaphore)
        pthread_join(running, nil)
    }
}

/// Starts a thread that leaves signals to others. 0, or the `errno`.
func startThread(_ thread: inout pthread_t, named name: String, _ body: @escaping @Sendable () -> Void) -> Int32 {
    final class Start {
        let name: String
        let body: @Sendable () -> Void
        init(_ name: String, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
    var blocked = sigset_t()
    var before = sigset_t()
    sigfillset(&blocked)
    for signal in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS] { sigdelset(&blocked, signal) }
    pthread_sigmask(SIG_SETMASK, &blocked, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    let start = Unmanaged.passRetained(Start(name, body))
    let status = pthread_create(
        &thread, nil,
        { context in
            let start = Unmanaged<Start>.fromOpaque(context!).takeRetainedValue()
            belfry_name_thread(start.name)
            start.body()
            return nil
        }, start.toOpaque())
    if status != 0 { start.release() }
    return status
}
