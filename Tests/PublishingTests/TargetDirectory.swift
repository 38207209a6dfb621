import Foundation

/// A directory of snapshots of the test's own, gone when its owner is.
final class TargetDirectory {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("belfry-target-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The names in it, sorted, without the lock's.
    var names: [String] {
        get throws {
            try FileManager.default.contentsOfDirectory(atPath: path).filter { $0 != ".publish.lock" }.sorted()
        }
    }

    /// Where `current` leads, nil if it is no link.
    var current: String? { try? FileManager.default.destinationOfSymbolicLink(atPath: "\(path)/current") }

    /// Every file's bytes by its path within the directory, without the lock's.
    func files(under name: String = ".") throws -> [String: Data] {
        var files: [String: Data] = [:]
        for path in try FileManager.default.subpathsOfDirectory(atPath: "\(self.path)/\(name)")
        where path != ".publish.lock" {
            files[path] = FileManager.default.contents(atPath: "\(self.path)/\(name)/\(path)")
        }
        return files
    }

    func makeDirectory(_ name: String) throws {
        try FileManager.default.createDirectory(atPath: "\(path)/\(name)", withIntermediateDirectories: true)
    }

    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
    }

    func link(_ name: String, to target: String) throws {
        try? FileManager.default.removeItem(atPath: "\(path)/\(name)")
        try FileManager.default.createSymbolicLink(atPath: "\(path)/\(name)", withDestinationPath: target)
    }

    /// Something that a retention takes for a snapshot: it reads seals and nothing else.
    func makeSnapshot(_ id: String, publishedAt: String) throws {
        try makeDirectory(id)
        try write("\(id)/index.faiss", "the index of \(id)")
        let digest = String(repeating: "0", count: 64)
        try write(
            "\(id)/_SUCCESS", #"{"published_at": "\#(publishedAt)", "manifest": {"bytes": 1, "sha256": "\#(digest)"}}"#)
    }
}
