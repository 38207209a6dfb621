import Foundation
import Glibc
import TestSupport
import Testing

/// `belfry serve` and `belfry check` as processes: start, end, configuration, exit status.
@Suite struct ServeTests {
    @Test func answersWhatIsUnderWayWhenToldToEnd() throws {
        let daemon = try Daemon(snapshot: Fixtures.path("cs3-one-cycle"))
        let body = #"{"user":{"id":"u1"},"k":2}"#
        let message = Data(
            "POST /v1/retrieve HTTP/1.1\r\nHost: b\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8)
        let connection = try daemon.connect()
        connection.write(message.dropLast(5))
        Thread.sleep(forTimeInterval: 0.3)
        kill(daemon.processIdentifier, SIGTERM)
        Thread.sleep(forTimeInterval: 0.5)
        connection.write(message.suffix(5))
        let reply = try connection.readReply()
        #expect(reply.status == 200 && reply.isJSON && reply.headers["connection"]?.lowercased() == "close")
        #expect(daemon.terminate() == 0)
    }

    @Test func refusesAnAddressThatIsServed() throws {
        let snapshot = try Fixtures.path("plain")
        let daemon = try Daemon(snapshot: snapshot)
        let address = "127.0.0.1:\(daemon.port)"
        let run = try BelfryRun([
            "serve", "--snapshots", snapshot, "--listen", address, "--admin", "127.0.0.1:0", "--log-level", "error",
        ])
        #expect(run.failedWithOneLine && run.errors.contains(address), "\(run)")
        #expect(try daemon.get("/livez").status == 200)
    }

    @Test func refusesWhatIsNoSnapshot() throws {
        let directory = try TemporaryDirectory()
        for path in ["/nowhere/at/all", directory.path, "/etc/hostname"] {
            let run = try BelfryRun(["serve", "--snapshots", path, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            #expect(run.failedWithOneLine && run.errors.contains(path), "\(run)")
        }
    }

    @Test(arguments: [
        ["serve", "--nobody"], ["serve", "--workers", "many", "--snapshots", "x"], ["serve", "--listen"],
        ["serve", "--snapshots", "x", "--workers", "0"], ["serve", "--snapshots", "x", "--drain-seconds", "-1"],
        ["serve", "--snapshots", "x", "--idle-poll-micros", "100001"],
        ["serve", "--snapshots", "x", "--yield-micros", "-1"],
        ["serve"], ["serve", "extra"], ["nobody"], ["check"], ["check", "a", "b"], ["index"], ["index", "nobody"],
        ["serve", "--snapshots", "x", "--config", "/nowhere.yaml"],
        ["serve", "--snapshots", "x", "--log-level", "loud"], ["serve", "--snapshots", "x", "--listen", "here"],
        ["serve", "--snapshots", "x", "--listen", "127.0.0.1:99999"],
        ["serve", "--snapshots", "x", "--admin", "0.0.0.0:8081"], ["serve", "--snapshots", "x", "--admin", "there"],
    ])
    func wrongUsageExitsWith64(_ arguments: [String]) throws {
        let run = try BelfryRun(arguments)
        #expect(run.status == 64 || (arguments == ["index"] && run.status == 0), "\(run)")
    }

    @Test func flagBeatsEnvironmentBeatsFileBeatsDefault() throws {
        let directory = try TemporaryDirectory()
        let yaml = "snapshots: /from/file\nworkers: 3\ndrain-seconds: 33\nlog-level: debug\n"
        let file = try directory.write("belfry.yaml", Data(yaml.utf8))
        let variables = ["BELFRY_WORKERS": "4", "BELFRY_DRAIN_SECONDS": "44"]
        let run = try BelfryRun(
            ["serve", "--config", file, "--workers", "5", "--print-config"], environment: variables)
        #expect(run.status == 0, "\(run)")
        let lines = Set(run.output.split(separator: "\n").map { String($0.prefix { $0 != "#" }).trimmed })
        #expect(
            lines == [
                "snapshots: /from/file", "workers: 5", "idle-poll-micros: 0", "yield-micros: 100",
                "server-timing: false", "drain-seconds: 44", "log-level: debug",
                "listen: 127.0.0.1:8080", "admin: 127.0.0.1:8081", "keep-previous: false", "item-count-ratio: 0.5",
                "allow-schema-change: false", "warmup-seconds: 5.0", "memory-reserve: 67108864", "load-priority: idle",
            ])
        let named = try BelfryRun(
            ["serve", "--print-config"], environment: variables.merging(["BELFRY_CONFIG": file]) { $1 })
        #expect(named.status == 0 && named.output.contains("workers: 4") && named.output.contains("/from/file"))
    }

    @Test func aMisspeltSettingIsRefused() throws {
        let unknown = try BelfryRun(
            ["serve", "--snapshots", "x", "--print-config"], environment: ["BELFRY_WORKER": "4"])
        #expect(unknown.status == 64 && unknown.errors.contains("BELFRY_WORKER"), "\(unknown)")
        let wrong = try BelfryRun(
            ["serve", "--snapshots", "x", "--print-config"], environment: ["BELFRY_WORKERS": "many"])
        #expect(wrong.status == 64 && wrong.errors.contains("workers"), "\(wrong)")
        let directory = try TemporaryDirectory()
        let misspelt = try directory.write("a.yaml", Data("snapshots: x\nworker: 3\n".utf8))
        let file = try BelfryRun(["serve", "--config", misspelt, "--print-config"])
        #expect(file.status == 64 && file.errors.contains("worker"), "\(file)")
        let broken = try directory.write("b.yaml", Data("snapshots: [x\n\tworkers: 3".utf8))
        #expect(try BelfryRun(["serve", "--config", broken, "--print-config"]).status == 64)
    }

    @Test func checksSnapshots() throws {
        let good = try BelfryRun(["check", Fixtures.path("cascade-only")])
        #expect(good.status == 0 && good.errors == "", "\(good)")
        let missing = try BelfryRun(["check", "/nowhere"])
        #expect(missing.failedWithOneLine, "\(missing)")
        let directory = try TemporaryDirectory()
        let copy = directory.file("copy")
        try FileManager.default.copyItem(atPath: Fixtures.path("cascade-only"), toPath: copy)
        var tower = try Data(contentsOf: URL(fileURLWithPath: "\(copy)/user_tower.safetensors"))
        tower[tower.count - 1] ^= 1
        try tower.write(to: URL(fileURLWithPath: "\(copy)/user_tower.safetensors"))
        for command in [["check", copy], ["serve", "--snapshots", copy, "--listen", "127.0.0.1:0"]] {
            let damaged = try BelfryRun(command)
            #expect(damaged.failedWithOneLine && damaged.errors.contains("user_tower.safetensors"), "\(damaged)")
        }
    }
}

extension String {
    fileprivate var trimmed: String { trimmingCharacters(in: .whitespaces) }
}
