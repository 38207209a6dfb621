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
}
