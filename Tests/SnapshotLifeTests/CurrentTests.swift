import DaemonState
import Foundation
import Snapshots
import TestSupport
import Testing

@testable import SnapshotLife

/// What `current` names, what an operator chose, and what a restart makes of both.
@Suite struct CurrentTests {
    private func shelf() throws -> Shelf {
        try Shelf(("cascade-only", "a"), ("cross-only", "b"), ("plain", "c"))
    }

    /// Starts once more over what is there, and says what serves.
    private func restarted(_ shelf: Shelf) throws -> String? {
        let tested = try LifeUnderTest.started(shelf)
        return tested.servingID
    }

    @Test func followsTheLink() throws {
        let shelf = try shelf()
        let tested = try LifeUnderTest.started(shelf)
        for id in ["b", "c", "a", "b"] {
            try shelf.setCurrent(id)
            #expect(tested.serves(id))
        }
    }

    @Test func followsThePlainFile() throws {
        let shelf = try shelf()
        try shelf.setCurrentFile("b")
        let tested = try LifeUnderTest.started(shelf)
        #expect(tested.servingID == "b")
        for id in ["c", "a"] {
            try shelf.setCurrentFile(id)
            #expect(tested.serves(id))
        }
        // A link comes before the file.
        try shelf.setCurrent("b")
        #expect(tested.serves("b"))
    }

    /// A link to somewhere else is a snapshot of that directory's name.
    @Test func followsALinkOutOfTheDirectory() throws {
        let shelf = try shelf()
        let outside = shelf.scratchPath("elsewhere")
        try FileManager.default.createDirectory(atPath: outside, withIntermediateDirectories: true)
        try FileManager.default.moveItem(atPath: "\(shelf.path)/b", toPath: "\(outside)/b")
        let tested = try LifeUnderTest.started(shelf)
        try shelf.setCurrent("../elsewhere/b")
        #expect(tested.serves("b"))
        #expect(try tested.state("b") == .serving)
        // One that is refused there is listed as any other.
        try shelf.publish("plain", as: "c", spoil: { try $0.flipBit("index.faiss", at: 4000) })
        try FileManager.default.moveItem(atPath: "\(shelf.path)/c", toPath: "\(outside)/c")
        try shelf.setCurrent("../elsewhere/c")
        #expect(throws: SnapshotLifeError.self) { try tested.life.followCurrent().wait() }
        #expect(try tested.record("c").fault?.stage == .integrity)
        #expect(tested.servingID == "b")
        try shelf.setCurrent("../elsewhere/b")
        tested.end()
        #expect(try restarted(shelf) == "b")
    }

    @Test func choicesOutlastARestart() throws {
        let shelf = try shelf()
        var tested = try LifeUnderTest.started(shelf)
        try shelf.setCurrent("b")
        #expect(tested.serves("b"))
        try tested.rollback()
        #expect(tested.life.choice == ServingChoice(serving: "a", previous: "b", chosen: "a", currentWhenChosen: "b"))
        for _ in 0..<2 {
            tested.end()
            tested = try LifeUnderTest.started(shelf)
            #expect(tested.servingID == "a")
            #expect(tested.life.choice.chosen == "a")
            // Nor does it go where `current` leads after a while.
            usleep(20_000)
            #expect(tested.servingID == "a")
        }
        // The one that served before is remembered, too.
        try tested.rollback()
        #expect(tested.servingID == "b")
        // That is what `current` names, so there is no choice any more.
        #expect(tested.life.choice.chosen == nil)
        tested.end()
        try shelf.setCurrent("c")
        #expect(try restarted(shelf) == "c")
    }

    @Test func aNewCurrentEndsAChoice() throws {
        let shelf = try shelf()
        var tested = try LifeUnderTest.started(shelf)
        try tested.activate("b")
        #expect(tested.life.choice.chosen == "b")
        try shelf.setCurrent("c")
        #expect(tested.serves("c"))
        #expect(eventually { tested.life.choice.chosen == nil })
        try shelf.setCurrent("a")
        #expect(tested.serves("a"))
        try tested.activate("b")
        tested.end()
        // While nothing ran.
        try shelf.setCurrent("c")
        tested = try LifeUnderTest.started(shelf)
        #expect(tested.servingID == "c" && tested.life.choice.chosen == nil)
    }

    @Test func followingOnRequestEndsAChoice() throws {
        let shelf = try shelf()
        let tested = try LifeUnderTest.started(shelf)
        try tested.activate("b")
        #expect(try tested.life.followCurrent().wait() == "a")
        #expect(tested.servingID == "a" && tested.life.choice.chosen == nil)
        tested.end()
        #expect(try restarted(shelf) == "a")
    }

    @Test func withoutStateNothingIsRemembered() throws {
        let shelf = try shelf()
        let tested = try LifeUnderTest.started(shelf, remembers: false)
        try tested.activate("b")
        tested.end()
        let again = try LifeUnderTest.started(shelf, remembers: false)
        #expect(again.servingID == "a")
    }

    // MARK: Damage

    private static let ways: [String] = ["damaged", "dangling", "removed", "not an id", "an incomplete one"]

