import Foundation
import TestSupport
import Testing

/// The scenario of 200 swaps, small: two models of 2,000 items, five swaps, every reply recomputed. The models are made once, by
/// PyTorch.
@Suite(.serialized) struct LoadTestSwapsTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    private static let python = root.appendingPathComponent(".venv/bin/python")

    private struct Failed: Error {
        let status: Int32
        let errors: String
    }

    private func runScenario(out: String) throws -> [String: Any] {
        let process = Process()
        process.executableURL = Self.python
        process.currentDirectoryURL = Self.root
        process.arguments = [
            "loadtest/swaps/run.py", "swap-200", "--items", "2000", "--swaps", "5", "--every", "100ms", "--settle",
            "20ms",
            "--saturation", "500ms", "--rate", "200", "--warmup", "200ms", "--server-core", "-1", "--load-core", "-1",
            "--load-priority", "normal", "--belfry", Daemon.binary.path, "--out", out,
            // The scenario's 5 % are 2.4 MiB of a process of 48 MiB, and its heap grows by 2.7 MiB once in the first swaps and then no more
            // (51.0 MiB after the 7th and after the 100th). So only growth far beyond that is looked for here; 200 swaps of 200,000
            // items are held to 5 %.
            "--memory", "memory[last]<1.5*memory[third]",
            // It is not the machine that is tested here.
            "--", "--max-send-lag", "60s",
        ]
        var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("BELFRY_") }
        // What the address sanitizer keeps of freed memory, 256 MB, would look like a daemon that grows.
        environment["ASAN_OPTIONS"] = "quarantine_size_mb=4"
        process.environment = environment
        process.standardOutput = FileHandle.nullDevice
        let errors = "\(out)/errors"
        try Data().write(to: URL(fileURLWithPath: errors))
        process.standardError = FileHandle(forWritingAtPath: errors)
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            let files = ["errors", "report.txt", "daemon.log"].map { "\(out)/\($0)" }
            let texts = files.compactMap { try? String(contentsOfFile: $0, encoding: .utf8) }
            throw Failed(status: process.terminationStatus, errors: texts.joined(separator: "\n"))
        }
        let summary = try Data(contentsOf: URL(fileURLWithPath: "\(out)/summary.json"))
        return try #require(try JSONSerialization.jsonObject(with: summary) as? [String: Any])
    }

    @Test(
        .enabled(if: FileManager.default.isExecutableFile(atPath: python.path), "make training"),
        .timeLimit(.minutes(5)))
    func fiveSwapsGoUnnoticed() throws {
        let directory = try TemporaryDirectory()
        let summary = try runScenario(out: directory.path)
        #expect(summary["exit"] as? String == "passed")
        let swaps = try #require(summary["swaps"] as? [String: Any])
        #expect(swaps["done"] as? Int == 5 && swaps["failed"] as? Int == 0)
        // Each step of the life is told with its time and what it took of the processor.
        for key in ["steps_ms", "steps_cpu_ms"] {
            let steps = try #require(swaps[key] as? [String: [String: Any]])
            for step in ["verify", "load", "warm", "swap", "destroy"] {
                #expect(steps[step]?["count"] as? Int == 5, "\(key).\(step)")
            }
        }
        #expect((swaps["found_to_destroyed_ms"] as? [String: Any])?["count"] as? Int == 5)
        let resident = try #require(swaps["resident_bytes_last"] as? Double)
        #expect(resident > 1_048_576)
        let validation = try #require(summary["validation"] as? [String: Any])
        let belonging = try #require(validation["belonging"] as? [String: Any])
        #expect(belonging["mixed"] as? Int == 0)
        #expect(belonging["recomputed"] as? Int == summary["requests"] as? Int)
        let requests = try #require(summary["requests"] as? Int)
        #expect(belonging["scores"] as? Int == 100 * requests)
        // Both models answered.
        #expect((belonging["by_source"] as? [Int])?.count { $0 > 0 } == 2)
        let log = try String(contentsOfFile: directory.file("daemon.log"), encoding: .utf8)
        #expect(log.components(separatedBy: "snapshot destroyed").count >= 6)
    }
}
