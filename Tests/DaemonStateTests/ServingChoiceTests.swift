import DaemonState
import Foundation
import TestSupport
import Testing

@Suite struct ServingChoiceTests {
    let full = ServingChoice(
        serving: "20260131T1200", previous: "a_b-C", chosen: "x", currentWhenChosen: String(repeating: "z", count: 64))

    @Test func nothingIsChosenAtFirst() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        #expect(try state.readChoice() == ServingChoice())
        #expect(!scratch.exists("choice.json"))
    }

    @Test func isReadAsItWasWritten() throws {
        let scratch = try ScratchDirectory()
        for bits in 0..<16 {
            let choice = ServingChoice(
                serving: bits & 1 == 0 ? nil : "s", previous: bits & 2 == 0 ? nil : "p",
                chosen: bits & 4 == 0 ? nil : "c", currentWhenChosen: bits & 8 == 0 ? nil : "w")
            let state = try StateDirectory(path: scratch.path)
            try state.write(choice)
            state.close()
            let again = try StateDirectory(path: scratch.path)
            #expect(try again.readChoice() == choice)
            // Other readers have it too.
            let object = try JSONSerialization.jsonObject(with: Data(try scratch.bytes("choice.json")))
            let members = try #require(object as? [String: Any])
            #expect(members["serving"] as? String == choice.serving)
            #expect(members["previous"] as? String == choice.previous)
            #expect(members["chosen"] as? String == choice.chosen)
            #expect(members["current_when_chosen"] as? String == choice.currentWhenChosen)
            again.close()
        }
        #expect(!scratch.exists("choice.json.tmp"))
    }

    @Test func whatACrashLeavesBesideItIsNotRead() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        try state.write(full)
        try scratch.write("choice.json.tmp", try scratch.bytes("choice.json").prefix(20))
        #expect(try state.readChoice() == full)
        try state.write(ServingChoice(serving: "t"))
        #expect(try state.readChoice() == ServingChoice(serving: "t"))
    }

    @Test func aWriteThatFailsLeavesTheOldOne() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        try state.write(full)
        try FileManager.default.createDirectory(
            atPath: "\(scratch.path)/choice.json.tmp/x", withIntermediateDirectories: true)
        #expect(throws: StateError.self) { try state.write(ServingChoice()) }
        #expect(try state.readChoice() == full)
    }

    @Test func everyDamageIsRefusedAndNamed() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        try state.write(full)
        let good = try scratch.bytes("choice.json")
        func refused(_ bytes: [UInt8]) throws {
            try scratch.write("choice.json", bytes)
            let error = #expect(throws: StateError.self) { try state.readChoice() }
            #expect(error?.path == "\(scratch.path)/choice.json")
        }
        for offset in good.indices {
            for bit in 0..<8 {
                var bytes = good
                bytes[offset] ^= 1 << bit
                try refused(bytes)
            }
            try refused(Array(good[..<offset]))
        }
        try refused(good + [0x20])
        try refused([UInt8](repeating: 0x20, count: 1 << 20))
        try refused(Array(#"{"format": "belfry-choice-2"}"#.utf8))
        try scratch.write("choice.json", good)
        #expect(try state.readChoice() == full)
    }

    @Test func mutatedFilesAreRefused() throws {
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
        let start = below(bytes.count + 1)
        let end = min(bytes.count, start + (below(4) == 0 ? below(200) : 1 + below(8)))
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
