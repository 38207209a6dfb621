import CLinux
import Foundation
import InjectedServer
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// `belfry loadtest` as its users call it: exit statuses, files, scenarios. Latencies are judged elsewhere: here the machine may
/// be busy, so the generator's own delay does not count unless the test is about it.
@Suite(.serialized) struct LoadTestTests {
    private static let lenient = ["--max-send-lag", "60s", "--quiet"]
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path
    private static let demo = "\(root)/models/demo"

    private func json(_ path: String) throws -> [String: Any] {
        try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path))) as? [String: Any])
    }

    private func load(_ port: UInt16, _ arguments: [String], environment: [String: String] = [:]) throws -> BelfryRun {
        try BelfryRun(
            ["loadtest", "--target", "http://127.0.0.1:\(port)"] + Self.lenient + arguments, environment: environment)
    }

    @Test func theDemoPassesAndEveryFileIsWritten() throws {
        let daemon = try Daemon(snapshot: Self.demo)
        let directory = try TemporaryDirectory()
        let run = try load(
            daemon.port,
            [
                "--snapshot", Self.demo, "--rate", "300", "--duration", "4s", "--warmup", "500ms", "--validate", "100%",
                "--k", "10:0.5,100:0.5", "--excluding", "20%",
                "--threshold", "errors<=0%", "--threshold", "invalid<=0%", "--threshold", "recall@10>=0.95",
                "--threshold", "p(90)<30s", "--json", directory.file("r.json"), "--html", directory.file("r.html"),
                "--hgrm", directory.file("r.hgrm"), "--interval-log", directory.file("r.hlog"),
                "--records", directory.file("r.csv"),
            ])
        #expect(run.status == 0, "\(run)")
        #expect(run.output.contains("✓ recall@10>=0.95") && run.output.contains("passed: all 4 thresholds hold"))
        let report = try json(directory.file("r.json"))
        for key in [
            "scheduled_rate", "achieved_rate", "requests", "errors", "latency_us", "service_us", "send_lag_us",
            "connection_wait_us", "snapshots",
        ] { #expect(report[key] != nil, "\(key) is missing") }
        let latency = try #require(report["latency_us"] as? [String: Any])
        #expect(Set(["p50", "p90", "p99", "p99.9", "max", "mean"]).isSubset(of: latency.keys))
        // 1,200 requests leave 12 above p99 and one above p99.9.
        #expect(latency["p99"] is Double && latency["p99.9"] is NSNull, "\(latency)")
        let requests = try #require(report["requests"] as? Int)
        #expect(abs(Double(requests) / 4 - (report["scheduled_rate"] as? Double ?? 0)) < 0.5)
        let snapshots = try #require(report["snapshots"] as? [[String: Any]])
        #expect(snapshots.map { $0["id"] as? String } == ["demo"] && snapshots[0]["replies"] as? Int == requests)
        let validation = try #require(report["validation"] as? [String: Any])
        #expect(validation["checked"] as? Int == requests && validation["invalid"] as? Int == 0)
        let records = try String(contentsOfFile: directory.file("r.csv"), encoding: .utf8).split(separator: "\n")
        #expect(records.count > requests && records.dropFirst().allSatisfy { $0.hasSuffix(",,200,success") })
        for file in ["r.html", "r.hgrm", "r.hlog"] {
            #expect(try String(contentsOfFile: directory.file(file), encoding: .utf8).count > 1000)
        }
        #expect(daemon.terminate() == 0)
    }

    @Test func binaryRepliesAreChecked() throws {
        let snapshot = try Fixtures.path("cs3-one-cycle")
        let daemon = try Daemon(snapshot: snapshot, arguments: ["--server-timing"])
        let directory = try TemporaryDirectory()
        let run = try load(
            daemon.port,
            [
                "--records", directory.file("r.csv"),
                "--snapshot", snapshot, "--rate", "200", "--duration", "2s", "--warmup", "0s", "--validate", "100%",
                "--format", "binary", "--threshold", "errors<=0%", "--threshold", "invalid<=0%", "--threshold",
                "recall@100>=0.9", "--json", directory.file("r.json"),
            ])
        #expect(run.status == 0, "\(run)")
        let report = try json(directory.file("r.json"))
        let validation = try #require(report["validation"] as? [String: Any])
        #expect(validation["checked"] as? Int == report["requests"] as? Int && validation["invalid"] as? Int == 0)
        #expect(report["degraded"] as? Int == 0)
        let records = try String(contentsOfFile: directory.file("r.csv"), encoding: .utf8).split(separator: "\n")
        #expect(records.count - 1 == report["requests"] as? Int)
        // What the server took is a part of the service.
        let wrong = records.dropFirst().filter { record in
            let fields = record.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
            return fields.count != 9 || fields[6] <= 0 || fields[6] > fields[5] + 1000
        }
        #expect(wrong.isEmpty, "\(wrong.count) of \(records.count - 1), such as \(wrong.first ?? "")")
        #expect((report["snapshots"] as? [[String: Any]])?.map { $0["id"] as? String } == ["cs3-one-cycle"])
    }

    @Test func aThresholdThatDoesNotHoldIsNamedAndExits99() throws {
        let server = try InjectedServer()
        server.start()
        defer { server.stop() }
        let run = try load(
            server.port,
            ["--method", "GET", "--rate", "500", "--duration", "2s", "--warmup", "0s", "--threshold", "p(90)<1us"])
        #expect(run.status == 99, "\(run)")
        #expect(run.output.contains("✗ p(90)<1us") && run.output.contains("FAILED"), "\(run)")
    }

    @Test func aPercentileWithFewerThanTenSamplesAboveItExits3() throws {
        let server = try InjectedServer()
        server.start()
        defer { server.stop() }
        let run = try load(
            server.port,
            ["--method", "GET", "--rate", "500", "--duration", "1s", "--warmup", "0s", "--threshold", "p(99)<5s"])
        #expect(run.status == 3, "\(run)")
        #expect(run.output.contains("? p(99)<5s") && run.output.contains("INVALID"), "\(run)")
    }

    /// Two threads that never wait, on the generator's only core: whatever the kernel does, one in a hundred sends is late.
    @Test func aGeneratorOnABusyCoreExits3() throws {
        let server = try InjectedServer()
        server.start()
        defer { server.stop() }
        let core = try #require(Self.lastCore)
        let hogs = (0..<2).map { _ in
            let hog = Process()
            hog.executableURL = URL(fileURLWithPath: "/usr/bin/taskset")
            hog.arguments = ["-c", "\(core)", "/bin/sh", "-c", "while :; do :; done"]
            return hog
        }
        for hog in hogs { try hog.run() }
        defer {
            for hog in hogs {
                kill(hog.processIdentifier, SIGKILL)
                hog.waitUntilExit()
            }
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/taskset")
        process.arguments = [
            "-c", "\(core)", Daemon.binary.path, "loadtest", "--target", "http://127.0.0.1:\(server.port)", "--method",
            "GET", "--rate", "2000", "--duration", "2s", "--warmup", "0s", "--quiet",
        ]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 3, "\(text)")
        #expect(text.contains("the generator was late: send lag p99 is"), "\(text)")
    }

    /// While the generator stands still for a second, replies that were under way arrive after 100 ms as ever: the kernel notes
    /// when, so only the sends are late. Charged are a pause of the server's own, which it knows of, and the one request whose send
    /// the generator had noted and not yet done. Without the kernel's notes it would be the 20 or so that were under way.
    @Test func aReplyThatWaitsForTheGeneratorIsNotCharged() throws {
        var behaviour = Behaviour()
        behaviour.delayNanoseconds = 100_000_000
        let server = try InjectedServer(behaviour)
        server.start()
        defer { server.stop() }
        let directory = try TemporaryDirectory()
        let process = Process()
        process.executableURL = Daemon.binary
        process.arguments =
            [
                "loadtest", "--target", "http://127.0.0.1:\(server.port)", "--method", "GET", "--rate", "200",
                "--duration",
                "4s", "--warmup", "0s", "--connections", "64", "--json", directory.file("r.json"), "--records",
                directory.file("r.csv"),
            ] + Self.lenient
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        Thread.sleep(forTimeInterval: 2)
        kill(process.processIdentifier, SIGSTOP)
        Thread.sleep(forTimeInterval: 1)
        kill(process.processIdentifier, SIGCONT)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        let report = try json(directory.file("r.json"))
        func longest(_ name: String) -> Double { (report[name] as? [String: Any])?["max"] as? Double ?? .nan }
        #expect(longest("send_lag_us") > 800_000)
        #expect(longest("service_us") >= 100_000)
        let records = try String(contentsOfFile: directory.file("r.csv"), encoding: .utf8).split(separator: "\n")
        let service = try #require(records.first?.split(separator: ",").firstIndex(of: "service_ns"))
        let ofTheServer = try #require(server.stop().serviceNanoseconds.last)
        let charged = records.dropFirst().filter {
            UInt64($0.split(separator: ",", omittingEmptySubsequences: false)[service])! > ofTheServer + 700_000_000
        }
        #expect(charged.count <= 1, "the server took \(ofTheServer) ns at most:\n\(charged.joined(separator: "\n"))")
    }

    /// The last core that this process may run on.
    private static var lastCore: Int? {
        let cores = belfry_allowed_cores()
        return cores == 0 ? nil : 63 - cores.leadingZeroBitCount
    }

    @Test func wrongUsageExits64AndSaysWhy() throws {
        let cases: [(arguments: [String], words: String)] = [
            ([], "--target"),
            (["--target", "ftp://x"], "http://HOST:PORT"),
            (["--target", "http://127.0.0.1:1"], "--requests"),
            (["--target", "http://127.0.0.1:1", "--method", "GET"], "--rate"),
            (["--target", "http://127.0.0.1:1", "--method", "GET", "--rate", "0"], "above 0"),
            (["--target", "http://127.0.0.1:1", "--method", "GET", "--rate", "1", "--closed"], "--closed"),
            (["--target", "http://127.0.0.1:1", "--method", "GET", "--rate", "1", "--duration", "10"], "duration"),
            (
                ["--target", "http://127.0.0.1:1", "--method", "GET", "--rate", "1", "--threshold", "p(99)<5"],
                "us, ms or s"
            ),
            (["--target", "http://127.0.0.1:1", "--method", "GET", "--rate", "1", "--threshold", "p99<5ms"], "p(99)"),
            (["--target", "http://127.0.0.1:1", "--method", "GET", "--rate", "1", "--find-max"], "thresholds"),
            (["--target", "http://127.0.0.1:1", "--method", "GET", "--rate", "1", "--arrival", "normal"], "poisson"),
            (["--target", "http://127.0.0.1:1", "--method", "GET", "--rate", "1", "--threads", "20"], "connections"),
            (["--target", "http://127.0.0.1:1", "--snapshot", Self.demo, "--format", "xml"], "binary"),
            (
                [
                    "--target", "http://127.0.0.1:1", "--snapshot", Self.demo, "--rate", "1", "--k", "10",
                    "--threshold",
                    "recall@100>0.9",
                ], "recall@100"
            ),
            (
                [
                    "--target", "http://127.0.0.1:1", "--method", "GET", "--rate", "1", "--threshold",
                    "p(99)[swap]<1.2*p(99)",
                ], "--swap-every"
            ),
        ]
        for (arguments, words) in cases {
            let run = try BelfryRun(["loadtest"] + arguments)
            #expect(run.status == 64 && run.errors.contains(words), "\(arguments): \(run)")
        }
    }

    @Test func aServerThatIsNotThereIsOneLine() throws {
        // A port that was free a moment ago.
        let port = try { () -> UInt16 in
            let server = try InjectedServer()
            return server.port
        }()
        let run = try load(port, ["--method", "GET", "--rate", "10", "--duration", "1s"])
        #expect(run.failedWithOneLine && run.errors.contains("cannot connect"), "\(run)")
        let missing = try load(port, ["--snapshot", "/nowhere", "--rate", "10"])
        #expect(missing.failedWithOneLine && missing.errors.contains("/nowhere"), "\(missing)")
        let server = try InjectedServer()
        server.start()
        defer { server.stop() }
        let unwritable = try load(
            server.port,
            ["--method", "GET", "--rate", "100", "--duration", "1s", "--warmup", "0s", "--json", "/nowhere/r.json"])
        #expect(unwritable.failedWithOneLine && unwritable.errors.contains("/nowhere/r.json"), "\(unwritable)")
    }

    @Test func aScenarioIsAFileOfTheSameOptions() throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write(
            "s.yaml",
            Data("target: http://127.0.0.1:1\nmethod: GET\nrate: 100\nthreshold:\n  - max<1s\n  - errors<1%\n".utf8))
        let run = try BelfryRun(
            ["loadtest", "--scenario", file, "--rate", "300", "--print-config"],
            environment: ["BELFRY_LOADTEST_DURATION": "7s", "BELFRY_LOADTEST_RATE": "200"])
        #expect(run.status == 0, "\(run)")
        #expect(run.output.contains("rate: 300  # flag") && run.output.contains("duration: 7s  # environment"))
        #expect(run.output.contains("threshold: [max<1s, errors<1%]  # \(file)"), "\(run)")
        let misspelt = try directory.write("m.yaml", Data("target: http://127.0.0.1:1\nrates: 100\n".utf8))
        let refused = try BelfryRun(["loadtest", "--scenario", misspelt, "--method", "GET", "--rate", "1"])
        #expect(refused.status == 64 && refused.errors.contains("rates"), "\(refused)")
    }

    /// Every scenario of the repo can be read, and names only what exists.
    @Test(arguments: ["smoke", "slo", "find-max", "swap", "overload", "soak"])
    func theRepositorysScenariosAreSound(name: String) throws {
        let run = try BelfryRun(
            ["loadtest", "--scenario", "\(Self.root)/loadtest/scenarios/\(name).yaml", "--print-config"])
        #expect(run.status == 0 && run.output.contains("target: http://127.0.0.1:8080"), "\(run)")
    }

    @Test func swapsAreMarkedAndNoReplyIsMixed() throws {
        let server = try InjectedServer()
        server.start()
        defer { server.stop() }
        let directory = try TemporaryDirectory()
        let file = try directory.write("r.jsonl", Data("{\"user\":{\"id\":\"u1\"},\"k\":10}\n".utf8))
        let run = try load(
            server.port,
            [
                "--requests", file, "--rate", "300", "--duration", "3s", "--warmup", "0s", "--swap-every", "500ms",
                "--swap-settle", "100ms", "--validate", "100%", "--threshold", "errors<=0%", "--threshold",
                "invalid<=0%", "--threshold", "p(50)[swap]<60s", "--json", directory.file("r.json"),
            ])
        #expect(run.status == 0, "\(run)")
        let report = try json(directory.file("r.json"))
        let marks = try #require(report["marks"] as? [[String: Any]])
        #expect(marks.count >= 5 && marks.allSatisfy { $0["fault"] == nil || $0["fault"] is NSNull }, "\(marks)")
        #expect((report["snapshots"] as? [[String: Any]])?.count == 2)
        #expect(report["windows"] is [String: Any])
    }

    @Test func twoReportsAreCompared() throws {
        let directory = try TemporaryDirectory()
        for (name, delay) in [("fast", 2), ("slow", 12)] {
            var behaviour = Behaviour()
            behaviour.delayNanoseconds = UInt64(delay) * 1_000_000
            let server = try InjectedServer(behaviour)
            server.start()
            defer { server.stop() }
            let run = try load(
                server.port,
                [
                    "--method", "GET", "--rate", "200", "--duration", "10s", "--warmup", "0s", "--json",
                    directory.file("\(name).json"),
                ])
            #expect(run.status == 0, "\(run)")
        }
        let slower = try BelfryRun(["loadtest", "compare", directory.file("fast.json"), directory.file("slow.json")])
        #expect(slower.status == 99 && slower.output.contains("slower"), "\(slower)")
        let same = try BelfryRun(["loadtest", "compare", directory.file("fast.json"), directory.file("fast.json")])
        #expect(same.status == 0 && same.output.contains("no difference"), "\(same)")
        let foreign = try directory.write("f.json", Data("{}".utf8))
        let refused = try BelfryRun(["loadtest", "compare", foreign, foreign])
        #expect(refused.failedWithOneLine && refused.errors.contains("f.json"), "\(refused)")
    }
}
