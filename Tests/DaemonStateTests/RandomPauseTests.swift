import DaemonState
import Foundation
import Synchronization
import TestSupport
import Testing

/// Many changes, by seed and by chance.
@Suite struct RandomPauseTests {
    @Test func randomChangesAgreeWithASet() throws {
        var random = SeededRandom(seed: 13)
        let scratch = try ScratchDirectory(onDisk: true)
        let letters = ["a", "é", "e\u{301}", "\n", "\"", "0", "x", "日", "\u{0}"]
        let known = (0..<200).map { _ in (0..<1 + random.below(6)).map { _ in random.element(letters) }.joined() }
        var expected: Set<[UInt8]> = []
        var state = try StateDirectory(path: scratch.path)
        var journal = try PauseJournal(in: state)
        for _ in 0..<draws(500) {
            let ids = (0..<random.below(8)).map { _ in random.element(known) }
            let bytes = Set(ids.map { Array($0.utf8) })
            switch random.below(12) {
            case 0:
                state.close()
                state = try StateDirectory(path: scratch.path)
                journal = try PauseJournal(in: state)
            case 1...6:
                let changed = try journal.pause(ids)
                #expect(Set(changed.map { Array($0.utf8) }) == bytes.subtracting(expected))
                #expect(changed.count == bytes.subtracting(expected).count)
                expected.formUnion(bytes)
            case let kind:
                let changed = kind < 11 ? try journal.resume(ids) : try journal.drop(ids)
                #expect(Set(changed.map { Array($0.utf8) }) == bytes.intersection(expected))
                expected.subtract(bytes)
            }
            #expect(Set(journal.ids.map { Array($0.utf8) }) == expected)
        }
        state.close()
        #expect(try scratch.paused() == expected)
    }

    /// A copy that is taken while another thread writes is what a kill at that instant leaves.
    @Test func aCopyAtAnyInstantHasWhatWasAcknowledged() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        let acknowledged = Atomic<Int>(0)
        let isDone = Atomic<Bool>(false)
        let count = draws(150)
        let writer = Thread {
            defer { isDone.store(true, ordering: .releasing) }
            for number in 0..<count {
                // Three at a time, of which one is resumed at once: the journal has something to compact.
                let ids = (0..<3).map { "\(number)-\($0)-\(String(repeating: "x", count: 200))" }
                guard (try? journal.pause(ids)) != nil, (try? journal.resume([ids[0]])) != nil else { return }
                acknowledged.store(number + 1, ordering: .releasing)
            }
        }
        writer.start()
        var copies = 0
        while true {
            let wasDone = isDone.load(ordering: .acquiring)
            let before = acknowledged.load(ordering: .acquiring)
            let copy = try scratch.bytes("pauses.journal")
            let after = acknowledged.load(ordering: .acquiring)
            let numbers = try ScratchDirectory.paused(in: copy).map { id in
                String(decoding: id, as: UTF8.self).split(separator: "-").prefix(2).map { Int($0)! }
            }
            #expect(numbers.count { $0[0] < before && $0[1] > 0 } == 2 * before)
            #expect(!numbers.contains { $0[0] < before && $0[1] == 0 })
            #expect(!numbers.contains { $0[0] > after + 1 })
            copies += 1
            if wasDone { break }
        }
        #expect(acknowledged.load(ordering: .acquiring) == count)
        #expect(copies > 3)
    }
}
