import DaemonState
import Foundation
import TestSupport
import Testing

/// Damaged files, by seed: nothing crashes, and nothing that was acknowledged is lost silently.
@Suite struct StateMutationTests {
    @Test func mutatedJournalsLoseNothingSilently() throws {
        let sample = try JournalSample()
        let scratch = try ScratchDirectory()
        let starts = [0] + sample.states.map(\.end)
        let promised = sample.acknowledged[0].end
        let synced = zip(starts, starts.dropFirst()).map { Array(sample.bytes[$0..<$1]) }
            .filter { $0.suffix(8) == Array(" synced\n".utf8) }
        try #require(synced.count == sample.acknowledged.count)
        var random = SeededRandom(seed: 12)
        var outcomes = (refused: 0, cut: 0)
        for _ in 0..<draws(1000) {
            var bytes = sample.bytes
            for _ in 0..<1 + random.below(3) { bytes = random.mutation(of: bytes) }
            try scratch.write("pauses.journal", bytes)
            let same = zip(bytes, sample.bytes).prefix { $0 == $1 }.count
            let line = starts.last { $0 <= same }!
            // Whether something behind the damage says that what is damaged was acknowledged.
            let isAcknowledged = synced.contains { bytes[min(line, bytes.count)...].firstRange(of: $0) != nil }
            if bytes == sample.bytes {
                #expect(try scratch.paused() == sample.acknowledged.last!.paused)
            } else if same < promised || isAcknowledged {
                #expect(throws: StateError.self) { try scratch.paused() }
                outcomes.refused += 1
            } else {
                // Looks like a crash: what is above the damage is in force, whole.
                #expect(try scratch.paused() == sample.paused(upTo: same))
                outcomes.cut += 1
            }
        }
        #expect(outcomes.refused > draws(300) && outcomes.cut > draws(30), "\(outcomes)")
    }

    @Test func mutatedChoicesAreRefused() throws {
        let full = ServingChoice(serving: "20260131T1200", previous: "a_b-C", chosen: "x", currentWhenChosen: "zzz")
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        try state.write(full)
        let good = try scratch.bytes("choice.json")
        var random = SeededRandom(seed: 11)
        for _ in 0..<draws(500) {
            let bytes = random.mutation(of: good)
            try scratch.write("choice.json", bytes)
            if bytes == good {
                #expect(try state.readChoice() == full)
            } else {
                #expect(throws: StateError.self) { try state.readChoice() }
            }
        }
    }
}

extension SeededRandom {
    /// The bytes with one stretch of them changed, cut out, doubled, moved or added.
    mutating func mutation(of bytes: [UInt8]) -> [UInt8] {
        var result = bytes
        var start = below(bytes.count + 1)
        var end = min(bytes.count, start + (below(4) == 0 ? below(200) : 1 + below(8)))
        if below(3) == 0 {
            // Whole lines, which are sound by themselves.
            let starts = [0] + bytes.indices.filter { bytes[$0] == UInt8(ascii: "\n") }.map { $0 + 1 }
            start = element(starts)
            end = element(starts.filter { $0 >= start })
        }
        switch below(8) {
        case 0 where start < bytes.count: result[start] ^= 1 << below(8)
        case 1: for offset in start..<end { result[offset] = UInt8(below(256)) }
        case 2: for offset in start..<end { result[offset] = 0 }
        case 3: result.removeSubrange(start..<end)
        case 4: result.insert(contentsOf: bytes[start..<end], at: start)
        case 5: result.insert(contentsOf: bytes[start..<end], at: below(bytes.count + 1))
        case 6: result.insert(contentsOf: (0..<1 + below(30)).map { _ in UInt8(below(256)) }, at: start)
        default: result.removeSubrange(start...)
        }
        return result
    }
}
