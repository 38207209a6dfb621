internal import JSON
internal import Memory
internal import Snapshots

/// `golden.jsonl`: requests with the answers that PyTorch and exact search gave when the snapshot was made.
struct GoldenAnswers {
    /// One request and its answers.
    struct Answer {
        /// For messages: counted from 1.
        let line: Int
        /// Keeps the borrowed request alive.
        let document: JSONDocument
        /// A `/v1/retrieve` request.
        let request: JSONValue
        /// The user tower's result, (dimension).
        let embedding: [Double]
        /// Item ids, best first.
        let ids: [String]
        /// Their scores.
        let scores: [Double]
    }

    let answers: [Answer]

    /// Reads all lines.
    init(_ files: SnapshotFiles) throws(SnapshotError) {
        let mapping: MappedFile
        do {
            mapping = try MappedFile(path: files.path(of: GoldenAnswers.file))
        } catch {
            throw SnapshotError(.contents, file: GoldenAnswers.file, "cannot \(error.operation): \(error.reason)")
        }
        answers = try mapping.withBytes { bytes throws(SnapshotError) in
            try GoldenAnswers.answers(bytes, dimension: files.manifest.dimension)
        }
    }

    static let file = "golden.jsonl"

    private static func answers(_ bytes: UnsafeRawBufferPointer, dimension: Int) throws(SnapshotError) -> [Answer] {
        var answers: [Answer] = []
        for (index, line) in bytes.split(
            separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false
        ).enumerated() where !line.isEmpty {
            do throws(JSONDocumentError) {
                answers.append(
                    try answer(UnsafeRawBufferPointer(rebasing: line), line: index + 1, dimension: dimension))
            } catch {
                throw SnapshotError(.contents, file: file, "line \(index + 1): \(error)")
            }
        }
        guard !answers.isEmpty else { throw SnapshotError(.contents, file: file, "has no line") }
        return answers
    }

    private static func answer(_ line: UnsafeRawBufferPointer, line number: Int, dimension: Int)
        throws(JSONDocumentError) -> Answer
    {
        let document = try JSONDocument(line)
        try document.root.requireKeys(["request", "embeddings", "top"])
        let embeddings = try document.root.member("embeddings")
        let vectors = try embeddings.elements()
        guard vectors.count == 1 else { throw embeddings.error("has \(vectors.count) vectors, this model has one") }
        let embedding = try vectors[0].numbers()
        guard embedding.count == dimension else {
            throw vectors[0].error("has \(embedding.count) numbers, the dimension is \(dimension)")
        }
        let top = try document.root.member("top")
        try top.requireKeys(["ids", "scores"])
        let ids = try top.member("ids").strings()
        let scores = try top.member("scores").numbers()
        guard ids.count == scores.count else { throw top.error("has \(ids.count) ids and \(scores.count) scores") }
        return Answer(
            line: number, document: document, request: try document.root.member("request").value,
            embedding: embedding, ids: ids, scores: scores)
    }
}
