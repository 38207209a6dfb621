import Foundation
import TestSupport

@testable import LoadTesting

/// Two snapshots of four items and three users, written by hand: the same ids, other vectors. All components are small
/// integers, so that every score is one.
///
/// The embedding of user u is (u + 1, 2) in the first and (2, -u - 1) in the second.
final class SwapSources {
    static let users = 3
    static let vectors: [[[Float]]] = [
        [[1, 0], [0, 1], [3, 1], [-1, 2]],
        [[2, 2], [5, 0], [-1, 1], [0, -3]],
    ]
    /// Row i has the id of this number.
    static let ids: [UInt64] = [70, 71, 72, 73]

    let root: String
    var directories: [String] { ["a", "b"].map { "\(root)/\($0)" } }
    var expectations: [String] { ["a", "b"].map { "\(root)/\($0).jsonl" } }
    /// Where they are published to.
    var published: String { "\(root)/published" }

    init() throws {
        root = FileManager.default.temporaryDirectory.appendingPathComponent("swap-\(UUID().uuidString)").path
        for (number, directory) in directories.enumerated() {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try Self.write(number, to: directory)
            let lines = (0..<Self.users).map { Self.expectation(number, user: $0) }
            try write(lines.joined(separator: "\n") + "\n", expectations[number])
        }
        try FileManager.default.createDirectory(atPath: published, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    private func write(_ text: String, _ path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    private static func write(_ number: Int, to directory: String) throws {
        let manifest = """
            {"format": "belfry-snapshot/1", "id": "source", "space_id": "space-\(number)", "dimension": 2, "metric": "ip",
             "item_id_type": "u64", "user_id_type": "u64", "items": {"count": 4}, "users": null, "features": {"user": []},
             "towers": {"user": {"file": "user_tower.safetensors"}},
             "files": {"items.safetensors": {"bytes": 1, "sha256": "of \(number)"}}}
            """
        try Data(manifest.utf8).write(to: URL(fileURLWithPath: "\(directory)/manifest.json"))
        try Data().write(to: URL(fileURLWithPath: "\(directory)/_SUCCESS"))
        var items = SafetensorsBuilder()
        items.add("ids", numbers: ids)
        items.add("vectors", shape: [4, 2], Array(vectors[number].joined()))
        try items.build().write(to: URL(fileURLWithPath: "\(directory)/items.safetensors"))
    }

    static func embedding(_ source: Int, user: Int) -> [Float] {
        source == 0 ? [Float(user + 1), 2] : [2, Float(-user - 1)]
    }

    /// All four items, best first.
    static func ranked(_ source: Int, user: Int) -> [(String, Double)] {
        let embedding = embedding(source, user: user)
        return vectors[source].indices.map { row in
            let vector = vectors[source][row]
            return (String(ids[row]), Double(embedding[0] * vector[0] + embedding[1] * vector[1]))
        }.sorted { $0.1 > $1.1 }
    }

    static func request(user: Int, k: Int = 2) -> LoadRequest {
        LoadRequest(body: #"{"user":{"id":"u\#(user)"},"k":\#(k)}"#, k: k)
    }

    private static func expectation(_ source: Int, user: Int) -> String {
        let best = ranked(source, user: user).prefix(2)
        let ids = best.map { "\"\($0.0)\"" }.joined(separator: ",")
        let scores = best.map { "\($0.1)" }.joined(separator: ",")
        return #"{"request":\#(request(user: user).body),"embeddings":[\#(embedding(source, user: user))],"#
            + #""top":{"ids":[\#(ids)],"scores":[\#(scores)]}}"#
    }

    /// A reply in rows.
    static func reply(_ items: [(String, Double)], id: String, space: String?) -> String {
        func quoted(_ text: String) -> String { "\"\(text.replacing("\"", with: "\\\""))\"" }
        let list = items.map { #"{"id":\#(quoted($0.0)),"score":\#($0.1)}"# }.joined(separator: ",")
        let space = space.map { #","space_id":"\#($0)""# } ?? ""
        return
            #"{"snapshot":{"model":"default","id":"\#(id)"\#(space)},"items":[\#(list)],"cold_start":false,"degraded":[]}"#
    }

    func belonging(_ ids: [String: Int]) throws -> Belonging {
        let sources = try zip(directories, expectations).map {
            try SnapshotSource(directory: $0.0, expectations: $0.1)
        }
        return Belonging(sources: sources, sourceByID: ids)
    }

    /// A program that does what `belfry publish SRC --to DIR --id ID --activate` does to a directory.
    func publisher(_ more: String = "") throws -> PublishCommand {
        let script = """
            #!/bin/sh
            set -e
            source=$1; to=$3; id=$5
            [ "$2 $4 $6" = "--to --id --activate" ]
            \(more)
            cp -r "$source" "$to/$id.tmp"
            mv "$to/$id.tmp" "$to/$id"
            ln -sfn "$id" "$to/current.tmp"
            mv -T "$to/current.tmp" "$to/current"
            """
        let path = "\(root)/publish.sh"
        try write(script, path)
        return PublishCommand(words: ["/bin/sh", path])
    }

    /// Ids in the directory that the daemon watches.
    var present: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: published)) ?? []).filter { $0 != "current" }.sorted()
    }
}
