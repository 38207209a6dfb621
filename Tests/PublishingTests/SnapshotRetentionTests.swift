import Foundation
import TestSupport
import Testing

@testable import Publishing

/// What pruning removes and what never.
@Suite struct SnapshotRetentionTests {
    private let target: TargetDirectory

    init() throws {
        target = try TargetDirectory()
    }

    private func retention(_ count: Int) -> SnapshotRetention {
        SnapshotRetention(directory: target.path, keeping: count, lockTimeoutSeconds: 5)
    }

    private func makeSnapshots() throws {
        for (id, day) in [("e", 1), ("d", 2), ("a", 5), ("c", 3), ("b", 4)] {
            try target.makeSnapshot(id, publishedAt: "2026-01-0\(day)T00:00:00Z")
        }
    }

    @Test func keepsTheNewest() throws {
        try makeSnapshots()
        let before = try target.files()
        let pruning = try retention(2).prune { [] }
        #expect(pruning.removed == ["c", "d", "e"] && pruning.kept == ["a", "b"] && pruning.leftovers == [])
        #expect(try target.names == ["a", "b"])
        #expect(try target.files() == before.filter { ["a", "b", "."].contains($0.key.prefix(1)) })
        #expect(try retention(2).prune { [] }.removed == [])
    }

    @Test func breaksTiesByID() throws {
        for id in ["b", "a", "c"] { try target.makeSnapshot(id, publishedAt: "2026-01-01T00:00:00Z") }
        #expect(try retention(1).prune { [] }.kept == ["c"])
    }

    @Test func keepsWhatServesOrIsProtected() throws {
        try makeSnapshots()
        try target.link("current", to: "e")
        #expect(try retention(1).prune { ["d", "unknown"] }.removed == ["b", "c"])
        #expect(try target.names == ["a", "current", "d", "e"])
        try target.write("CURRENT", "d\n")
        #expect(try retention(1).prune { [] }.removed == [])
    }

    /// Against an expectation that is counted, not copied: every subset rule by itself.
    @Test func keepsExactlyWhatTheRulesName() throws {
        var random = SeededRandom(seed: 5)
        for _ in 0..<40 {
            let target = try TargetDirectory()
            let ids = (0..<8).map { "s\($0)" }
            var times: [String: Int] = [:]
            for id in ids {
                times[id] = random.below(4)
                try target.makeSnapshot(id, publishedAt: "2026-01-01T00:00:0\(times[id]!)Z")
            }
            let current = random.element(ids)
            try target.link("current", to: current)
            let protected = Set(ids.filter { _ in random.below(5) == 0 })
            let count = 1 + random.below(9)
            try SnapshotRetention(directory: target.path, keeping: count).prune { protected }
            for id in ids {
                let newerCount = ids.filter { times[$0]! > times[id]! || times[$0]! == times[id]! && $0 > id }.count
                let isKept = newerCount < count || id == current || protected.contains(id)
                #expect(FileManager.default.fileExists(atPath: "\(target.path)/\(id)/_SUCCESS") == isKept)
                #expect(FileManager.default.fileExists(atPath: "\(target.path)/\(id)") == isKept)
            }
        }
    }

    @Test func leavesEverythingElseAlone() throws {
        try makeSnapshots()
        try target.makeDirectory("unsealed")
        try target.makeDirectory("broken")
        try target.write("broken/_SUCCESS", "{")
        try target.makeSnapshot("timeless", publishedAt: "yesterday")
        try target.makeSnapshot("not an id", publishedAt: "2020-01-01T00:00:00Z")
        try target.write("file", "text")
        let elsewhere = try TargetDirectory()
        try elsewhere.makeSnapshot("linked", publishedAt: "2020-01-01T00:00:00Z")
        try target.link("linked", to: "\(elsewhere.path)/linked")
        try retention(1).prune { [] }
        #expect(try target.names == ["a", "broken", "file", "linked", "not an id", "timeless", "unsealed"])
        #expect(try elsewhere.files(under: "linked").count == 2)
    }

    // MARK: What comes into use meanwhile

    @Test func bringsBackWhatCameIntoUse() throws {
        try makeSnapshots()
        let before = try target.files()
        var calls: [[String]] = []
        let pruning = try retention(1).prune {
            calls.append(try target.names)
            return calls.count == 1 ? [] : ["d"]
        }
        #expect(calls == [["a", "b", "c", "d", "e"], ["a", "b.removed", "c.removed", "d.removed", "e.removed"]])
        #expect(pruning.removed == ["b", "c", "e"] && pruning.kept == ["a", "d"])
        #expect(try target.names == ["a", "d"])
        #expect(try target.files(under: "d")["index.faiss"] == before["d/index.faiss"])
    }