    private func spoilCurrent(_ shelf: Shelf, _ way: String) throws {
        switch way {
        case "damaged":
            try shelf.publish("plain", as: "d", spoil: { try $0.flipBit("index.faiss", at: 5000) })
            try shelf.setCurrent("d")
        case "dangling": try shelf.setCurrent("nothing")
        case "removed": try shelf.remove("current")
        case "not an id":
            try FileManager.default.createDirectory(
                atPath: "\(shelf.path)/not an id", withIntermediateDirectories: true)
            try shelf.setCurrent("not an id")
        default:
            try shelf.publish("plain", as: "d", spoil: { try $0.remove("_SUCCESS") })
            try shelf.setCurrent("d")
        }
    }

    @Test(arguments: ways) func startsWithWhatServedBefore(way: String) throws {
        let shelf = try shelf()
        var tested = try LifeUnderTest.started(shelf)
        try shelf.setCurrent("b")
        #expect(tested.serves("b"))
        tested.end()
        try spoilCurrent(shelf, way)
        tested = try LifeUnderTest.started(shelf)
        #expect(tested.servingID == "b")
        #expect(tested.life.choice.previous == "a")
        // Once `current` is right again it is followed.
        try shelf.setCurrent("c")
        #expect(tested.serves("c"))
        tested.end()
        // And where that one is gone as well there is the one before.
        tested = try LifeUnderTest.started(shelf)
        #expect(tested.servingID == "c")
        tested.end()
        try spoilCurrent(shelf, way)
        try shelf.remove("c")
        #expect(try restarted(shelf) == "b")
    }

    @Test(arguments: ways) func whatServesGoesOnServing(way: String) throws {
        let shelf = try shelf()
        let tested = try LifeUnderTest.started(shelf)
        try spoilCurrent(shelf, way)
        let error = #expect(throws: SnapshotLifeError.self) { try tested.life.followCurrent().wait() }
        #expect(!"\(try #require(error))".isEmpty)
        #expect(tested.servingID == "a")
        try shelf.setCurrent("b")
        #expect(tested.serves("b"))
    }

    /// A choice is against what `current` named. One that only could not be read in between is still that.
    @Test(arguments: ["dangling", "removed", "not an id"]) func aChoiceOutlastsACurrentThatCannotBeRead(way: String)
        throws
    {
        let shelf = try shelf()
        var tested = try LifeUnderTest.started(shelf)
        try tested.activate("b")
        tested.end()
        try spoilCurrent(shelf, way)
        tested = try LifeUnderTest.started(shelf)
        #expect(tested.servingID == "b")
        try shelf.setCurrent("a")
        // Its link was seen again when this is carried out.
        _ = try? tested.life.load("c").wait()
        #expect(tested.servingID == "b")
        tested.end()
        #expect(try restarted(shelf) == "b")
        try shelf.setCurrent("c")
        #expect(try restarted(shelf) == "c")
    }

    /// `current` named another snapshot, so the choice is over, though that one is damaged and what was chosen serves on for
    /// want of better.
    @Test func aChoiceIsNotMadeAnewByARestart() throws {
        let shelf = try shelf()
        var tested = try LifeUnderTest.started(shelf)
        try tested.activate("b")
        tested.end()
        try spoilCurrent(shelf, "damaged")
        tested = try LifeUnderTest.started(shelf)
        #expect(tested.servingID == "b")
        #expect(try tested.state("d") == .failed)
        tested.end()
        // Published again, and whole.
        try shelf.publish("plain", as: "d")
        #expect(try restarted(shelf) == "d")
    }

    /// The chosen one is gone: `current` is next.
    @Test func aChoiceThatCannotServeGivesWayToCurrent() throws {
        let shelf = try shelf()
        var tested = try LifeUnderTest.started(shelf)
        try tested.activate("b")
        tested.end()
        try shelf.remove("b")
        tested = try LifeUnderTest.started(shelf)
        #expect(tested.servingID == "a" && tested.life.choice.chosen == nil)
    }

    @Test func refusesToStartWithNothingWhole() throws {
        let shelf = try shelf()
        for id in ["a", "b", "c"] {
            try shelf.publish("plain", as: id, spoil: { try $0.truncate("index.faiss", to: 99) })
        }
        let tested = try LifeUnderTest(shelf)
        let error = #expect(throws: SnapshotError.self) { try tested.life.start() }
        #expect(error?.stage == .integrity && error?.file == "index.faiss")
        #expect(tested.servingID == nil)
        let empty = try LifeUnderTest(try Shelf())
        #expect(throws: SnapshotError.self) { try empty.life.start() }
        let missing = try LifeUnderTest(shelf, remembers: false) { $0.snapshots = "\(shelf.path)/nowhere" }
        #expect(throws: SnapshotError.self) { try missing.life.start() }
    }

    /// A state file that somebody damaged is refused with its name, and not taken for no choice.
    @Test func refusesToStartWithADamagedChoice() throws {
        let shelf = try shelf()
        let tested = try LifeUnderTest.started(shelf)
        try tested.activate("b")
        tested.end()
        let path = "\(shelf.statePath)/choice.json"
        try Data("{\"format\":".utf8).write(to: URL(fileURLWithPath: path))
        let again = try LifeUnderTest(shelf)
        let error = #expect(throws: SnapshotError.self) { try again.life.start() }
        #expect(error?.file.hasSuffix("choice.json") == true)
    }
}
