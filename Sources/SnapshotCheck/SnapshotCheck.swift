internal import ItemIndex
internal import JSON
internal import Memory
internal import Retrieval
internal import RetrievalAPI
public import Snapshots

/// `belfry check`: everything `serve` verifies, and then what only running the model shows: golden answers, and the
/// recall of the index against exact search.
///
///     try SnapshotCheck(path: path).run { print($0) }
public struct SnapshotCheck {
    /// The snapshot's directory, or a directory of snapshots with a `current`.
    public let path: String

    /// The largest deviation of an embedding's coordinate, as a share of the embedding's norm.
    public static let embeddingTolerance = 1e-5
    /// How far apart scores may lie for two items to count as tied, as a share of |u| |v|.
    public static let scoreTolerance = 1e-5

    /// Names what to check.
    public init(path: String) {
        self.path = path
    }

    /// Runs the checks in order and reports one line for each that holds.
    ///
    /// - Throws: the first fault.
    public func run(report: (String) -> Void) throws(SnapshotError) {
        let files = try SnapshotFiles(path: try SnapshotDirectory.current(in: path))
        report("ok seal: the manifest of '\(files.manifest.id)' is the one that _SUCCESS names")
        try files.verify()
        let byteCount = files.manifest.files.values.reduce(0) { $0 + $1.byteCount }
        report("ok integrity: sizes and sha256 of \(files.manifest.files.count) files, \(byteCount) bytes")
        let snapshot = try Snapshot(loading: files)
        let manifest = files.manifest
        report(
            "ok contents: tensors have the manifest's names, types and shapes, are finite and of space "
                + "'\(manifest.spaceID)'; \(manifest.itemCount) items, \(manifest.users?.count ?? 0) users")
        report(
            "ok index: \(manifest.index.kind.rawValue) over \(snapshot.index.count) vectors of "
                + "\(snapshot.index.dimension), metric \(manifest.metric.rawValue)")
        try checkReach(snapshot, report)
        try check(snapshot, files, try GoldenAnswers(files), report)
    }

    /// Checks the answers of a snapshot that is loaded: golden requests, warm-up requests, recall.
    ///
    /// - Throws: the first fault.
    public static func checkAnswers(of snapshot: Snapshot, _ files: SnapshotFiles) throws(SnapshotError) {
        try SnapshotCheck(path: files.path).check(snapshot, files, try GoldenAnswers(files)) { _ in }
    }

    private func check(
        _ snapshot: Snapshot, _ files: SnapshotFiles, _ golden: GoldenAnswers, _ report: (String) -> Void
    ) throws(SnapshotError) {
        let decoder: RequestDecoder
        do {
            decoder = try RequestDecoder(maximumBodyByteCount: 1 << 20)
        } catch {
            throw SnapshotError(.golden, file: GoldenAnswers.file, error.description)
        }
        let retriever = Retriever(snapshot: snapshot)
        var query = RetrievalQuery()
        var comparison = GoldenComparison(snapshot: snapshot)
        var recall = RecallCount(k: snapshot.manifest.index.recallK)
        for answer in golden.answers {
            func refuse(_ fault: String) -> SnapshotError {
                SnapshotError(.golden, file: GoldenAnswers.file, "line \(answer.line): \(fault)")
            }
            do throws(RequestError) {
                try decoder.decodeRetrieve(answer.request, into: &query)
            } catch {
                throw refuse("the request is refused: \(error)")
            }
            let fault: String?
            do throws(RetrievalError) {
                fault = try deviation(from: answer, retriever, &query, &comparison)
                if fault == nil { try recall.count(retriever, &query) }
            } catch {
                throw refuse("the request is refused: \(error)")
            }
            if let fault { throw refuse(fault) }
        }
        report(
            "ok golden: \(golden.answers.count) requests; embeddings within "
                + "\(SnapshotCheck.rounded(comparison.largestDeviation)) of PyTorch's (limit "
                + "\(SnapshotCheck.embeddingTolerance)), exact results the same up to ties")
        let warmupCount = try checkWarmup(files, decoder, retriever)
        report("ok warmup: \(warmupCount) requests are answered")
        try reportRecall(recall, snapshot.manifest.index, report)
    }

    /// What is wrong with the snapshot's answer to the query; nil if nothing is.
    private func deviation(
        from answer: GoldenAnswers.Answer, _ retriever: Retriever, _ query: inout RetrievalQuery,
        _ comparison: inout GoldenComparison
    ) throws(RetrievalError) -> String? {
        let context = try retriever.enrich(query.user)
        let embedding = try retriever.embed(query.user, context, strict: true)
        if let fault = comparison.compare(embedding.values, to: answer) { return fault }
        query.exact = true
        return comparison.compare(try retriever.search(embedding, query), embedding.values, to: answer)
    }

    private func reportRecall(_ recall: RecallCount, _ index: Manifest.Index, _ report: (String) -> Void)
        throws(SnapshotError)
    {
        let setting = index.ef.map { "ef \($0)" } ?? index.nprobe.map { "nprobe \($0)" } ?? "exact search"
        let figure = "recall@\(recall.k) is \(SnapshotCheck.rounded(recall.value)) at \(setting)"
        guard recall.value >= index.recallFloor else {
            throw SnapshotError(
                .recall, file: "index.faiss", "\(figure), the manifest requires \(index.recallFloor)")
        }
        report("ok recall: \(figure) over \(recall.queryCount) golden requests (floor \(index.recallFloor))")
    }

    /// Four significant digits.
    static func rounded(_ value: Double) -> String {
        guard value != 0 else { return "0" }
        var scale = 1.0
        while abs(value) * scale < 1000 { scale *= 10 }
        return "\((value * scale).rounded() / scale)"
    }
}

/// How much of what exact search finds the index finds too, over several queries.
struct RecallCount {
    let k: Int
    private(set) var queryCount = 0
    private var found = 0
    private var wanted = 0

    init(k: Int) {
        self.k = k
    }

    /// The share, 1 before the first query.
    var value: Double { wanted == 0 ? 1 : Double(found) / Double(wanted) }

    /// Counts one query. An item that scores as well as the k-th exact one is a hit, whichever of the tied was meant.
    mutating func count(_ retriever: Retriever, _ query: inout RetrievalQuery) throws(RetrievalError) {
        let embedding = try retriever.embed(query.user, try retriever.enrich(query.user), strict: true)
        query.k = k
        query.exact = true
        let exact = try retriever.search(embedding, query)
        let exactCount = exact.count
        guard exactCount > 0 else { return }
        let threshold = exact.scores[exactCount - 1]
        query.exact = false
        let hits = try retriever.search(embedding, query)
        found += (0..<hits.count).count { hits.scores[$0] >= threshold }
        wanted += exactCount
        queryCount += 1
    }
}
