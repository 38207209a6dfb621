import Foundation
import Snapshots
import TestSupport
import Testing

/// `belfry publish` as a process: what it prints, what it refuses, and what is left when it is killed.
@Suite struct PublishTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private var names: [String] {
        get throws {
            try FileManager.default.contentsOfDirectory(atPath: directory.path).filter { $0 != ".publish.lock" }
                .sorted()
        }
    }

    private var current: String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: directory.file("current"))
    }

    private func publish(_ fixture: String, _ arguments: [String] = [], environment: [String: String] = [:]) throws
        -> BelfryRun
    {
        try BelfryRun(
            ["publish", try Fixtures.path(fixture), "--to", directory.path] + arguments, environment: environment)
    }

    @Test func saysInOneLineWhatWasDone() throws {
        let first = try publish("plain")
        #expect(first.status == 0 && first.errors.isEmpty, "\(first)")
        #expect(first.output.hasPrefix("published \(directory.file("plain")): 9 files, "), "\(first)")
        let second = try publish("plain", ["--activate"])
        #expect(second.output.contains("is published already") && second.output.hasSuffix("'current' names it now\n"))
        let third = try publish("plain", ["--activate"])
        #expect(third.output.hasSuffix("'current' named it before\n"), "\(third)")
        let other = try publish("plain", ["--activate", "--id", "next"])
        #expect(other.output.filter { $0 == "\n" }.count == 1 && current == "next", "\(other)")
        let check = try BelfryRun(["check", directory.path])
        #expect(check.status == 0, "\(check)")
    }

    @Test func refusesInOneLine() throws {
        #expect(try publish("plain").status == 0)
        for (run, words) in [
            (try publish("cross-only", ["--id", "plain"]), "with other contents"),
            (try publish("plain", ["--id", "current"]), "cannot be a snapshot's id"),
            (try publish("plain", environment: ["SOURCE_DATE_EPOCH": "today"]), "SOURCE_DATE_EPOCH is 'today'"),
            (try BelfryRun(["publish", directory.path, "--to", directory.path]), "is no snapshot"),
            (try BelfryRun(["publish", directory.file("plain"), "--to", directory.file("gone")]), "does not exist"),
        ] {
            #expect(run.failedWithOneLine && run.errors.contains(words), "\(run)")
        }
        #expect(try names == ["plain"])
    }

    @Test(arguments: [
        ["publish"], ["publish", "x"], ["publish", "--to", "x"], ["publish", "x", "y", "--to", "z"],
        ["publish", "x", "--to", "y", "--lock-timeout", "-1"], ["publish", "x", "--to", "y", "--force"],
    ]) func wrongUsageExitsWith64(_ arguments: [String]) throws {
        let run = try BelfryRun(arguments)
        #expect(run.status == 64, "\(run)")
    }

    @Test func takesTheTimeOfPublicationFromTheEnvironment() throws {
        #expect(try publish("plain", environment: ["SOURCE_DATE_EPOCH": "1767225599"]).status == 0)
        let seal = try String(contentsOfFile: directory.file("plain/_SUCCESS"), encoding: .utf8)
        #expect(seal.contains(#""published_at": "2025-12-31T23:59:59Z""#))
    }

    @Test func canBeReadByAnotherUserWhateverTheUmask() throws {
        let status = try Self.shell("umask 077; exec \"$0\" publish \"$1\" --to \"$2\"", try Fixtures.path("plain"))(
            directory.path)
        #expect(status.status == 0, "\(status)")
        for name in try FileManager.default.contentsOfDirectory(atPath: directory.file("plain")) + ["."] {
            let attributes = try FileManager.default.attributesOfItem(atPath: directory.file("plain/\(name)"))
            #expect(attributes[.posixPermissions] as? Int == (name == "." ? 0o755 : 0o644), "\(name)")
        }
    }

    // MARK: No room

    @Test func aLimitOnFilesIsAnErrorAndLeavesNothing() throws {
        #expect(try publish("cascade-only", ["--activate"]).status == 0)
        // 1000 blocks of 512 bytes: the second tower is larger, so that the copy ends in its midst.
        let run = try Self.shell(
            "ulimit -f 1000; exec \"$0\" publish \"$1\" --to \"$2\" --activate", try Fixtures.path("plain"))(
                directory.path)
        #expect(
            run.status == 1 && run.errors.contains("item_tower.safetensors: cannot write: File too large"), "\(run)")
        #expect(try names == ["cascade-only", "current"] && current == "cascade-only")
        try SnapshotFiles(path: directory.file("cascade-only")).verify()
        #expect(try publish("plain", ["--activate"]).status == 0)
    }

    /// A namespace of our own, in which a small file system can be mounted and goes by itself.
    static let unshare =
        ["/usr/bin/unshare"] + (getuid() == 0 ? [] : ["--map-root-user"]) + ["--mount", "/bin/sh", "-c"]
    static let canMount: Bool = {
        let run = try? ShellRun(unshare + ["mount -t tmpfs none /mnt"])
        return run?.status == 0
    }()

    /// The small file system's contents are printed by the script, as it is gone with the namespace.
    @Test(
        .enabled(if: canMount),
        arguments: [
            // Room for one snapshot and not for the next.
            ("size=6m", "needs [0-9]+ bytes, and [0-9]+ are free"),
            // Room for the bytes, and for seven more files only: the copy ends in its midst.
            ("size=20m,nr_inodes=20", "cannot create: No space left on device"),
        ]) func aFullDiskIsAnErrorAndLeavesNothing(options: String, words: String) throws
    {
        let script = """
            mount -t tmpfs -o "$4" none "$1" || exit 9
            "$0" publish "$2" --to "$1" --activate || exit 8
            "$0" publish "$3" --to "$1" --activate; echo "status $?"
            (cd "$1"; find . | sort; readlink current)
            diff -r -x _SUCCESS "$2" "$1/plain" && "$0" check "$1" > /dev/null && echo whole
            """
        let run = try ShellRun(
            Self.unshare + [
                script, Daemon.binary.path, directory.path, try Fixtures.path("plain"),
                try Fixtures.path("cs3-one-cycle"), options,
            ])
        #expect(run.status == 0, "\(run)")
        #expect(try run.errors.contains(Regex(words)), "\(run)")
        let lines = run.output.split(separator: "\n").map(String.init)
        #expect(lines.contains("status 1") && lines.suffix(2) == ["plain", "whole"], "\(run)")
        let files = try FileManager.default.contentsOfDirectory(atPath: try Fixtures.path("plain"))
        let expected = [".", "./.publish.lock", "./current", "./plain"] + files.map { "./plain/\($0)" }
        #expect(Set(lines.filter { $0.hasPrefix(".") }) == Set(expected), "\(run)")
    }

    // MARK: Several at once

    @Test func publishersAtOnceTakeTurns() throws {
        let source = try Fixtures.path("cs3-one-cycle")
        let script = """
            for id in one two one three one; do "$0" publish "$1" --to "$2" --activate --id $id & done
            for job in $(jobs -p); do wait $job || exit 1; done
            """
        let run = try Self.shell(script, source)(directory.path)
        #expect(run.status == 0 && run.errors.isEmpty, "\(run)")
        let lines = run.output.split(separator: "\n")
        #expect(lines.count == 5 && lines.filter { $0.hasPrefix("published ") }.count == 3, "\(run)")
        #expect(try names == ["current", "one", "three", "two"])
        for id in ["one", "two", "three"] { try SnapshotFiles(path: directory.file(id)).verify() }
    }

    @Test func givesUpWaitingForAnother() throws {
        let lock = open(directory.file(".publish.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(lock) }
        #expect(flock(lock, LOCK_EX) == 0)
        let run = try publish("plain", ["--lock-timeout", "0"])
        #expect(run.failedWithOneLine && run.errors.contains("another publisher"), "\(run)")
        #expect(try names == [])
    }

    // MARK: Killed

    /// kill -9 of publishers: at random instants, at a random number of files in the draft, and at the rename.
    @Test func isWholeAfterKillsAtRandomPoints() throws {
        let source = try Fixtures.path("cs3-one-cycle")
        let manifest = try String(contentsOfFile: "\(source)/manifest.json", encoding: .utf8)
        let fileCount = try FileManager.default.contentsOfDirectory(atPath: source).count
        let start = Date()
        #expect(try publish("cs3-one-cycle", ["--activate", "--id", "base"]).status == 0)
        let duration = Date().timeIntervalSince(start)

        var random = SeededRandom(seed: 9)
        var stages: [String: Int] = [:]
        var previous = "base"
        func drafts() -> Int { stages.keys.count { $0.hasPrefix("draft") } }
        // The kills must not all be too early or too late: on a busy machine, where this process waits for a processor while
        // the publisher finishes, that takes more of them.
        func isVaried() -> Bool { drafts() >= 3 && stages.count > drafts() }
        var round = -1
        while round + 1 < (Repetitions.isLong ? 200 : 21) || (round + 1 < 300 && !isVaried()) {
            round += 1
            let id = "round-\(round)"
            let draft = directory.file("\(id).tmp")
            let killAt = random.below(fileCount)
            let delay = Double(random.below(1200)) / 1000
            let process = try Self.start(["publish", source, "--to", directory.path, "--activate", "--id", id])
            switch round % 3 {
            case 0: Self.sleep(delay * duration)
            case 1: Self.spin(process) { Self.count(draft) >= killAt }
            default:
                Self.spin(process) { access(directory.file(id), F_OK) == 0 }
                if round % 2 == 0 { Self.sleep(delay / 2000) }
            }
            let isDone = Self.kill(process)

            // Where the kill landed, by what it left.
            let stage =
                if isDone {
                    "done"
                } else if access(draft, F_OK) == 0 {
                    "draft of \(Self.count(draft)) files"
                } else if access(directory.file(id), F_OK) == 0 {
                    current == id ? "activated" : "renamed"
                } else {
                    "before"
                }
            stages[stage, default: 0] += 1

            // What a reader takes for a snapshot is one, to the last byte.
            for name in try names where Manifest.isID(name) {
                let files = try SnapshotFiles(path: directory.file(name))
                try files.verify()
                let text = try String(contentsOfFile: directory.file("\(name)/manifest.json"), encoding: .utf8)
                let own = name == "current" ? current! : name
                #expect(
                    text.replacingOccurrences(of: "\"id\": \"\(own)\"", with: "\"id\": \"cs3-one-cycle\"") == manifest)
            }
            #expect(current == previous || current == id)
            // And the next publisher is not in the way of the dead one.
            let next = try publish("cs3-one-cycle", ["--activate", "--id", id])
            #expect(next.status == 0 && current == id, "\(next)")
            #expect(try Set(names) == ["base", "current", previous, id])
            if previous != "base" { try FileManager.default.removeItem(atPath: directory.file(previous)) }
            previous = id
        }
        if Repetitions.isLong { print("kills of publishers, by what they left: \(stages.sorted { $0.key < $1.key })") }
        #expect(isVaried(), "\(stages)")
    }

    /// kill -9 of pruners, when the first snapshot is set aside and a little later.
    @Test func isWholeAfterPrunersAreKilledAtRandomPoints() throws {
        let ids = ["a", "b", "c", "d", "e"]
        var random = SeededRandom(seed: 10)
        var stages: [String: Int] = [:]
        for _ in 0..<(Repetitions.isLong ? 60 : 8) {
            for id in ids {
                let path = directory.file(id)
                if access(path, F_OK) != 0 { #expect(try publish("plain", ["--id", id]).status == 0) }
            }
            try? FileManager.default.removeItem(atPath: directory.file("current"))
            try FileManager.default.createSymbolicLink(atPath: directory.file("current"), withDestinationPath: "c")
            let nowhere = "unix:\(directory.file("nowhere"))"
            let prune = [
                "snapshots", "prune", "--keep", "1", "--snapshots", directory.path, "--offline", "--admin", nowhere,
            ]
            let process = try Self.start(prune)
            Self.spin(process) { (try? names.contains { $0.hasSuffix(".removed") }) ?? false }
            Self.sleep(Double(random.below(1000)) / 1_000_000)
            let isDone = Self.kill(process)
            let left = try names
            let halfRemoved = left.filter { $0.hasSuffix(".removed") }
            stages[isDone ? "done" : "\(halfRemoved.count) set aside", default: 0] += 1
            #expect(Set(left).isSuperset(of: ["c", "current"]))
            for name in left where Manifest.isID(name) {
                try SnapshotFiles(path: directory.file(name)).verify()
            }
            let next = try BelfryRun(prune)
            #expect(next.status == 0, "\(next)")
            let rest = try names.filter { !$0.hasSuffix(".removed") }
            // The newest stays, and what 'current' names.
            #expect(Set(rest).isSuperset(of: ["c", "current"]) && rest.count <= 3, "\(rest)")
            for name in halfRemoved { try? FileManager.default.removeItem(atPath: directory.file(name)) }
        }
        if Repetitions.isLong { print("kills of pruners, by what they left: \(stages.sorted { $0.key < $1.key })") }
        #expect(stages.keys.contains { $0 != "done" }, "\(stages)")
    }

    private static func start(_ arguments: [String]) throws -> Process {
        let process = Process()
        process.executableURL = Daemon.binary
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("BELFRY_") }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return process
    }

    /// Waits without sleeping until something holds or the process is over.
    private static func spin(_ process: Process, until holds: () -> Bool) {
        while process.isRunning, !holds() {}
    }

    private static func sleep(_ seconds: Double) {
        usleep(UInt32(seconds * 1_000_000))
    }

    /// How many entries a directory has, 0 if it is not there. Asked again and again while a publisher fills it, so not by
    /// Foundation, whose answer comes late.
    private static func count(_ path: String) -> Int {
        guard let stream = opendir(path) else { return 0 }
        defer { closedir(stream) }
        var count = -2  // "." and ".."
        while readdir(stream) != nil { count += 1 }
        return max(0, count)
    }

    /// Kills and waits; whether the process had come to its end before, successfully.
    private static func kill(_ process: Process) -> Bool {
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        return process.terminationReason == .exit && process.terminationStatus == 0
    }

    /// A shell script with the binary as `$0` and a source as `$1`.
    private static func shell(_ script: String, _ source: String) -> (String) throws -> ShellRun {
        { try ShellRun(["/bin/sh", "-c", script, Daemon.binary.path, source, $0]) }
    }
}

/// Any program, run to its end.
struct ShellRun {
    let status: Int32
    let output: String
    let errors: String

    init(_ command: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("BELFRY_") }
        let directory = try TemporaryDirectory()
        let files = try ["output", "errors"].map { try directory.write($0, Data()) }
        process.standardOutput = FileHandle(forWritingAtPath: files[0])
        process.standardError = FileHandle(forWritingAtPath: files[1])
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        output = try String(contentsOfFile: files[0], encoding: .utf8)
        errors = try String(contentsOfFile: files[1], encoding: .utf8)
    }
}
