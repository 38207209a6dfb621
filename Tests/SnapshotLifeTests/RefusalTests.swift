import DaemonState
import Foundation
import Snapshots
import TestSupport
import Testing

@testable import SnapshotLife

/// Snapshots that are published while another serves, and must not.
@Suite struct RefusalTests {
    /// One way to be refused.
    struct Bad: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let stage: SnapshotError.Stage
        let words: [String]
        var fixture = "cross-only"
        var edit: @Sendable (SnapshotCopy) throws -> Void = { _ in }
        var spoil: @Sendable (SnapshotCopy) throws -> Void = { _ in }
    }

    static let bad: [Bad] = [
        Bad(
            testDescription: "another name", stage: .manifest, words: ["'other'", "'bad'"],
            edit: { $0.set("id", "\"other\"") }),
        Bad(
            testDescription: "a manifest that is none", stage: .manifest, words: [],
            edit: { $0.manifestBytes = Data("{".utf8) }),
        Bad(
            testDescription: "another format", stage: .manifest, words: ["belfry-snapshot/9"],
            edit: { $0.set("format", "\"belfry-snapshot/9\"") }),
        Bad(testDescription: "a delta", stage: .manifest, words: ["delta"], edit: { $0.set("kind", "\"delta\"") }),
        Bad(
            testDescription: "a manifest that was not sealed", stage: .integrity, words: ["_SUCCESS"],
            spoil: { try $0.append("manifest.json", " ") }),
        Bad(testDescription: "no manifest", stage: .directory, words: [], spoil: { try $0.remove("manifest.json") }),
        Bad(
            testDescription: "a flipped bit", stage: .integrity, words: ["sha256"],
            spoil: { try $0.flipBit("items.safetensors", at: 4000) }),
        Bad(
            testDescription: "a file cut off", stage: .integrity, words: ["bytes"],
            spoil: { try $0.truncate("user_tower.safetensors", to: 1000) }),
        Bad(
            testDescription: "a missing file", stage: .integrity, words: [],
            spoil: { try $0.remove("users.safetensors") }),
        Bad(
            testDescription: "a pipe", stage: .integrity, words: ["regular"],
            spoil: { try $0.replaceByPipe("golden.jsonl") }),
        Bad(
            testDescription: "another space", stage: .contents, words: ["random-other"],
            edit: { try $0.setSpace("user_tower.safetensors", "random-other") }),
        Bad(
            testDescription: "weights of another", stage: .contents, words: [],
            edit: { try $0.take("user_tower.safetensors", from: "plain") }),
        Bad(
            testDescription: "not a number", stage: .index, words: [],
            edit: { copy in
                try copy.edit("index.faiss") { bytes in
                    let place = bytes.count - 400
                    bytes.replaceSubrange(place..<place + 4, with: SnapshotCopy.littleEndian(Float.nan.bitPattern))
                }
            }),
        Bad(
            testDescription: "another index", stage: .index, words: [],
            edit: { try $0.take("index.faiss", from: "plain") }),
        Bad(
            testDescription: "golden answers of another", stage: .golden, words: ["PyTorch"],
            edit: { copy in
                let lines = String(decoding: try copy.bytes(of: "golden.jsonl"), as: UTF8.self).split(separator: "\n")
                var answers = try lines.map { try JSONSerialization.jsonObject(with: Data($0.utf8)) as! [String: Any] }
                let first = answers[0]["embeddings"]
                answers[0]["embeddings"] = answers[1]["embeddings"]
                answers[1]["embeddings"] = first
                let texts = try answers.map {
                    String(decoding: try JSONSerialization.data(withJSONObject: $0), as: UTF8.self)
                }
                try copy.write("golden.jsonl", texts.map { "\($0)\n" }.joined())
            }),
        Bad(
            testDescription: "warm-up requests that its index refuses", stage: .warmup, words: ["line 2"],
            edit: { copy in
                let first = String(decoding: try copy.bytes(of: "warmup.jsonl"), as: UTF8.self).split(separator: "\n")[
                    0]
                try copy.write("warmup.jsonl", "\(first)\n{\"user\":{},\"search\":{\"ef\":50}}\n")
            }),
    ]

    @Test(arguments: bad) func refusedWithTheReasonAndTheOldOneServesOn(_ bad: Bad) throws {
        let shelf = try Shelf(("cascade-only", "a"), ("plain", "b"))
        let tested = try LifeUnderTest.started(shelf) { $0.keepsPrevious = true }
        try tested.activate("b")
        let serving = tested.weakServing()
        try shelf.publish(bad.fixture, as: "bad", edit: bad.edit, spoil: bad.spoil)
        let fault = try tested.refusal(of: "bad")
        #expect(fault.stage == bad.stage, "\(fault)")
        for word in bad.words { #expect(fault.description.contains(word), "\(fault)") }
        #expect(tested.servingID == "b" && !serving.isFreed)
        // It stays listed with its reason.
        for _ in 0..<2 {
            let record = try tested.record("bad")
            #expect(record.state == .failed && record.fault == fault)
            #expect(record.times.last?.event == "failed")
        }
        #expect(tested.life.choice.previous == "a" && tested.life.choice.serving == "b")
        // In the way of `current` too.
        try shelf.setCurrent("bad")
        #expect(throws: SnapshotLifeError.self) { try tested.life.followCurrent().wait() }
        #expect(tested.servingID == "b")
        // Again is again refused, and repaired under the same name it is not.
        #expect(try tested.refusal(of: "bad").stage == bad.stage)
        try shelf.publish(bad.fixture, as: "bad")
        try tested.activate("bad")
        #expect(tested.servingID == "bad")
        let record = try tested.record("bad")
        #expect(record.state == .serving && record.fault == nil)
        #expect(record.times.map(\.event) == ["found", "verifying", "loading", "warming", "ready", "serving"])
        #expect(try tested.rollback() == "b")
    }

    @Test func countsRefusalsByStage() throws {
        let shelf = try Shelf(("cascade-only", "a"))
        let tested = try LifeUnderTest.started(shelf)
        try shelf.publish("plain", as: "bad", spoil: { try $0.flipBit("index.faiss", at: 4000) })
        for _ in 0..<3 { _ = try tested.refusal(of: "bad") }
        let totals = try #require(tested.life.counts.totals)
        #expect(totals.refusedCounts == [.integrity: 3] && totals.swapCount == 0)
    }

    /// What was loaded of a snapshot that is refused at last is freed.
    @Test func refusedOnesLeaveNothingBehind() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("plain", "b"))
        let tested = try LifeUnderTest.started(shelf)
        try shelf.publish(
            "cross-only", as: "bad",
            edit: { try $0.write("warmup.jsonl", #"{"user":{},"search":{"ef":50}}"#) })
        func mappingCount() throws -> Int {
            let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
            return maps.split(separator: "\n").count { $0.contains("\(shelf.path)/bad/") }
        }
        for _ in 0..<3 { #expect(try tested.refusal(of: "bad").stage == .warmup) }
        #expect(try eventually { try mappingCount() == 0 })
    }

    // MARK: Item count

    /// cascade-only has 800 items, plain 1000, cross-only 1500.
    @Test func itemCountsMustBeAlike() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("cross-only", "b"), ("plain", "c"))
        let tested = try LifeUnderTest.started(shelf) { $0.itemCountRatio = 0.6 }
        let fault = try tested.refusal(of: "b")
        #expect(fault.stage == .itemCount)
        for word in ["1500", "800", "0.6", "'a'"] { #expect(fault.description.contains(word), "\(fault)") }
        // 0.8 and 0.67 are enough, 0.53 is not in the other direction either.
        try tested.activate("c")
        try tested.activate("b")
        #expect(try tested.refusal(of: "a").stage == .itemCount)
        try tested.activate("c")
        tested.end()
        // The first one of a life is held to nothing.
        try shelf.setCurrent("b")
        let again = try LifeUnderTest.started(shelf) { $0.itemCountRatio = 1 }
        #expect(again.servingID == "b")
        #expect(try again.refusal(of: "c").stage == .itemCount)
    }

    // MARK: Memory

    @Test func memoryMustBeThere() throws {
        let shelf = try Shelf(("cascade-only", "a"))
        let reserve = 1 << 48
        let greedy = try LifeUnderTest(shelf) { $0.memoryReserve = reserve }
        let error = #expect(throws: SnapshotError.self) { try greedy.life.start() }
        #expect(error?.stage == .memory)
        #expect(error?.description.contains("\(reserve)") == true)
        greedy.end()
        // The figures: what it takes is at least its index, what there is at most the machine's.
        let numbers = (error?.fault ?? "").split { !$0.isNumber }.compactMap { Int($0) }
        let index = try FileManager.default.attributesOfItem(atPath: "\(shelf.path)/a/index.faiss")[.size] as? Int
        #expect(numbers.count == 3 && numbers[0] > index ?? .max && numbers[1] == reserve)
        #expect(numbers.count == 3 && numbers[2] < Int(ProcessInfo.processInfo.physicalMemory))
        // The largest there is must not trap.
        let greediest = try LifeUnderTest(shelf) { $0.memoryReserve = .max }
        #expect(throws: SnapshotError.self) { try greediest.life.start() }
    }

    // MARK: Schema

    /// A sound model that takes `remainder` where the fixture takes `balance`.
    static func rename(_ copy: SnapshotCopy) throws {
        let features = try #require(copy.value("features/user") as? [[String: Any]])
        let inputs = try #require(copy.value("towers/user/inputs") as? [[String: Any]])
        let feature = try #require(features.firstIndex { $0["name"] as? String == "balance" })
        let input = try #require(inputs.firstIndex { $0["feature"] as? String == "balance" })
        copy.set("features/user/\(feature)/name", "\"remainder\"")
        copy.set("towers/user/inputs/\(input)/feature", "\"remainder\"")
        for file in ["golden.jsonl", "warmup.jsonl"] {
            let text = String(decoding: try copy.bytes(of: file), as: UTF8.self)
            try copy.write(file, text.replacingOccurrences(of: "\"balance\"", with: "\"remainder\""))
        }
    }

    /// A sound model that takes any number where the fixture takes an integer.
    static func retype(_ copy: SnapshotCopy) throws {
        let features = try #require(copy.value("features/user") as? [[String: Any]])
        let feature = try #require(features.firstIndex { $0["name"] as? String == "account_days" })
        copy.set("features/user/\(feature)/type", "\"number\"")
    }

    @Test func featuresMustNotBeDroppedOrRetyped() throws {
        let shelf = try Shelf(("cross-only", "a"))
        try shelf.publish("cross-only", as: "dropped", edit: Self.rename)
        try shelf.publish("cross-only", as: "retyped", edit: Self.retype)
        try shelf.publish("cascade-only", as: "b")
        let tested = try LifeUnderTest.started(shelf) { $0.allowsSchemaChange = false }
        // Another model that takes the same.
        try tested.activate("b")
        for (id, words) in [
            ("dropped", ["'balance'", "'b'", "lacks"]), ("retyped", ["'account_days'", "'b'", "number", "integer"]),
        ] {
            let fault = try tested.refusal(of: id)
            #expect(fault.stage == .schema)
            for word in words { #expect(fault.description.contains(word), "\(fault)") }
            #expect(tested.servingID == "b")
            // The gate looks before anything is loaded.
            #expect(try tested.events(id) == ["found", "verifying", "failed"])
        }
        tested.end()
        // What served last is no measure for the first of a new life.
        try shelf.setCurrent("dropped")
        let again = try LifeUnderTest.started(shelf) { $0.allowsSchemaChange = false }
        #expect(again.servingID == "dropped")
    }

    @Test func featuresMayBeDroppedAndRetypedWhereThatIsAllowed() throws {
        let shelf = try Shelf(("cross-only", "a"))
        try shelf.publish("cross-only", as: "dropped", edit: Self.rename)
        try shelf.publish("cross-only", as: "retyped", edit: Self.retype)
        let tested = try LifeUnderTest.started(shelf) { $0.allowsSchemaChange = true }
        try tested.activate("dropped")
        try tested.activate("retyped")
        #expect(tested.servingID == "retyped")
    }

    /// More than the serving one takes is no fault; less is, seen from there.
    @Test func featuresMayBeAdded() throws {
        let shelf = try Shelf(("cross-only", "a"))
        try shelf.publish(
            "cross-only", as: "more",
            edit: { copy in
                copy.set(
                    "features/user/+",
                    #"{"name":"mood","source":"context","type":"number","multi_valued":false,"encoding":{"kind":"numeric","transforms":[]}}"#
                )
            })
        let tested = try LifeUnderTest.started(shelf) { $0.allowsSchemaChange = false }
        try tested.activate("more")
        let fault = try tested.refusal(of: "a")
        #expect(fault.stage == .schema && fault.description.contains("'mood'"))
    }
}