    @Test func bringsBackWhatCurrentNamesMeanwhile() throws {
        try makeSnapshots()
        var callCount = 0
        try retention(1).prune {
            callCount += 1
            if callCount == 2 { try target.link("current", to: "c") }
            return []
        }
        #expect(try target.names == ["a", "c", "current"])
    }

    @Test func removesNothingIfNobodyCanSayWhatIsInUse() throws {
        struct Gone: Error {}
        try makeSnapshots()
        for failing in [1, 2] {
            var callCount = 0
            #expect(throws: Gone.self) {
                try retention(1).prune {
                    callCount += 1
                    if callCount == failing { throw Gone() }
                    return []
                }
            }
            #expect(try target.names == ["a", "b", "c", "d", "e"])
        }
    }

    // MARK: What the killed left

    @Test func removesDraftsThatAreOldEnough() throws {
        try target.makeSnapshot("a", publishedAt: "2026-01-01T00:00:00Z")
        for name in ["b.tmp", "c.removed", "not an id.tmp", "d.other"] {
            try target.makeDirectory("\(name)/folder")
            try target.write("\(name)/file", "half")
        }
        try target.write("e.tmp", "a file")
        let all = ["a", "b.tmp", "c.removed", "d.other", "e.tmp", "not an id.tmp"]
        let now = Int(Date().timeIntervalSince1970)
        #expect(try retention(1).prune(now: now + 3500) { [] }.leftovers == [])
        #expect(try target.names == all)
        #expect(try retention(1).prune(now: now + 3700) { [] }.leftovers == ["b.tmp", "c.removed"])
        #expect(try target.names == ["a", "d.other", "e.tmp", "not an id.tmp"])
    }

    /// A pruner is killed in the instant in which the daemon takes up what it has set aside.
    @Test func leavesWhatIsInUseEvenIfItIsSetAside() throws {
        for id in ["a", "b", "c", "d"] { try target.makeSnapshot("\(id).removed", publishedAt: "2026-01-01T00:00:00Z") }
        try target.makeDirectory("b.tmp")
        try target.link("current", to: "a")
        let later = Int(Date().timeIntervalSince1970) + 3700
        #expect(try retention(1).prune(now: later) { ["b"] }.leftovers == ["b.tmp", "c.removed", "d.removed"])
        #expect(try target.names == ["a.removed", "b.removed", "current"])
    }

    @Test func aDraftIsAsYoungAsItsYoungestFile() throws {
        try target.makeDirectory("b.tmp")
        try target.write("b.tmp/file", "half")
        let old = Date(timeIntervalSinceNow: -7200)
        try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: "\(target.path)/b.tmp")
        #expect(try retention(1).prune { [] }.leftovers == [])
        try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: "\(target.path)/b.tmp/file")
        try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: "\(target.path)/b.tmp")
        #expect(try retention(1).prune { [] }.leftovers == ["b.tmp"])
    }

    @Test func removesAgainWhatWasHalfRemovedBefore() throws {
        try makeSnapshots()
        try target.makeDirectory("e.removed/folder")
        #expect(try retention(4).prune { [] }.removed == ["e"])
        #expect(try target.names == ["a", "b", "c", "d"])
    }

    // MARK: Wrong directories

    @Test func refusesWhatIsNoDirectoryOfSnapshots() throws {
        try target.write("file", "text")
        try target.makeSnapshot("one", publishedAt: "2026-01-01T00:00:00Z")
        for (path, words) in [
            ("gone", "is not a directory of snapshots"), ("file", "is not a directory of snapshots"),
            ("one", "is a snapshot itself"),
        ] {
            let error = #expect(throws: PublishingError.self) {
                try SnapshotRetention(directory: "\(target.path)/\(path)", keeping: 1).prune { [] }
            }
            #expect(error?.description.contains(words) == true)
        }
        #expect(try target.names == ["file", "one"])
        #expect(try target.files(under: "one").count == 2)
    }

    @Test func waitsForPublishersOrGivesUp() throws {
        try makeSnapshots()
        let lock = open("\(target.path)/.publish.lock", O_RDWR | O_CREAT, 0o600)
        defer { close(lock) }
        #expect(flock(lock, LOCK_EX) == 0)
        #expect(throws: PublishingError.self) {
            try SnapshotRetention(directory: target.path, keeping: 1, lockTimeoutSeconds: 0).prune { [] }
        }
        #expect(try target.names.count == 5)
    }
}
