import Foundation
import TestSupport

/// A run of the `belfry` command to its end.
struct BelfryRun {
    let status: Int32
    let output: String
    let errors: String

    /// Runs the command. Variables that begin with `BELFRY_` come from `environment` only.
    init(_ arguments: [String], environment: [String: String] = [:]) throws {
        let process = Process()
        process.executableURL = Daemon.binary
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("BELFRY_") }
            .merging(["SWIFT_BACKTRACE": "enable=no", "OPENBLAS_NUM_THREADS": "1"]) { $1 }
            .merging(environment) { $1 }
        // Files instead of pipes: a pipe that is full would stop the process.
        let directory = try TemporaryDirectory()
        let outputFile = directory.file("output")
        let errorFile = directory.file("errors")
        for file in [outputFile, errorFile] { try Data().write(to: URL(fileURLWithPath: file)) }
        process.standardOutput = FileHandle(forWritingAtPath: outputFile)
        process.standardError = FileHandle(forWritingAtPath: errorFile)
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        output = try String(contentsOfFile: outputFile, encoding: .utf8)
        errors = try String(contentsOfFile: errorFile, encoding: .utf8)
    }

    /// Whether it failed as the contract says: exit status 1 and one line.
    var failedWithOneLine: Bool {
        status == 1 && errors.hasSuffix("\n") && errors.dropLast().allSatisfy { $0 != "\n" } && errors.count > 10
    }
}

/// A directory that goes when its owner does.
final class TemporaryDirectory {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("belfry-test-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file and hands its path over.
    func write(_ name: String, _ data: Data) throws -> String {
        try data.write(to: URL(fileURLWithPath: file(name)))
        return file(name)
    }
}
