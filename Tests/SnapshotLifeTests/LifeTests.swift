import DaemonState
import Foundation
import TestSupport
import Testing

@testable import SnapshotLife

/// Starting, activating, loading, rolling back; states and times; who is in memory.
@Suite struct LifeTests {
    private func shelf() throws -> Shelf {
        try Shelf(("cascade-only", "a"), ("cross-only", "b"), ("plain", "c"))
    }

    @Test func startsWithWhatCurrentNames() throws {
        let tested = try LifeUnderTest.started(try shelf())
        #expect(tested.servingID == "a")
        #expect(try tested.state("a") == .serving)
        #expect(try tested.state("b") == .found && tested.state("c") == .found)
        #expect(try tested.events("a") == ["found", "verifying", "loading", "warming", "ready", "serving"])
        #expect(tested.life.choice.serving == "a" && tested.life.choice.previous == nil)
    }

    @Test func activatesAndRetires() throws {
        let tested = try LifeUnderTest.started(try shelf())
        let old = tested.weakServing()
        #expect(!old.isFreed)
        #expect(try tested.activate("b") == "b")
        #expect(tested.servingID == "b")
        #expect(try eventually { try tested.events("a").last == "destroyed" })
        #expect(eventually { old.isFreed })
        let whole = ["found", "verifying", "loading", "warming", "ready", "serving", "retired", "destroyed"]
        #expect(try tested.events("a") == whole)
        let record = try tested.record("a")
        #expect(record.state == .retired && record.fault == nil)
        #expect(Set(record.costs.keys) == [.verify, .load, .warm, .destroy])
        #expect(Set(try tested.record("b").costs.keys) == [.verify, .load, .warm, .swap])
        #expect(zip(record.times, record.times.dropFirst()).allSatisfy { $0.unixMillis <= $1.unixMillis })
        #expect(record.itemCount == 800 && record.spaceID == "random-3f6933659159")
        #expect((record.byteCount ?? 0) > 100_000)
        #expect(tested.life.choice.previous == "a")
    }

    @Test func loadsFirstAndActivatesLater() throws {
        let tested = try LifeUnderTest.started(try shelf())
        #expect(try tested.load("b") == "b")
        #expect(tested.servingID == "a")
        #expect(try tested.state("b") == .ready)
        // Again is nothing new.
        let verified = try #require(try tested.record("b").times.first { $0.event == "verifying" }).unixMillis
        #expect(try tested.load("b") == "b")
        #expect(try tested.record("b").times.first { $0.event == "verifying" }?.unixMillis == verified)
        try tested.activate("b")
        #expect(tested.servingID == "b")
        #expect(try tested.record("b").times.first { $0.event == "verifying" }?.unixMillis == verified)
        // What serves is ready already.
        #expect(try tested.load("b") == "b")
        #expect(try tested.state("b") == .serving)
    }

    /// One that was loaded and never served makes room for the next.
    @Test func loadingAnotherDropsTheOneThatWasReady() throws {
        let tested = try LifeUnderTest.started(try shelf())
        try tested.load("b")
        try tested.load("c")
        #expect(try tested.state("b") == .found && tested.state("c") == .ready)
        #expect(try eventually { try tested.events("b").last == "destroyed" })
        try tested.activate("b")
        #expect(tested.servingID == "b")
        #expect(try tested.state("c") == .found && tested.state("b") == .serving)
    }

    @Test func rollsBackTwice() throws {
        let shelf = try shelf()
        let tested = try LifeUnderTest.started(shelf)
        #expect(throws: SnapshotLifeError.self) { try tested.rollback() }
        #expect(tested.servingID == "a")
        try tested.activate("b")
        #expect(try tested.rollback() == "a")
        #expect(tested.servingID == "a")
        #expect(try tested.rollback() == "b")
        #expect(tested.servingID == "b")
        #expect(tested.life.choice.previous == "a")
        try tested.activate("c")
        #expect(try tested.rollback() == "b")
        #expect(try tested.state("c") == .retired)
    }

