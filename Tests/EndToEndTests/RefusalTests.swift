import Foundation
import SnapshotDamage
import Snapshots
import TestSupport
import Testing

/// Snapshots that are published while another one serves, and that must not.
@Suite struct RefusalTests {
    private let shelf: Shelf
    private let base = "cs3-three-cycles"

    init() throws {
        shelf = try Shelf()
        try shelf.publish(base, as: "base")
        try shelf.link("base")
    }

    /// The gates that compare with the serving snapshot are off: each damage has to be found by its own check.
    private func daemon(_ arguments: [String] = [], environment: [String: String] = [:]) throws -> Daemon {
        try Daemon(
            snapshot: shelf.path,
            arguments: ["--warmup-seconds", "0", "--item-count-ratio", "0", "--allow-schema-change"] + arguments,
            environment: environment)
    }

    /// A damage of each kind of file and check; all of them with BELFRY_LONG=1.
    static let damages: [Damage] = {
        let all =
            ManifestDamage.all + IntegrityDamage.all + ContentsDamage.all + IndexDamage.all + GoldenDamage.all
        let names: Set = [
            "another format", "a file behind an accented slash", "missing _SUCCESS", "half of _SUCCESS",
            "missing manifest", "towers swapped", "NaN in the user tower", "an item id twice",
            "an index of another dimension", "half an index", "item vectors of other items",
            "recall of lists under the floor", "another embedding", "a warm-up request that is refused",
        ]
        return Repetitions.isLong ? all : all.filter { names.contains($0.name) }
    }()

    /// Two damages are so large that the check of memory comes before the one that they are made for.
    private static func stage(of damage: Damage) -> String {
        ["2^31 items in the manifest", "2^31 users in the manifest"].contains(damage.name)
            ? "memory" : damage.stage.rawValue
    }

    @Test func eachDamageIsRefusedWithItsReasonAndTheOldOneServesOn() throws {
        #expect(Repetitions.isLong || Self.damages.count >= 14)
        let answers = try Answers(of: base, to: Answers.requests(2, from: base))
        let daemon = try daemon()
        #expect(try answers.faults(daemon, snapshot: "base") == [])
        var counts: [String: Int] = [:]
        for (number, damage) in Self.damages.enumerated() {
            let id = "damaged-\(number)"
            try shelf.publish(damage.fixture, as: id) { try damage.damage($0) }
            try shelf.link(id)
            let refused = try daemon.wait(forRefusalOf: id)
            let stage = Self.stage(of: damage)
            let reason = refused.reason ?? ""
            #expect(refused.stage == stage, "\(damage.name): \(refused)")
            #expect(reason.contains(damage.file ?? shelf.file(id)) || stage == "memory", "\(damage.name): \(refused)")
            for word in damage.words where stage != "memory" {
                #expect(reason.contains(word), "\(damage.name) says not '\(word)': \(reason)")
            }
            // The state comes first, the log a moment later.
            try daemon.wait(for: "the log to name \(damage.name)") {
                daemon.logged.split(separator: "\n").contains { line in
                    line.contains("snapshot refused") && line.contains("id=\(id) ") && line.contains("stage=\(stage)")
                        && line.contains(reason)
                }
            }
            #expect(refused.times["failed"] != nil && refused.times["serving"] == nil, "\(damage.name): \(refused)")
            #expect(try daemon.snapshots().serving == "base")
            #expect(try answers.faults(daemon, snapshot: "base") == [], "\(damage.name)")
            counts[stage, default: 0] += 1
            try shelf.link("base")
            try shelf.remove(id)
        }
        let metrics = try Metrics(of: daemon)
        for (stage, count) in counts {
            #expect(metrics["belfry_snapshots_refused_total", ["reason": stage]] == Double(count), "\(stage)")
        }
        #expect(metrics["belfry_swaps_total"] == 0)
        if Repetitions.isLong { print("refused: \(counts.sorted { $0.key < $1.key })") }
        #expect(daemon.terminate() == 0)
    }

    /// A model of another space is as good as any if all of it is; a part of one is not.
    @Test func aTowerOfAnotherSpaceIsRefused() throws {
        let daemon = try daemon()
        try shelf.publish(base, as: "foreign") { copy in
            try copy.setSpace("user_tower.safetensors", "another")
            try copy.seal()
        }
        let reply = try daemon.admin("POST", "/v1/snapshots/foreign:activate")
        #expect(reply.status == 422 || reply.status == 409)
        #expect((reply.json["detail"] as? String)?.contains("belongs to space 'another'") == true, "\(reply.json)")
        #expect(try daemon.wait(forRefusalOf: "foreign").stage == "contents")
        try shelf.publish("plain", as: "whole")
        #expect(try daemon.admin("POST", "/v1/snapshots/whole:activate").status == 200)
        #expect(try daemon.snapshots().serving == "whole")
    }

