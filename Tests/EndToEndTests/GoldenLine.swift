import Identifiers
import ItemIndex
import Memory
import Retrieval
import Snapshots
import Towers

/// A line of golden.jsonl as this snapshot answers a request that says nothing.
func goldenLine(ofItself directory: String) throws -> String {
    let snapshot = try Snapshot(loading: try SnapshotFiles(path: directory))
    let retriever = Retriever(snapshot: snapshot)
    var query = RetrievalQuery()
    query.k = 5
    query.exact = true
    let embedding = try retriever.embed(query.user, try retriever.enrich(query.user), strict: true)
    let values = Array(embedding.values)
    let hits = try retriever.search(embedding, query)
    let ids = hits.rows.map { row in
        switch snapshot.items.ids {
        case .numbers(let table): "\"\(table.id(of: Int(row)))\""
        case .texts(let table): "\"\(table.text(of: Int(row)).string)\""
        }
    }
    return #"{"request":{"user":{},"k":5},"embeddings":[\#(values)],"#
        + #""top":{"ids":[\#(ids.joined(separator: ","))],"scores":\#(Array(hits.scores))}}"#
}