    @Test func keepsThePreviousInMemory() throws {
        let shelf = try shelf()
        let tested = try LifeUnderTest.started(shelf) { $0.keepsPrevious = true }
        let first = tested.weakServing()
        try tested.activate("b")
        let second = tested.weakServing()
        #expect(!first.isFreed)
        #expect(try tested.state("a") == .retired)
        // Not even the files are needed.
        try shelf.remove("a")
        #expect(try tested.rollback() == "a")
        #expect(tested.servingID == "a" && !first.isFreed && !second.isFreed)
        #expect(try tested.events("a").filter { $0 == "verifying" }.count == 1)
        // A third one takes the kept one's place.
        try tested.activate("c")
        #expect(eventually { second.isFreed })
        #expect(!first.isFreed)
        #expect(try tested.rollback() == "a")
    }

    @Test func activatingWhatServesChangesNothing() throws {
        let tested = try LifeUnderTest.started(try shelf())
        let serving = tested.weakServing()
        let before = try tested.record("a").times.map(\.unixMillis)
        #expect(try tested.activate("a") == "a")
        #expect(!serving.isFreed)
        #expect(try tested.record("a").times.map(\.unixMillis) == before)
        #expect(throws: SnapshotLifeError.self) { try tested.rollback() }
    }

    @Test func unknownIDsAreRefused() throws {
        let shelf = try shelf()
        try shelf.publish("plain", as: "b.tmp")
        let tested = try LifeUnderTest.started(shelf)
        for id in [
            "nothing", "", "..", "a/../b", "current", "b.tmp", ".b", "a b", String(repeating: "x", count: 65),
        ] {
            for command in [tested.life.activate(id), tested.life.load(id)] {
                let error = #expect(throws: SnapshotLifeError.self) { try command.wait() }
                guard case .unknownSnapshot(let named)? = error else {
                    Issue.record("\(String(describing: error))")
                    continue
                }
                #expect(named == id)
            }
        }
        #expect(tested.servingID == "a")
        #expect(tested.life.list().map(\.id) == ["a", "b", "c"])
    }

    @Test func directoriesThatAreNotCompleteDoNotExist() throws {
        let shelf = try shelf()
        try shelf.publish("plain", as: "d", spoil: { try $0.remove("_SUCCESS") })
        let tested = try LifeUnderTest.started(shelf)
        #expect(tested.life.list().map(\.id) == ["a", "b", "c"])
        #expect(throws: SnapshotLifeError.self) { try tested.activate("d") }
        try shelf.publish("plain", as: "d")
        #expect(try tested.activate("d") == "d")
    }

    @Test func newSnapshotsAreFoundAndRemovedOnesForgotten() throws {
        let shelf = try shelf()
        let tested = try LifeUnderTest.started(shelf)
        try shelf.publish("plain", as: "d")
        #expect(try tested.state("d") == .found)
        try tested.activate("d")
        try shelf.remove("c")
        #expect(tested.life.list().map(\.id) == ["a", "b", "d"])
        try shelf.remove("a")
        // Its destruction is noted after the fact.
        #expect(eventually { tested.life.list().map(\.id) == ["b", "d"] })
    }

    @Test func servesOnWhenItsDirectoryIsRemoved() throws {
        let shelf = try shelf()
        let tested = try LifeUnderTest.started(shelf)
        let asker = try Asker()
        let before = try asker.ask(Asker.everything, tested)
        try shelf.remove("a")
        #expect(try tested.state("a") == .serving)
        let after = try asker.ask(Asker.everything, tested)
        #expect(after.ids == before.ids && after.embedding == before.embedding)
        try tested.activate("b")
        #expect(tested.servingID == "b")
        // And then it is gone.
        let error = #expect(throws: SnapshotLifeError.self) { try tested.rollback() }
        guard case .unknownSnapshot("a")? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect("\(try #require(error))".contains("'a'"))
        #expect(tested.servingID == "b")
    }

    @Test func oneSnapshotItselfCanServe() throws {
        let shelf = try shelf()
        var configuration = SnapshotLifeConfiguration(snapshots: "\(shelf.path)/b", workerCount: 1)
        configuration.warmupSeconds = 0
        let tested = try LifeUnderTest.started(shelf) { $0.snapshots = configuration.snapshots }
        #expect(tested.servingID == "b")
        #expect(tested.life.list().map(\.id) == ["b"])
        #expect(try tested.activate("b") == "b")
        #expect(throws: SnapshotLifeError.self) { try tested.activate("a") }
        #expect(try tested.life.followCurrent().wait() == "b")
    }

