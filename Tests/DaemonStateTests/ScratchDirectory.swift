import DaemonState
import Foundation
import TestSupport

/// A temporary directory that goes with the object.
final class ScratchDirectory {
    let path: String

    /// In memory unless a test wants a disk: some tests sync thousands of times, and no test can tell whether that did anything.
    init(onDisk: Bool = false) throws {
        let memory = "/dev/shm"
        let parent = onDisk || access(memory, W_OK) != 0 ? FileManager.default.temporaryDirectory.path : memory
        path = "\(parent)/belfry-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
    }

    func write(_ name: String, _ bytes: some Sequence<UInt8>) throws {
        try Data(Array(bytes)).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
    }

    func exists(_ name: String) -> Bool {
        FileManager.default.fileExists(atPath: "\(path)/\(name)")
    }

    /// What a journal of these bytes says, in a directory of its own.
    static func paused(in journal: some Sequence<UInt8>) throws -> Set<[UInt8]> {
        let scratch = try ScratchDirectory()
        try scratch.write("pauses.journal", journal)
        return try scratch.paused()
    }

    /// What the journal here says.
    func paused() throws -> Set<[UInt8]> {
        let state = try StateDirectory(path: path)
        defer { state.close() }
        return Set(try PauseJournal(in: state).ids.map { Array($0.utf8) })
    }
}

/// How often a random test draws.
func draws(_ count: Int) -> Int {
    Repetitions.count(count, long: 30 * count)
}
