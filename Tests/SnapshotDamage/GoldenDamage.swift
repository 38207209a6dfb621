internal import Foundation
internal import Snapshots
internal import TestSupport

private let golden = "golden.jsonl"

/// Golden answers that are sealed and wrong, and what only running the model shows.
public enum GoldenDamage {
    /// All of them.
    public static let all: [Damage] = texts + answers + models + warmup

    static let texts: [Damage] = [
        .sealed("no golden line", .contents, golden, "has no line") { try $0.truncate(golden, to: 0) },
        .sealed("empty golden lines", .contents, golden, "has no line") { try $0.write(golden, "\n\n\n") },
        .sealed("a golden line cut off", .contents, golden, "line 2: malformed JSON") { copy in
            let line = try copy.goldenLines()[0]
            try copy.write(golden, line + "\n" + line.prefix(1000))
        },
        .sealed("a fault after empty lines", .contents, golden, "line 4:") { copy in
            try copy.write(golden, try copy.goldenLines()[0] + "\n\n\n{}\n")
        },
        .sealed("a golden line without an answer", .contents, golden, "line 1: the key \"top\" is missing") {
            try $0.editGolden { $0["top"] = nil }
        },
        .sealed("a golden line with more", .contents, golden, "line 1: /note: unknown key") {
            try $0.editGolden { $0["note"] = "hand-made" }
        },
        .sealed("two embeddings", .contents, golden, "line 1: /embeddings: has 2 vectors") {
            try $0.editGolden { $0["embeddings"] = [[1], [2]] }
        },
        .sealed("an embedding too short", .contents, golden, "/embeddings/0: has 2 numbers, the dimension is 20") {
            try $0.editGolden { $0["embeddings"] = [[1, 2]] }
        },
        .sealed("ids and scores that do not pair", .contents, golden, "/top: has 1 ids and 2 scores") {
            try $0.editGolden { $0["top"] = ["ids": ["i1"], "scores": [1, 2]] }
        },
        .sealed("a golden line nested 100,000 deep", .contents, golden, "line 1: ", "nested too deeply") {
            try $0.write(golden, String(repeating: #"{"request":"#, count: 100_000))
        },
        .sealed("invalid UTF-8 in a golden line", .contents, golden, "line 1: ", "UTF-8") {
            try $0.edit(golden) { $0[$0.startIndex + 20] = 0xC0 }
        },
    ]

    static let answers: [Damage] = [
        .sealed("another embedding", .golden, golden, "line 1: coordinate 3 of the embedding") {
            try $0.editEmbedding { $0[3] += 1e-3 }
        },
        .sealed("an embedding of another size", .golden, golden, "of the embedding") {
            try $0.editEmbedding { for index in $0.indices { $0[index] *= 1.0001 } }
        },
        .sealed("an embedding of zeros", .golden, golden, "of the embedding") {
            try $0.editEmbedding { for index in $0.indices { $0[index] = 0 } }
        },
        // The norm of such an embedding is infinite, and every deviation a vanishing share of it.
        .sealed("a coordinate of 1e200", .golden, golden, "coordinate 3 of the embedding") {
            try $0.editEmbedding { $0[3] = 1e200 }
        },
        .sealed("a score off by 1e-3", .golden, golden, "line 1: the score of rank 1 ") { copy in
            try copy.editTop { _, scores in scores[0] += 1e-3 * abs(scores[0]) }
        },
        .sealed("the last score off", .golden, golden, "the score of rank 100 ") { copy in
            try copy.editTop { _, scores in scores[99] -= 0.1 }
        },
        .sealed("ids exchanged", .golden, golden, "line 1: rank 1 is row") { copy in
            try copy.editTop { ids, _ in ids.swapAt(0, 99) }
        },
        .sealed("an id that is not there", .golden, golden, "'gone' is not in the snapshot") { copy in
            try copy.editTop { ids, _ in ids[50] = "gone" }
        },
        .sealed("an answer too few", .golden, golden, "finds 100 items, the golden answer has 99") { copy in
            try copy.editTop { ids, scores in
                ids.removeLast()
                scores.removeLast()
            }
        },
        .sealed("no answer", .golden, golden, "finds 100 items, the golden answer has 0") { copy in
            try copy.editTop { ids, scores in
                ids = []
                scores = []
            }
        },
        .sealed("a request without a user", .golden, golden, "line 1: the request is refused") {
            try $0.editGolden { $0["request"] = ["k": 100] }
        },
        .sealed("a request for nothing", .golden, golden, "line 1: the request is refused") {
            try $0.editRequest { $0["k"] = 0 }
        },
        .sealed("a request that is a list", .golden, golden, "line 1: the request is refused") {
            try $0.editGolden { $0["request"] = [1] }
        },
        .sealed("a feature nobody knows", .golden, golden, "line 1: the request is refused") {
            try $0.editRequest { request in
                var user = request["user"] as! [String: Any]
                user["features"] = ["gone": 1]
                request["user"] = user
            }
        },
        .sealed("a feature of another type", .golden, golden, "line 1: the request is refused") {
            try $0.editRequest { request in
                var user = request["user"] as! [String: Any]
                user["features"] = ["age": "forty"]
                request["user"] = user
            }
        },
        .sealed("another user", .golden, golden, "of the embedding") {
            try $0.editRequest { request in
                var user = request["user"] as! [String: Any]
                user["id"] = "u1"
                request["user"] = user
            }
        },
        .sealed("another hour", .golden, golden, "of the embedding") {
            try $0.editRequest { request in
                var context = request["context"] as! [String: Any]
                context["hour"] = 17
                request["context"] = context
            }
        },
    ]

    static let warmup: [Damage] = [
        .sealed("warm-up requests that are no JSON", .contents, "warmup.jsonl", "line 1: malformed JSON") {
            try $0.write("warmup.jsonl", "garbage")
        },
        .sealed("a warm-up request cut off", .contents, "warmup.jsonl", "line 200:", "JSON") { copy in
            try copy.truncate("warmup.jsonl", to: try copy.bytes(of: "warmup.jsonl").count - 20)
        },
        .sealed("a warm-up request that is refused", .contents, "warmup.jsonl", "line 2: the request is refused") {
            try $0.write("warmup.jsonl", "\n" + #"{"k": 3}"#)
        },
        .sealed("a warm-up request of other features", .contents, "warmup.jsonl", "line 1: the request is refused") {
            try $0.write("warmup.jsonl", #"{"user": {"features": {"gone": 1}}}"#)
        },
    ]

    static let models: [Damage] = [
        .sealed("a weight off by a little", .golden, golden, "of the embedding") {
            try $0.setFloat("user_tower.safetensors", "layers.4.bias", at: 0, 0.5)
        },
        .sealed("weights beyond float32's sums", .golden, golden, "embedding", in: "plain") { copy in
            try copy.editTensor("user_tower.safetensors", "layers.2.weight") { bytes in
                let huge = SnapshotCopy.littleEndian(Float(3e38).bitPattern)
                for offset in stride(from: 0, to: bytes.count, by: 4) {
                    bytes.replaceSubrange(offset..<offset + 4, with: huge)
                }
            }
        },
        .sealed("another seed", .golden, golden, "of the embedding") {
            $0.set("features/user/0/encoding/seed", "12")
        },
        .sealed("another boundary", .golden, golden, "of the embedding") {
            $0.set("features/user/4/encoding/boundaries", "[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]")
        },
        .sealed("another activation", .golden, golden, "of the embedding") {
            $0.set("towers/user/layers/0/activation", #""gelu""#)
        },
        .sealed("another pooling", .golden, golden, "of the embedding") {
            $0.set("towers/user/inputs/9/pooling", #""sum""#)
        },
        .sealed("another epsilon", .golden, golden, "of the embedding") {
            $0.set("towers/user/layers/1/epsilon", "0.5")
        },
        .sealed("no words", .golden, golden, "of the embedding") { copy in
            try copy.editTensor("user_tower.safetensors", "vocabulary.country.bytes") { bytes in
                for offset in bytes.indices { bytes[offset] |= 0x20 }
            }
        },
    ]
}

extension SnapshotCopy {
    fileprivate func goldenLines() throws -> [String] {
        String(decoding: try bytes(of: golden), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// Changes the first line.
    fileprivate func editGolden(_ body: (inout [String: Any]) -> Void) throws {
        var lines = try goldenLines()
        var object = try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) as! [String: Any]
        body(&object)
        lines[0] = String(
            decoding: try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys]), as: UTF8.self)
        try write(golden, lines.joined(separator: "\n"))
    }

    fileprivate func editRequest(_ body: (inout [String: Any]) -> Void) throws {
        try editGolden { object in
            var request = object["request"] as! [String: Any]
            body(&request)
            object["request"] = request
        }
    }

    fileprivate func editEmbedding(_ body: (inout [Double]) -> Void) throws {
        try editGolden { object in
            var embeddings = object["embeddings"] as! [[Double]]
            body(&embeddings[0])
            object["embeddings"] = embeddings
        }
    }

    fileprivate func editTop(_ body: (inout [String], inout [Double]) -> Void) throws {
        try editGolden { object in
            let top = object["top"] as! [String: Any]
            var ids = top["ids"] as! [String]
            var scores = top["scores"] as! [Double]
            body(&ids, &scores)
            object["top"] = ["ids": ids, "scores": scores] as [String: Any]
        }
    }
}
