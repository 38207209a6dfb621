internal import JSON
internal import Memory
public import Retrieval
public import RetrievalAPI
public import Snapshots

/// Requests of `/v1/retrieve` in a file, one a line, empty lines left out; what is wrong with one is told with its line.
///
///     let lines = try RequestLines(of: files.path(of: RequestLines.warmup), named: RequestLines.warmup, stage: .warmup)
///     for index in 0..<lines.count { try lines.decode(index, decoder, into: &query) { query in ... } }
public struct RequestLines: Sendable {
    /// The name of a snapshot's warm-up requests.
    public static let warmup = "warmup.jsonl"

    private let file: String
    private let stage: SnapshotError.Stage
    private let lines: [(number: Int, bytes: [UInt8])]

    /// Reads a file.
    ///
    /// - file: its name in errors.
    /// - stage: what a fault is one of.
    /// - limit: how many lines to read at most.
    public init(of path: String, named file: String, stage: SnapshotError.Stage, limit: Int = .max)
        throws(SnapshotError)
    {
        self.file = file
        self.stage = stage
        do {
            lines = try MappedFile(path: path).withBytes { bytes in
                var lines: [(number: Int, bytes: [UInt8])] = []
                var number = 0
                for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
                    number += 1
                    if line.isEmpty { continue }
                    if lines.count == limit { break }
                    lines.append((number, Array(line)))
                }
                return lines
            }
        } catch {
            throw SnapshotError(stage, file: file, "cannot \(error.operation): \(error.reason)")
        }
    }

    /// How many requests.
    public var count: Int { lines.count }

    /// The requests as they stand in the file.
    public var bodies: [[UInt8]] { lines.map(\.bytes) }

    /// Decodes a request and lends it, with texts that point into what it was parsed from.
    ///
    /// - index: among the requests, from 0.
    /// - Throws: why it is no request, or why `body` refuses it.
    public func decode<Outcome>(
        _ index: Int, _ decoder: RequestDecoder, into query: inout RetrievalQuery,
        _ body: (borrowing RetrievalQuery) throws(RetrievalError) -> Outcome
    ) throws(SnapshotError) -> Outcome {
        let document: JSONDocument
        do throws(JSONDocumentError) {
            document = try JSONDocument(lines[index].bytes)
        } catch {
            throw refuse(index, error.description)
        }
        // The query's texts lie in the document.
        defer { withExtendedLifetime(document) {} }
        do throws(RequestError) {
            try decoder.decodeRetrieve(document.root.value, into: &query)
        } catch {
            throw refuse(index, "the request is refused: \(error)")
        }
        do throws(RetrievalError) {
            return try body(query)
        } catch {
            throw refuse(index, "the request is refused: \(error)")
        }
    }

    private func refuse(_ index: Int, _ fault: String) -> SnapshotError {
        SnapshotError(stage, file: file, "line \(lines[index].number): \(fault)")
    }
}
