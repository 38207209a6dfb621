internal import Foundation

/// Threads of a test's own, one for each body; the kernel and not a pool decides when they run.
///
///     let threads = TestThreads(4) { number in read(number) }
///     ...
///     threads.join()
public final class TestThreads: Sendable {
    private let done = DispatchSemaphore(value: 0)
    private let count: Int

    /// Starts them; `body` gets each one's number from 0.
    public init(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        self.count = count
        for number in 0..<count {
            let thread = Thread { [done] in
                body(number)
                done.signal()
            }
            thread.stackSize = 4 << 20
            thread.start()
        }
    }

    /// Waits for the end of all.
    public func join() {
        for _ in 0..<count { done.wait() }
    }

    /// Waits for the end of all, no longer than so many seconds; false if one still runs.
    public func join(withinSeconds seconds: Double) -> Bool {
        let deadline = DispatchTime.now() + seconds
        for _ in 0..<count where done.wait(timeout: deadline) == .timedOut { return false }
        return true
    }
}

/// Waits until a condition holds; false if it does not within so many seconds.
public func eventually(withinSeconds seconds: Double = 120, _ condition: () throws -> Bool) rethrows -> Bool {
    let deadline = Date().addingTimeInterval(seconds)
    while true {
        if try condition() { return true }
        if Date() > deadline { return false }
        Thread.sleep(forTimeInterval: 0.002)
    }
}
