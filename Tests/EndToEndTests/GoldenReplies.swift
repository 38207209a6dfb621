import Foundation
import TestSupport

/// The golden answers of a snapshot, read without the product's code, and the comparison of a daemon's replies with them.
struct GoldenReplies {
    /// One line of `golden.jsonl`.
    struct Line {
        let request: [String: Any]
        let embedding: [Double]
        let ids: [String]
        let scores: [Double]
    }

    let lines: [Line]
    let isInnerProduct: Bool

    init(snapshot: String) throws {
        let text = try String(contentsOfFile: "\(snapshot)/golden.jsonl", encoding: .utf8)
        lines = try text.split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as! [String: Any]
            let top = object["top"] as! [String: Any]
            return Line(
                request: object["request"] as! [String: Any],
                embedding: (object["embeddings"] as! [[Double]])[0], ids: top["ids"] as! [String],
                scores: top["scores"] as! [Double])
        }
        let manifest = try JSONSerialization.jsonObject(
            with: Data(contentsOf: URL(fileURLWithPath: "\(snapshot)/manifest.json")))
        isInnerProduct = (manifest as! [String: Any])["metric"] as! String == "ip"
    }

    /// The largest deviation of the daemon's `/v1/embed` from PyTorch, over all requests and coordinates, as a share of the
    /// embedding's norm.
    func largestEmbeddingDeviation(_ daemon: Daemon) throws -> Double {
        var largest = 0.0
        for line in lines {
            var request = line.request
            request["k"] = nil
            let reply = try daemon.post("/v1/embed", text(request))
            guard reply.status == 200, let embeddings = reply.json["embeddings"] as? [[Double]],
                embeddings.count == 1, embeddings[0].count == line.embedding.count
            else {
                throw Daemon.Failure(description: "\(reply.status): \(String(decoding: reply.body, as: UTF8.self))")
            }
            let norm = norm(line.embedding)
            for (ours, golden) in zip(embeddings[0], line.embedding) {
                largest = max(largest, abs(ours - golden) / max(norm, 1e-30))
            }
        }
        return largest
    }

    /// What is wrong with the daemon's exact top-k; empty if nothing is. Ids may differ only where scores lie within
    /// 1e-5 |u| |v| of each other.
    func exactFaults(_ daemon: Daemon) throws -> [String] {
        var faults: [String] = []
        for (number, line) in lines.enumerated() {
            var request = line.request
            request["search"] = ["exact": true]
            let reply = try daemon.post("/v1/retrieve", text(request))
            guard reply.status == 200, let items = reply.json["items"] as? [[String: Any]] else {
                throw Daemon.Failure(description: "\(reply.status): \(String(decoding: reply.body, as: UTF8.self))")
            }
            let ids = items.map { $0["id"] as! String }
            let scores = items.map { $0["score"] as! Double }
            guard ids.count == line.ids.count, Set(ids).count == ids.count else {
                faults.append(
                    "request \(number): \(ids.count) items, \(Set(ids).count) different, golden has \(line.ids.count)")
                continue
            }
            let goldenScore = Dictionary(uniqueKeysWithValues: zip(line.ids, line.scores))
            let userNorm = norm(line.embedding)
            for rank in ids.indices {
                let itemNorm = try norm(vector(ids[rank], daemon))
                let tolerance = 1e-5 * (isInnerProduct ? userNorm * itemNorm : pow(userNorm + itemNorm, 2))
                let isSame = abs(scores[rank] - line.scores[rank]) <= tolerance
                // An item that golden does not have must tie with the last one that it has.
                let isTied =
                    ids[rank] == line.ids[rank]
                    || abs((goldenScore[ids[rank]] ?? line.scores.last!) - line.scores[rank]) <= tolerance
                if !isSame || !isTied {
                    faults.append(
                        "request \(number), rank \(rank): \(ids[rank]) with \(scores[rank]), golden has "
                            + "\(line.ids[rank]) with \(line.scores[rank])")
                }
            }
        }
        return faults
    }

    private func vector(_ id: String, _ daemon: Daemon) throws -> [Double] {
        let encoded = id.addingPercentEncoding(withAllowedCharacters: .alphanumerics)!
        return try daemon.get("/v1/items/\(encoded)").json["vector"] as! [Double]
    }

    private func text(_ object: [String: Any]) throws -> String {
        String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self)
    }

    private func norm(_ values: [Double]) -> Double {
        values.reduce(0) { $0 + $1 * $1 }.squareRoot()
    }
}
