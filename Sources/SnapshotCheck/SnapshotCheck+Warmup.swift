internal import Retrieval
internal import RetrievalAPI
internal import Snapshots

extension SnapshotCheck {
    /// Decodes and embeds every request of `warmup.jsonl`: they are replayed before the snapshot serves, and one that is
    /// refused then would warm nothing. Returns how many there are.
    func checkWarmup(_ files: SnapshotFiles, _ decoder: RequestDecoder, _ retriever: Retriever) throws(SnapshotError)
        -> Int
    {
        let lines = try RequestLines(
            of: files.path(of: RequestLines.warmup), named: RequestLines.warmup, stage: .contents)
        var query = RetrievalQuery()
        for index in 0..<lines.count {
            try lines.decode(index, decoder, into: &query) { query throws(RetrievalError) in
                _ = try retriever.embed(query.user, try retriever.enrich(query.user), strict: true)
            }
        }
        return lines.count
    }
}
