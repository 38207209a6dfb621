import Foundation
import TestSupport
import Testing

/// The daemon against PyTorch and faiss-cpu, over HTTP, on every golden request of models drawn from six seeds.
@Suite struct ParityTests {
    @Test(arguments: Fixtures.all) func agreesWithPyTorchAndExactSearch(_ fixture: String) throws {
        let snapshot = try Fixtures.path(fixture)
        let golden = try GoldenReplies(snapshot: snapshot)
        #expect(golden.lines.count >= 64)
        let daemon = try Daemon(snapshot: snapshot)
        #expect(try golden.largestEmbeddingDeviation(daemon) <= 1e-5)
        #expect(try golden.exactFaults(daemon) == [])
        #expect(daemon.terminate() == 0)
    }

    /// The comparison is able to fail: a daemon without cycles, or without one of the cached vectors, is noticed.
    @Test(arguments: ["cycles", "cross vectors", "cascade vectors"]) func noticesWhatIsSwitchedOff(_ part: String)
        throws
    {
        let copy = try SnapshotCopy(of: "cs3-two-cycles")
        switch part {
        case "cycles":
            for layer in 0..<(copy.value("towers/user/layers") as! [Any]).count {
                copy.set("towers/user/layers/\(layer)/cycles", "0")
            }
            try copy.removeTensors("user_tower.safetensors") { $0.contains(".gate.") }
        case "cross vectors": try copy.editTensor("users.safetensors", "c_u") { $0 = Data(count: $0.count) }
        default: try copy.editTensor("users.safetensors", "s_u") { $0 = Data(count: $0.count) }
        }
        try copy.seal()
        let golden = try GoldenReplies(snapshot: copy.path)
        let daemon = try Daemon(snapshot: copy.path)
        #expect(try golden.largestEmbeddingDeviation(daemon) > 1e-3)
        #expect(try golden.exactFaults(daemon) != [])
    }
}
