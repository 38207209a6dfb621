import Foundation
import TestSupport

/// A directory of snapshots of the test's own, with a place for a daemon's state beside it. Removed with the object.
final class Shelf: @unchecked Sendable {
    /// The directory of snapshots.
    let path: String
    /// Where a daemon may keep its state.
    let statePath: String
    private let parent: String

    /// Empty, or with these fixtures under ids of their own; `current` names the first.
    init(_ snapshots: (fixture: String, id: String)...) throws {
        parent = FileManager.default.temporaryDirectory.appendingPathComponent("belfry-\(UUID().uuidString)").path
        path = "\(parent)/snapshots"
        statePath = "\(parent)/state"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for (fixture, id) in snapshots { try publish(fixture, as: id) }
        if let first = snapshots.first { try setCurrent(first.id) }
    }

    deinit {
        try? FileManager.default.removeItem(atPath: parent)
    }

    /// The path of something beside the snapshots.
    func scratchPath(_ name: String) -> String { "\(parent)/\(name)" }

    /// Publishes a changed copy of a fixture, in the place of what had the name before. Few golden answers and warm-up requests
    /// are left, so that it loads quickly.
    ///
    /// - edit: changes it before its checksums are made to fit.
    /// - spoil: changes it afterwards.
    func publish(
        _ fixture: String, as id: String, edit: (SnapshotCopy) throws -> Void = { _ in },
        spoil: (SnapshotCopy) throws -> Void = { _ in }
    ) throws {
        let copy = try SnapshotCopy(of: fixture)
        for file in ["golden.jsonl", "warmup.jsonl"] {
            let lines = String(decoding: try copy.bytes(of: file), as: UTF8.self).split(separator: "\n")
            try copy.write(file, lines.prefix(3).map { "\($0)\n" }.joined())
        }
        copy.set("id", "\"\(id)\"")
        try edit(copy)
        try copy.seal()
        try spoil(copy)
        try? FileManager.default.removeItem(atPath: "\(path)/\(id)")
        try FileManager.default.moveItem(atPath: copy.path, toPath: "\(path)/\(id)")
    }

    /// Has `current` name a snapshot, by a link that takes the place of the old one.
    func setCurrent(_ id: String) throws {
        let new = "\(path)/.current-\(UUID().uuidString)"
        try FileManager.default.createSymbolicLink(atPath: new, withDestinationPath: id)
        guard rename(new, "\(path)/current") == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    /// Has a plain file `CURRENT` name a snapshot, and no link.
    func setCurrentFile(_ id: String) throws {
        try? FileManager.default.removeItem(atPath: "\(path)/current")
        try Data("\(id)\n".utf8).write(to: URL(fileURLWithPath: "\(path)/CURRENT"), options: .atomic)
    }

    /// Removes a snapshot, or whatever has the name.
    func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: "\(path)/\(name)")
    }

    /// The ids of a snapshot's items, by row, read without the product's code; of catalogues whose ids are numbers.
    func itemIDs(_ id: String) throws -> [String] {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(id)/items.safetensors"))
        let (start, end) = SnapshotCopy.headerBounds(bytes)
        let header = try JSONSerialization.jsonObject(with: bytes.subdata(in: start..<end)) as! [String: Any]
        let offsets = (header["ids"] as! [String: Any])["data_offsets"] as! [Int]
        return bytes.subdata(in: end + offsets[0]..<end + offsets[1]).withUnsafeBytes { raw in
            stride(from: 0, to: raw.count, by: 8).map {
                "\(UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: $0, as: UInt64.self)))"
            }
        }
    }
}

/// A program in the place of the one that parses indexes: loading waits in it for as long as the gate is shut.
struct Gate {
    let program: String
    private let path: String

    /// Open at first.
    init(_ shelf: Shelf) throws {
        path = shelf.scratchPath("gate-is-open")
        program = shelf.scratchPath("gate.sh")
        try Data("#!/bin/sh\nwhile [ ! -e '\(path)' ]; do sleep 0.005; done\n".utf8).write(
            to: URL(fileURLWithPath: program))
        guard chmod(program, 0o755) == 0 else { throw CocoaError(.fileWriteUnknown) }
        try open()
    }

    func open() throws { try Data().write(to: URL(fileURLWithPath: path)) }
    func shut() throws { try FileManager.default.removeItem(atPath: path) }
}
