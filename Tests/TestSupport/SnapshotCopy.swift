import Crypto
public import Foundation

/// A copy of a fixture that a test may damage. It lies in a temporary directory and is removed with the object; when
/// the process dies of a damage, the copy stays behind as the evidence.
///
///     let copy = try SnapshotCopy(of: "plain")
///     try copy.set("dimension", "65")     // in the manifest
///     try copy.seal()                     // so that the damage gets past the checksums
public final class SnapshotCopy {
    /// The snapshot's directory.
    public let path: String
    /// Overrides the manifest, for text that is not JSON.
    public var manifestBytes: Data?
    private let parent: String
    private var manifest: Any
    // Values that JSONSerialization could not write, such as 1e999: placeholder -> literal.
    private var literals: [String: String] = [:]

    /// Copies a fixture, under an id of its own if one is given.
    public init(of fixture: String, as id: String? = nil) throws {
        let source = try Fixtures.path(fixture)
        parent = FileManager.default.temporaryDirectory.appendingPathComponent("belfry-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        path = "\(parent)/\(id ?? fixture)"
        try FileManager.default.copyItem(atPath: source, toPath: path)
        if let id { try SnapshotCopy.rename(path, from: fixture, to: id) }
        manifest = try JSONSerialization.jsonObject(
            with: Data(contentsOf: URL(fileURLWithPath: "\(path)/manifest.json")))
    }

    deinit {
        try? FileManager.default.removeItem(atPath: parent)
    }

    /// Gives a snapshot another id, as `belfry publish --id` does: no other byte of the manifest changes.
    private static func rename(_ path: String, from old: String, to new: String) throws {
        let file = URL(fileURLWithPath: "\(path)/manifest.json")
        let text = try String(contentsOf: file, encoding: .utf8)
        let bytes = Data(text.replacingOccurrences(of: "\"id\": \"\(old)\"", with: "\"id\": \"\(new)\"").utf8)
        try bytes.write(to: file)
        try Data(#"{"published_at": "2026-01-01T00:00:00Z", "manifest": \#(seal(of: bytes))}"#.utf8).write(
            to: URL(fileURLWithPath: "\(path)/_SUCCESS"))
    }

    /// The directory that holds the snapshot and nothing else.
    public var directory: String { parent }

    /// The path of one of the files.
    public func path(of file: String) -> String { "\(path)/\(file)" }

    // MARK: Files

    /// A file's bytes.
    public func bytes(of file: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: path(of: file)))
    }

    /// Replaces a file's bytes.
    public func write(_ file: String, _ bytes: Data) throws {
        try bytes.write(to: URL(fileURLWithPath: path(of: file)))
    }

    /// Replaces a file by a text.
    public func write(_ file: String, _ text: String) throws {
        try write(file, Data(text.utf8))
    }

    /// Changes a file's bytes.
    public func edit(_ file: String, _ body: (inout Data) throws -> Void) throws {
        var bytes = try bytes(of: file)
        try body(&bytes)
        try write(file, bytes)
    }

    /// Cuts a file off.
    public func truncate(_ file: String, to byteCount: Int) throws {
        try edit(file) { $0 = $0.prefix(byteCount) }
    }

    /// Flips the lowest bit of a byte.
    public func flipBit(_ file: String, at offset: Int) throws {
        try edit(file) { $0[$0.startIndex + offset] ^= 1 }
    }

    /// Adds bytes at the end.
    public func append(_ file: String, _ text: String) throws {
        try edit(file) { $0.append(contentsOf: text.utf8) }
    }

    /// Deletes a file.
    public func remove(_ file: String) throws {
        try FileManager.default.removeItem(atPath: path(of: file))
    }

    /// Exchanges two files.
    public func swap(_ one: String, _ other: String) throws {
        let bytes = try bytes(of: one)
        try write(one, try self.bytes(of: other))
        try write(other, bytes)
    }

    /// Takes a file from another fixture.
    public func take(_ file: String, from fixture: String) throws {
        try write(file, Data(contentsOf: URL(fileURLWithPath: "\(try Fixtures.path(fixture))/\(file)")))
    }

    /// Puts a directory where a file was.
    public func replaceByDirectory(_ file: String) throws {
        try remove(file)
        try FileManager.default.createDirectory(atPath: path(of: file), withIntermediateDirectories: false)
    }

    /// Puts a named pipe where a file was: who opens it to read waits for a writer.
    public func replaceByPipe(_ file: String) throws {
        try remove(file)
        guard mkfifo(path(of: file), 0o600) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    /// Puts a symbolic link next to the snapshot.
    public func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(atPath: "\(parent)/\(name)", withDestinationPath: target)
    }

    // MARK: Manifest

    /// Sets a value of the manifest to a JSON literal, which need not be valid. The steps of the path are names and
    /// numbers between slashes; `+` appends to a list, a new name adds a key.
    public func set(_ path: String, _ literal: String) {
        set(path.split(separator: "/").map(String.init), literal)
    }

    /// Sets a value whose path has steps with slashes in them.
    public func set(_ steps: [String], _ literal: String) {
        let placeholder = "placeholder-\(literals.count)-"
        literals[placeholder] = literal
        manifest = SnapshotCopy.replacing(manifest, steps[...], by: placeholder)!
    }

    /// Removes a key of the manifest.
    public func unset(_ path: String) {
        manifest = SnapshotCopy.replacing(manifest, path.split(separator: "/").map(String.init)[...], by: nil)!
    }

    /// A value of the manifest; traps where there is none.
    public func value(_ path: String) -> Any {
        path.split(separator: "/").reduce(manifest) { node, step in
            if let list = node as? [Any] { return list[Int(step)!] }
            return (node as! [String: Any])[String(step)]!
        }
    }

    /// A value of the manifest as JSON.
    public func literal(_ path: String) throws -> String {
        let data = try JSONSerialization.data(withJSONObject: value(path), options: [.fragmentsAllowed, .sortedKeys])
        return String(decoding: data, as: UTF8.self)
    }

    private static func replacing(_ node: Any, _ steps: ArraySlice<String>, by value: Any?) -> Any? {
        guard let step = steps.first else { return value }
        if var list = node as? [Any] {
            if step == "+" { return list + [value!] }
            let index = Int(step)!
            if let new = replacing(list[index], steps.dropFirst(), by: value) {
                list[index] = new
            } else {
                list.remove(at: index)
            }
            return list
        }
        var object = node as! [String: Any]
        object[step] = replacing(object[step] ?? [String: Any](), steps.dropFirst(), by: value)
        return object
    }

    // MARK: Seals

    /// Writes the manifest as edited, and not `_SUCCESS`.
    public func writeManifest() throws {
        try write("manifest.json", try encodedManifest())
    }

    /// Recomputes sizes and checksums: those of the files in the manifest, and that of the manifest in `_SUCCESS`. A file
    /// that is not there keeps its entry.
    public func seal(includingFiles: Bool = true) throws {
        for file in includingFiles ? Array((value("files") as! [String: Any]).keys) : [] {
            guard !file.utf8.contains(UInt8(ascii: "/")), let bytes = try? bytes(of: file) else { continue }
            set(["files", file], SnapshotCopy.seal(of: bytes))
        }
        let bytes = try encodedManifest()
        try write("manifest.json", bytes)
        try write(
            "_SUCCESS", #"{"published_at": "2026-01-01T00:00:00Z", "manifest": \#(SnapshotCopy.seal(of: bytes))}"#)
    }

    private func encodedManifest() throws -> Data {
        if let manifestBytes { return manifestBytes }
        let data = try JSONSerialization.data(withJSONObject: manifest, options: [.sortedKeys])
        var text = String(decoding: data, as: UTF8.self)
        for (placeholder, literal) in literals {
            text = text.replacingOccurrences(of: "\"\(placeholder)\"", with: literal)
        }
        return Data(text.utf8)
    }

    /// A file's entry in `files`.
    public static func seal(of bytes: Data) -> String {
        let digest = SHA256.hash(data: bytes).map { byte in
            String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
        return #"{"bytes": \#(bytes.count), "sha256": "\#(digest.joined())"}"#
    }
}
