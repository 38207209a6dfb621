import DaemonState
import Foundation
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
        let scratch = try ScratchDirectory(onDisk: true)
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
}
