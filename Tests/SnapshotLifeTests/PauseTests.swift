import Foundation
import Identifiers
import Memory
import Retrieval
import RetrievalAPI
import Snapshots
import TestSupport
import Testing

@testable import SnapshotLife

/// Pauses, in the order of their life: rows of one snapshot, then a daemon's.
@Suite struct PauseTests {
    // MARK: Rows

    /// Whatever way a search takes, it passes paused rows by, and finds them again once they are resumed.
    @Test(arguments: ["cascade-only", "cs3-one-cycle", "plain", "cross-only", "graph-alone", "cs3-three-cycles"])
    func pausedRowsAreNeverFound(fixture: String) throws {
        let snapshot = try Snapshot(loading: try SnapshotFiles(path: try Fixtures.path(fixture)))
        let generation = Generation(snapshot: snapshot, workerCount: 2, pausedRows: [3, 3, 4])
        let asker = try Asker()
        let names = try asker.ask(Asker.everything, Generation(snapshot: snapshot, workerCount: 1), worker: 0).ids
        #expect(names.count == snapshot.items.count)
        func name(_ row: Int) -> String {
            switch snapshot.items.ids {
            case .numbers(let table): "\(table.id(of: row))"
            case .texts(let table): table.text(of: row).string
            }
        }
        var random = SeededRandom(seed: 71)
        var paused: Set<Int> = [3, 4]
        // Narrow and wide, walks and scans.
        let bodies = [
            #"{"user":{},"k":10}"#, #"{"user":{},"k":300}"#, #"{"user":{},"k":10,"search":{"exact":true}}"#,
            Asker.everything, #"{"user":{},"k":50,"exclude":["\#(name(0))","\#(name(7))"]}"#,
        ]
        for round in 0..<60 {
            // The best items of one request, where pausing hurts the most, and some others.
            let best = try asker.ask(bodies[round % bodies.count], generation, worker: round % 3).ids
            var changes: [PausedRows.Change] = []
            for _ in 0..<random.below(5) {
                let row =
                    random.below(2) == 0
                    ? random.below(snapshot.items.count)
                    : try #require(generation.snapshot.items.ids.row(ofText: best[random.below(min(5, best.count))]))
                let isPaused = random.below(3) > 0
                changes.append(PausedRows.Change(row: row, isPaused: isPaused))
                if isPaused { paused.insert(row) } else { paused.remove(row) }
            }
            generation.paused.append(changes)
            let forbidden = Set(paused.map(name))
            for (index, body) in bodies.enumerated() {
                let found = try asker.ask(body, generation, worker: (round + index) % 3).ids
                #expect(forbidden.isDisjoint(with: found), "\(body)")
                #expect(Set(found).count == found.count)
            }
            let all = try asker.ask(Asker.everything, generation, worker: round % 3).ids
            #expect(Set(all) == Set(names).subtracting(forbidden))
        }
        generation.paused.append(paused.map { PausedRows.Change(row: $0, isPaused: false) })
        for worker in 0..<3 {
            #expect(try asker.ask(Asker.everything, generation, worker: worker).ids == names)
        }
    }

    @Test func everythingMayBePaused() throws {
        let snapshot = try Snapshot(loading: try SnapshotFiles(path: try Fixtures.path("plain")))
        let generation = Generation(snapshot: snapshot, workerCount: 1)
        let asker = try Asker()
        generation.paused.append((0..<snapshot.items.count).map { PausedRows.Change(row: $0, isPaused: true) })
        #expect(try asker.ask(Asker.everything, generation, worker: 0).ids.isEmpty)
        #expect(try asker.ask(#"{"user":{},"k":10}"#, generation, worker: 1).ids.isEmpty)
        generation.paused.append([PausedRows.Change(row: 500, isPaused: false)])
        #expect(try asker.ask(#"{"user":{},"k":10}"#, generation, worker: 0).ids.count == 1)
    }

    // MARK: A daemon's

