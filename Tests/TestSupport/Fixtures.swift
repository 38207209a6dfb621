import Foundation

/// The snapshots that `make fixtures` writes.
public enum Fixtures {
    /// What `Tests/Fixtures/make-fixtures.sh` draws.
    public static let all = [
        "cs3-one-cycle", "cs3-two-cycles", "cs3-three-cycles", "plain", "cross-only", "cascade-only", "graph-alone",
    ]

    /// Where they lie: `BELFRY_FIXTURES`, or `.build/fixtures` of the package.
    public static var directory: String {
        if let path = ProcessInfo.processInfo.environment["BELFRY_FIXTURES"] { return path }
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return package.appendingPathComponent(".build/fixtures").path
    }

    /// A fixture is not there.
    public struct Missing: Error, CustomStringConvertible {
        /// What to do.
        public let description: String
    }

    /// The path of one.
    public static func path(_ name: String) throws -> String {
        let path = "\(directory)/\(name)"
        guard FileManager.default.fileExists(atPath: "\(path)/_SUCCESS") else {
            throw Missing(description: "no snapshot at \(path): run `make fixtures`")
        }
        return path
    }
}
