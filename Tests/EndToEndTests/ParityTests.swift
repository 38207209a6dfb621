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

    /// A daemon without cycles, or without one of the cached vectors, does not give the golden answers, and so does not serve.
    @Test(arguments: ["cycles", "cross vectors", "cascade vectors"]) func refusesWhatIsSwitchedOff(_ part: String)
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
        let run = try BelfryRun(
            ["serve", "--snapshots", copy.path, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        #expect(run.failedWithOneLine && run.errors.contains("golden.jsonl: line"), "\(run)")
    }

    /// The comparison over HTTP is able to fail: answers of another model, by as little as 2e-5, are noticed.
    @Test func noticesOtherAnswers() throws {
        let snapshot = try Fixtures.path("cs3-two-cycles")
        let directory = try TemporaryDirectory()
        for file in try FileManager.default.contentsOfDirectory(atPath: snapshot) where file != "golden.jsonl" {
            try FileManager.default.createSymbolicLink(
                atPath: directory.file(file), withDestinationPath: "\(snapshot)/\(file)")
        }
        let lines = try String(contentsOfFile: "\(snapshot)/golden.jsonl", encoding: .utf8).split(separator: "\n")
        let changed = try lines.map { line in
            var object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            var embeddings = try #require(object["embeddings"] as? [[Double]])
            let norm = embeddings[0].reduce(0) { $0 + $1 * $1 }.squareRoot()
            embeddings[0][0] += 2e-5 * norm
            object["embeddings"] = embeddings
            var top = try #require(object["top"] as? [String: Any])
            top["ids"] = try #require(top["ids"] as? [Any]).reversed() as [Any]
            object["top"] = top
            return try JSONSerialization.data(withJSONObject: object)
        }
        _ = try directory.write("golden.jsonl", Data(changed.joined(separator: Data("\n".utf8))))
        let golden = try GoldenReplies(snapshot: directory.path)
        let daemon = try Daemon(snapshot: snapshot)
        #expect(try golden.largestEmbeddingDeviation(daemon) > 1e-5)
        #expect(try golden.exactFaults(daemon) != [])
    }
}
