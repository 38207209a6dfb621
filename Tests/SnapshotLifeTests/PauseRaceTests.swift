import Foundation
import TestSupport
import Testing

@testable import SnapshotLife

/// Pauses against activations, rollbacks and restarts.
@Suite struct PauseRaceTests {
    private static var raceCount: Int { Repetitions.count(100, long: 1000) }

    /// What was acknowledged: a paused item's number is that of the pause. Taken out before a resume is sent.
    private final class Ledger: @unchecked Sendable {
        // Guarded by `lock`.
        private let lock = NSLock()
        private var paused: [String: Int] = [:]
        private var pauseCount = 0
        private var faults: [String] = []
        private var checkCount = 0
        private var isAtEnd = false

        var acknowledged: [String: Int] { lock.withLock { paused } }
        func acknowledge(_ ids: [String]) {
            lock.withLock {
                for id in ids {
                    pauseCount += 1
                    paused[id] = pauseCount
                }
            }
        }
        func withdraw(_ ids: [String]) { lock.withLock { for id in ids { paused[id] = nil } } }
        func checked() { lock.withLock { checkCount += 1 } }
        func fault(_ text: String) { lock.withLock { faults.append(text) } }
        func end() { lock.withLock { isAtEnd = true } }
        var isOver: Bool { lock.withLock { isAtEnd } }
        var outcome: (pauses: Int, checks: Int, faults: [String]) { lock.withLock { (pauseCount, checkCount, faults) } }
    }

    /// The daemon of the moment. Requests and restarts exclude each other, as they do for a client; pauses and restarts do not.
    private final class Present: @unchecked Sendable {
        private var lock = pthread_rwlock_t()
        // Guarded by `pointer`; replaced under `lock`.
        private let pointer = NSLock()
        private var tested: LifeUnderTest

        init(_ tested: LifeUnderTest) {
            self.tested = tested
            // A restart is not to wait for readers that never let go.
            var attributes = pthread_rwlockattr_t()
            pthread_rwlockattr_init(&attributes)
            pthread_rwlockattr_setkind_np(&attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
            pthread_rwlock_init(&lock, &attributes)
        }

        var latest: LifeUnderTest { pointer.withLock { tested } }

        func request<Outcome>(_ body: (LifeUnderTest) throws -> Outcome) rethrows -> Outcome {
            pthread_rwlock_rdlock(&lock)
            defer { pthread_rwlock_unlock(&lock) }
            return try body(latest)
        }

        func restart(_ start: () throws -> LifeUnderTest) throws {
            pthread_rwlock_wrlock(&lock)
            defer { pthread_rwlock_unlock(&lock) }
            latest.end()
            let new = try start()
            pointer.withLock { tested = new }
        }
    }

    /// Asks for all items and holds the answer to what was acknowledged before the request began and not taken back since.
    private static func check(_ present: Present, _ asker: Asker, _ ledger: Ledger, reader: Int) throws {
        try present.request { tested in
            let before = ledger.acknowledged
            let answer = try asker.ask(Asker.everything, tested, reader: reader)
            let after = ledger.acknowledged
            let forbidden = before.filter { after[$0.key] == $0.value }
            let found = answer.ids.filter { forbidden[$0] != nil }
            if !found.isEmpty { ledger.fault("\(answer.snapshotID) returned \(found)") }
            if !forbidden.isEmpty { ledger.checked() }
        }
    }

    @Test func noPausedItemIsEverReturned() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("plain", "b"))
        let items = ["a": Set(try shelf.itemIDs("a")), "b": Set(try shelf.itemIDs("b"))]
        let ids = try shelf.itemIDs("b") + ["5", "no number"]
        var random = SeededRandom(seed: 2026)
        func start(_ keepsPrevious: Bool) throws -> LifeUnderTest {
            try LifeUnderTest.started(shelf, readerCount: 4) { $0.keepsPrevious = keepsPrevious }
        }
        let present = Present(try start(false))
        let ledger = Ledger()
        // Who looks all the time.
        let readers = TestThreads(2) { number in
            do {
                let asker = try Asker()
                while !ledger.isOver {
                    try Self.check(present, asker, ledger, reader: 1 + number)
                    usleep(500)
                }
            } catch {
                ledger.fault("\(error)")
            }
        }
        let asker = try Asker()
        var operations: [String: Int] = [:]
        for race in 0..<Self.raceCount {
            let chosen = (0...random.below(3)).map { _ in
                ids[random.below(8) == 0 ? 800 + random.below(202) : random.below(20)]
            }
            let (pauseDelay, resumeDelay) = (UInt32(random.below(4000)), UInt32(random.below(4000)))
            let resumes = random.below(3) > 0
            // Who pauses, and looks at once.
            let pauser = TestThreads(1) { _ in
                do {
                    let asker = try Asker()
                    usleep(pauseDelay)
                    do {
                        _ = try #require(present.latest.life.pauses).pause(chosen)
                    } catch {
                        // Not acknowledged: the daemon was just ending.
                        return
                    }
                    ledger.acknowledge(chosen)
                    for _ in 0..<3 { try Self.check(present, asker, ledger, reader: 3) }
                    guard resumes else { return }
                    usleep(resumeDelay)
                    let before = ledger.acknowledged
                    ledger.withdraw(chosen)
                    do {
                        _ = try #require(present.latest.life.pauses).resume(chosen)
                    } catch {
                        // What is not resumed is paused still.
                        ledger.acknowledge(chosen.filter { before[$0] != nil })
                    }
                } catch {
                    ledger.fault("\(error)")
                }
            }
            let operation = ["activate", "rollback", "restart"][race % 3]
            operations[operation, default: 0] += 1
            switch operation {
            case "activate":
                try present.latest.activate(present.latest.servingID == "a" ? "b" : "a")
            case "rollback":
                try present.latest.rollback()
            default:
                let keepsPrevious = random.below(2) == 0
                try present.restart { try start(keepsPrevious) }
            }
            pauser.join()
            // And nothing else is missing.
            let served = try asker.ask(Asker.everything, present.latest)
            let expected = items[served.snapshotID]!.subtracting(ledger.acknowledged.keys)
            if Set(served.ids) != expected {
                ledger.fault(
                    "after race \(race), \(operation): \(Set(served.ids).symmetricDifference(expected)) in \(served.snapshotID)"
                )
            }
        }
        ledger.end()
        readers.join()
        let outcome = ledger.outcome
        #expect(outcome.faults.isEmpty, "\(outcome.faults.prefix(5))")
        #expect(operations.values.min()! >= Self.raceCount / 3)
        // There was something to be seen: nearly every race had its pause, and many looks found one in force.
        #expect(outcome.pauses > Self.raceCount / 2)
        #expect(outcome.checks > Self.raceCount)
    }
}