    @Test func withoutStateNothingCanBePaused() throws {
        let tested = try LifeUnderTest.started(try Shelf(("plain", "a")), remembers: false)
        #expect(tested.life.pauses == nil)
        let error = #expect(throws: SnapshotLifeError.self) { try tested.life.dropPauses().wait() }
        guard case .state? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test(arguments: [false, true]) func holdsThroughEveryChange(keepsPrevious: Bool) throws {
        // plain has 1000 items, cascade-only the first 800 of them.
        let shelf = try Shelf(("cascade-only", "a"), ("plain", "b"))
        let (few, many) = (try shelf.itemIDs("a"), try shelf.itemIDs("b"))
        #expect(Set(many).isSuperset(of: few) && few.count == 800 && many.count == 1000)
        let (both, later, never) = (few[5], many[900], "18446744073709551615")
        var tested = try LifeUnderTest.started(shelf) { $0.keepsPrevious = keepsPrevious }
        let asker = try Asker()
        #expect(try tested.pause(both, later, never, both) == [both, later, never])
        #expect(try tested.pause(later) == [])
        #expect(try asker.items(tested) == Set(few).subtracting([both]))
        try tested.load("b")
        // While it is ready and does not serve yet.
        try tested.pause(many[901])
        #expect(try tested.resume(many[901], many[902]) == [many[901]])
        try tested.pause(many[903])
        try tested.activate("b")
        #expect(try asker.items(tested) == Set(many).subtracting([both, later, many[903]]))
        try tested.pause(few[6])
        try tested.rollback()
        #expect(try asker.items(tested) == Set(few).subtracting([both, few[6]]))
        try tested.resume(both)
        #expect(try asker.items(tested) == Set(few).subtracting([few[6]]))
        try tested.rollback()
        #expect(try asker.items(tested) == Set(many).subtracting([later, many[903], few[6]]))
        tested.end()
        tested = try LifeUnderTest.started(shelf)
        #expect(tested.servingID == "b")
        #expect(try asker.items(tested) == Set(many).subtracting([later, many[903], few[6]]))
        #expect(try #require(tested.life.pauses).count == 4)
    }

    /// A pause that is sent while a snapshot loads is in force in it from its first request on.
    @Test func whatIsPausedWhileASnapshotLoadsIsPausedInIt() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("plain", "b"))
        let many = try shelf.itemIDs("b")
        let gate = try Gate(shelf)
        let tested = try LifeUnderTest.started(shelf) { $0.indexParser = gate.program }
        try tested.pause(many[1], many[990])
        try gate.shut()
        let ticket = tested.life.activate("b")
        #expect(try eventually { try tested.state("b") == .verifying })
        try tested.pause(many[2], many[991])
        try tested.resume(many[1], many[990])
        try tested.pause(many[3])
        try tested.resume(many[3])
        try tested.pause(many[3])
        #expect(!ticket.isDone)
        try gate.open()
        try ticket.wait()
        #expect(try Asker().items(tested) == Set(many).subtracting([many[2], many[3], many[991]]))
    }

    /// Changes that come while a snapshot loads that is refused are in force in the next.
    @Test func aRefusalLosesNoPause() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("plain", "b"))
        let many = try shelf.itemIDs("b")
        let gate = try Gate(shelf)
        try shelf.publish("plain", as: "bad", edit: { try $0.write("warmup.jsonl", "{}\n") })
        let tested = try LifeUnderTest.started(shelf) { $0.indexParser = gate.program }
        try gate.shut()
        let ticket = tested.life.activate("bad")
        #expect(try eventually { try tested.state("bad") == .verifying })
        try tested.pause(many[2], many[991])
        try gate.open()
        #expect(throws: SnapshotLifeError.self) { try ticket.wait() }
        try tested.pause(many[3])
        try tested.activate("b")
        #expect(try Asker().items(tested) == Set(many).subtracting([many[2], many[3], many[991]]))
    }

    // MARK: Pruning

    @Test func pausesAreDroppedOnceNoSnapshotHasTheItem() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("plain", "b"))
        let many = try shelf.itemIDs("b")
        let tested = try LifeUnderTest.started(shelf)
        try tested.pause(many[5], many[900], "7", "no number at all")
        #expect(try tested.life.dropPauses().wait() == "2")
        #expect(try Set(#require(tested.life.pauses).ids) == [many[5], many[900]])
        try shelf.remove("b")
        #expect(try tested.life.dropPauses().wait() == "1")
        #expect(try #require(tested.life.pauses).ids == [many[5]])
        #expect(try !Asker().items(tested).contains(many[5]))
    }

    /// What serves holds its items, whether or not its files are still there.
    @Test func pausesOfItemsThatServeAreKept() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("plain", "b"))
        let many = try shelf.itemIDs("b")
        let tested = try LifeUnderTest.started(shelf)
        try tested.activate("b")
        try tested.pause(many[5], many[900])
        try shelf.remove("b")
        #expect(try tested.life.dropPauses().wait() == "0")
        #expect(try Asker().items(tested) == Set(many).subtracting([many[5], many[900]]))
    }

    @Test func nothingIsDroppedWhileASnapshotCannotBeRead() throws {
        let shelf = try Shelf(("cascade-only", "a"))
        let tested = try LifeUnderTest.started(shelf)
        try tested.pause("7")
        try shelf.publish("plain", as: "bad", spoil: { try $0.truncate("items.safetensors", to: 20) })
        #expect(throws: SnapshotLifeError.self) { try tested.life.dropPauses().wait() }
        #expect(try #require(tested.life.pauses).ids == ["7"])
    }
}