    /// Refused late, so that all of it was in memory: what a leak would show most.
    @Test func refusalsLeaveNoMemoryBehind() throws {
        // What the address sanitizer keeps of freed memory, 256 MB and 1 MB a thread, would look like a leak.
        let daemon = try daemon(
            environment: ["ASAN_OPTIONS": "quarantine_size_mb=0:thread_local_quarantine_size_kb=0"])
        let kinds: [(SnapshotCopy) throws -> Void] = [
            { copy in
                try copy.setFloat("user_tower.safetensors", "layers.4.bias", at: 0, 0.5)
                try copy.seal()
            },
            { try $0.flipBit("golden.jsonl", at: 100) },
            { copy in
                try copy.truncate("index.faiss", to: 100_000)
                try copy.seal()
            },
            { copy in
                try copy.write("warmup.jsonl", "garbage")
                try copy.seal()
            },
        ]
        for (number, damage) in kinds.enumerated() { try shelf.publish(base, as: "damaged-\(number)", damage: damage) }
        let stages = ["golden", "integrity", "index", "contents"]
        func refuse(_ number: Int) throws {
            let reply = try daemon.admin("POST", "/v1/snapshots/damaged-\(number % kinds.count):load")
            let detail = reply.json["detail"] as? String ?? ""
            #expect(reply.status == 422 && detail.hasPrefix(stages[number % kinds.count]), "\(detail)")
        }
        for number in 0..<12 { try refuse(number) }
        let early = daemon.residentKiB
        let mapped = try maps(of: daemon)
        for number in 12..<(Repetitions.isLong ? 100 : 40) { try refuse(number) }
        let late = daemon.residentKiB
        print("resident after 12 refusals \(early) KiB, after \(Repetitions.isLong ? 100 : 40) \(late) KiB")
        #expect(Double(late) < 1.03 * Double(early), "\(early) KiB, then \(late)")
        // Nor files that stay mapped or open.
        #expect(try maps(of: daemon) == mapped)
        #expect(try descriptors(of: daemon).allSatisfy { !$0.contains("/damaged-") })
    }

    /// Which of the refused snapshots' files are mapped.
    private func maps(of daemon: Daemon) throws -> [Substring] {
        try String(contentsOfFile: "/proc/\(daemon.processIdentifier)/maps", encoding: .utf8).split(separator: "\n")
            .filter { $0.contains("/damaged-") }
    }

    private func descriptors(of daemon: Daemon) throws -> [String] {
        let directory = "/proc/\(daemon.processIdentifier)/fd"
        return try FileManager.default.contentsOfDirectory(atPath: directory).compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/\($0)")
        }
    }

    // MARK: The process that parses

    /// The child of the daemon that parses an index; it lives for some milliseconds.
    private static func child(of daemon: Daemon) -> Int32? {
        let tasks = "/proc/\(daemon.processIdentifier)/task"
        for task in (try? FileManager.default.contentsOfDirectory(atPath: tasks)) ?? [] {
            guard let text = try? String(contentsOfFile: "\(tasks)/\(task)/children", encoding: .utf8) else { continue }
            for word in text.split(separator: " ") {
                let line = (try? String(contentsOfFile: "/proc/\(word)/cmdline", encoding: .utf8)) ?? ""
                // Before its exec it is the daemon still.
                if line.contains("parse-index") { return Int32(word) }
            }
        }
        return nil
    }

    /// FAISS aborts on some contradictions; that ends the child. None is known that our own check lets pass, so that the signal
    /// comes from here.
    @Test(arguments: [SIGKILL, SIGABRT, SIGSEGV]) func aParserThatDiesIsARefusal(signal: Int32) throws {
        let answers = try Answers(of: base, to: Answers.requests(2, from: base))
        let daemon = try daemon()
        try shelf.publish("cs3-two-cycles", as: "next")
        var hits = 0
        for _ in 0..<20 where hits == 0 {
            #expect(try daemon.admin("POST", "/v1/snapshots/next:load?wait=0").status == 202)
            var refused: SnapshotState?
            try daemon.wait(for: "an end") {
                if hits == 0, let child = Self.child(of: daemon), kill(child, signal) == 0 { hits += 1 }
                let next = try daemon.snapshots().byID["next"]
                if next?.state == "failed" { refused = next }
                return ["failed", "ready"].contains(next?.state)
            }
            guard hits > 0, let refused else { hits = 0; continue }
            #expect(refused.stage == "index", "\(refused)")
            #expect(
                refused.reason?.contains("ended the process that parsed it with signal \(signal)") == true, "\(refused)"
            )
        }
        #expect(hits == 1, "no child was seen in 20 loads")
        #expect(try answers.faults(daemon, snapshot: "base") == [])
        // And what was refused for the child's death is taken when the child lives.
        #expect(try daemon.admin("POST", "/v1/snapshots/next:activate").status == 200)
        #expect(try daemon.snapshots().serving == "next")
    }
}
