import Foundation

/// Prometheus's own reader of metrics, which `make readers` fetches.
///
///     @Test(.enabled(if: Promtool.isThere, "no promtool: run `make readers`")) func isRead() throws {
///         #expect(try Promtool.faults(in: text) == "")
///     }
public enum Promtool {
    /// `promtool` of the package's build folder, or of the path; nil if it is in neither.
    public static let path: String? = {
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let search = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let candidates =
            [package.appendingPathComponent(".build/promtool/usr/bin/promtool").path]
            + search.split(separator: ":").map { "\($0)/promtool" }
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0) }
    }()

    /// Whether it can be used.
    public static var isThere: Bool { path != nil }

    /// What `promtool check metrics` has to say against a text; empty if nothing.
    public static func faults(in text: String) throws -> String {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("belfry-\(UUID().uuidString).prom")
        try Data(text.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path ?? "/nonexistent")
        process.arguments = ["check", "metrics"]
        process.standardInput = try FileHandle(forReadingFrom: file)
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let faults = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return process.terminationStatus == 0 ? faults : "\(faults) (exit status \(process.terminationStatus))"
    }
}
