import Foundation
import SnapshotCheck
import Snapshots
import TestSupport
import Testing

/// The daemon computes what PyTorch computed, and the comparison that says so notices when any part of the model is
/// left out.
@Suite struct ParityTests {
    @Test(arguments: Fixtures.all) func agreesWithPyTorch(fixture: String) throws {
        var lines: [String] = []
        try SnapshotCheck(path: try Fixtures.path(fixture)).run { lines.append($0) }
        let hasGraph = fixture != "cross-only" && fixture != "cascade-only"
        #expect(
            lines.map { String($0.prefix { $0 != ":" }) } == [
                "ok seal", "ok integrity", "ok contents", "ok index",
            ] + (hasGraph ? ["ok reach"] : []) + ["ok golden", "ok warmup", "ok recall"])
    }

    @Test(arguments: ["cs3-one-cycle", "cs3-two-cycles", "cs3-three-cycles", "cross-only", "cascade-only"])
    func noticesMissingCycles(fixture: String) throws {
        let copy = try SnapshotCopy(of: fixture)
        for layer in try copy.cycleAdaptiveLayers() { copy.set("towers/user/layers/\(layer)/cycles", "0") }
        try copy.removeTensors("user_tower.safetensors") { $0.contains(".gate.") }
        try expectOtherEmbedding(copy)
    }

    @Test(arguments: ["cs3-one-cycle", "cs3-two-cycles", "cs3-three-cycles", "cross-only", "cascade-only"])
    func noticesOneCycleMoreOrLessInAnyLayer(fixture: String) throws {
        let layers = try SnapshotCopy(of: fixture).cycleAdaptiveLayers()
        #expect(!layers.isEmpty)
        for layer in layers {
            for change in [-1, 1] {
                let copy = try SnapshotCopy(of: fixture)
                let cycles = (copy.value("towers/user/layers/\(layer)/cycles") as! Int) + change
                copy.set("towers/user/layers/\(layer)/cycles", "\(cycles)")
                if cycles == 0 {
                    let name = copy.value("towers/user/layers/\(layer)/name") as! String
                    try copy.removeTensors("user_tower.safetensors") { $0.hasPrefix("\(name).gate.") }
                }
                try expectOtherEmbedding(copy)
            }
        }
    }

    @Test(arguments: ["cs3-one-cycle", "cs3-two-cycles", "cs3-three-cycles", "cross-only"])
    func noticesMissingCrossVectors(fixture: String) throws {
        try expectOtherEmbedding(withoutColumn: "c_u", "cross", fixture)
    }

    @Test(arguments: ["cs3-one-cycle", "cs3-two-cycles", "cs3-three-cycles", "cascade-only"])
    func noticesMissingCascadeVectors(fixture: String) throws {
        try expectOtherEmbedding(withoutColumn: "s_u", "cascade", fixture)
    }

    @Test(arguments: Fixtures.all) func noticesTheOtherNormalisation(fixture: String) throws {
        let copy = try SnapshotCopy(of: fixture)
        let isNormalised = copy.value("normalisation/user") as! String == "l2"
        copy.set("normalisation/user", isNormalised ? #""none""# : #""l2""#)
        try expectOtherEmbedding(copy)
    }

    @Test(arguments: ["cs3-one-cycle", "cs3-two-cycles"]) func noticesCachedVectorsOfOtherUsers(fixture: String) throws
    {
        let copy = try SnapshotCopy(of: fixture)
        let count = copy.value("users/count") as! Int
        try copy.editTensor("users.safetensors", "c_u") { bytes in
            let row = bytes.count / count
            bytes = bytes.subdata(in: row..<bytes.count) + bytes.subdata(in: 0..<row)
        }
        try expectOtherEmbedding(copy)
    }

    /// Once the column holds zeros, and once it is not there at all, which the tower reads as zeros.
    private func expectOtherEmbedding(withoutColumn tensor: String, _ vector: String, _ fixture: String) throws {
        let zeroed = try SnapshotCopy(of: fixture)
        try zeroed.editTensor("users.safetensors", tensor) { $0 = Data(count: $0.count) }
        try expectOtherEmbedding(zeroed)

        let removed = try SnapshotCopy(of: fixture)
        let others = (removed.value("users/vectors") as! [String]).filter { $0 != vector }
        removed.set("users/vectors", "[\(others.map { "\"\($0)\"" }.joined())]")
        try removed.removeTensors("users.safetensors") { $0 == tensor }
        try expectOtherEmbedding(removed)
    }

    private func expectOtherEmbedding(_ copy: SnapshotCopy, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try copy.seal()
        try expectRefusal(
            of: copy.path, .golden, "golden.jsonl", ["of the embedding", "PyTorch computed"],
            sourceLocation: sourceLocation)
    }
}

extension SnapshotCopy {
    /// The user tower's layers with cycles.
    fileprivate func cycleAdaptiveLayers() throws -> [Int] {
        (value("towers/user/layers") as! [[String: Any]]).enumerated()
            .filter { ($0.element["cycles"] as? Int ?? 0) > 0 }.map(\.offset)
    }
}