    /// Commands that come when it has ended are refused and not left waiting; what serves goes on.
    @Test func endsAndServesOn() throws {
        let tested = try LifeUnderTest.started(try shelf())
        let ticket = tested.life.activate("b")
        tested.life.end()
        #expect(eventually { ticket.isDone })
        #expect(tested.servingID == "a" || tested.servingID == "b")
        for command in [
            tested.life.activate("c"), tested.life.rollback(), tested.life.load("c"), tested.life.followCurrent(),
        ] {
            let error = #expect(throws: SnapshotLifeError.self) { try command.wait() }
            guard case .ending? = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
        }
        #expect(try !Asker().items(tested).isEmpty)
    }

    /// Whoever commands while it ends gets an answer.
    @Test func nobodyIsLeftWaitingByTheEnd() throws {
        let shelf = try Shelf(("cascade-only", "a"))
        for _ in 0..<20 {
            let tested = try LifeUnderTest.started(shelf)
            let commanders = TestThreads(3) { _ in
                for _ in 0..<200 { _ = try? tested.life.activate("a").wait() }
            }
            usleep(UInt32.random(in: 0..<2000))
            tested.end()
            guard commanders.join(withinSeconds: 20) else {
                Issue.record("a command was never answered")
                return
            }
        }
    }

    /// At no moment are there three generations: while one is loaded only the one that serves is there besides.
    @Test(arguments: [false, true]) func atMostTwoGenerationsAreInMemory(keepsPrevious: Bool) throws {
        let tested = try LifeUnderTest.started(try shelf(), readerCount: 2) { $0.keepsPrevious = keepsPrevious }
        let known = KnownGenerations()
        known.note(tested.weakServing())
        let watcher = TestThreads(1) { _ in
            while !known.isOver {
                let isLoading = tested.life.list().contains { $0.state == .loading || $0.state == .warming }
                known.check(atMost: isLoading ? 1 : 2)
            }
        }
        for command in ["b", "c", "+a", "b", "<", "<", "+c", "a", "<", "c", "b"] {
            switch command.first {
            case "<": try tested.rollback()
            case "+": try tested.load(String(command.dropFirst()))
            default: try tested.activate(command)
            }
            known.note(tested.weakServing())
        }
        known.end()
        watcher.join()
        #expect(known.excess == 0)
        let last = tested.weakServing()
        tested.end()
        #expect(eventually { known.aliveCount <= (keepsPrevious ? 2 : 1) })
        #expect(!last.isFreed)
    }

    /// Nothing stays in memory once it is over.
    @Test func everythingIsFreed() throws {
        var generations: [WeakGeneration] = []
        weak var life: SnapshotLife?
        do {
            let tested = try LifeUnderTest.started(try shelf()) { $0.keepsPrevious = true }
            generations.append(tested.weakServing())
            try tested.activate("b")
            generations.append(tested.weakServing())
            try tested.load("c")
            life = tested.life
        }
        #expect(eventually { life == nil })
        #expect(eventually { generations.allSatisfy(\.isFreed) })
    }
}

/// The generations that a test has seen serving, and how many of them there are.
private final class KnownGenerations: @unchecked Sendable {
    // Guarded by `lock`.
    private let lock = NSLock()
    private var generations: [WeakGeneration] = []
    private var excessCount = 0
    private var isAtEnd = false

    /// Adds one unless it was seen before; two views of one generation would count twice.
    func note(_ generation: WeakGeneration) {
        lock.withLock {
            guard !generations.contains(where: { $0.isSame(as: generation) }) else { return }
            generations.append(generation)
        }
    }

    var aliveCount: Int { lock.withLock { generations.count { !$0.isFreed } } }

    func check(atMost limit: Int) {
        lock.withLock { if generations.count(where: { !$0.isFreed }) > limit { excessCount += 1 } }
    }

    var excess: Int { lock.withLock { excessCount } }
    var isOver: Bool { lock.withLock { isAtEnd } }
    func end() { lock.withLock { isAtEnd = true } }
}
