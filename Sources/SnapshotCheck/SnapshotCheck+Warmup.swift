internal import JSON
internal import Memory
internal import Retrieval
internal import RetrievalAPI
internal import Snapshots

extension SnapshotCheck {
    static let warmupFile = "warmup.jsonl"

    /// Decodes and embeds every request of `warmup.jsonl`: they are replayed before the snapshot serves, and one that is
    /// refused then would warm nothing. Returns how many there are.
    func checkWarmup(_ files: SnapshotFiles, _ decoder: RequestDecoder, _ retriever: Retriever) throws(SnapshotError)
        -> Int
    {
        let mapping: MappedFile
        do {
            mapping = try MappedFile(path: files.path(of: SnapshotCheck.warmupFile))
        } catch {
            throw SnapshotError(
                .contents, file: SnapshotCheck.warmupFile, "cannot \(error.operation): \(error.reason)")
        }
        return try mapping.withBytes { bytes throws(SnapshotError) in
            var query = RetrievalQuery()
            var requestCount = 0
            let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            for (index, line) in lines.enumerated() where !line.isEmpty {
                func refuse(_ fault: String) -> SnapshotError {
                    SnapshotError(.contents, file: SnapshotCheck.warmupFile, "line \(index + 1): \(fault)")
                }
                let document: JSONDocument
                do throws(JSONDocumentError) {
                    document = try JSONDocument(UnsafeRawBufferPointer(rebasing: line))
                } catch {
                    throw refuse(error.description)
                }
                // The query's texts lie in the document.
                defer { withExtendedLifetime(document) {} }
                do throws(RequestError) {
                    try decoder.decodeRetrieve(document.root.value, into: &query)
                } catch {
                    throw refuse("the request is refused: \(error)")
                }
                do throws(RetrievalError) {
                    _ = try retriever.embed(query.user, try retriever.enrich(query.user), strict: true)
                } catch {
                    throw refuse("the request is refused: \(error)")
                }
                requestCount += 1
            }
            return requestCount
        }
    }
}
