internal import JSON
internal import Memory

/// A reply of `/v1/retrieve` as it was read, rows or columns.
struct RetrieveReply {
    /// Why a body is no such reply.
    struct Fault: Error, Equatable {
        /// As in `ValidationReport.faults`.
        let kind: String
        let text: String
    }

    let snapshotID: String
    let isColumns: Bool
    let ids: [ByteText]
    /// The doubles nearest to the decimals of the reply. (ids.count)
    let scores: [Double]
    let degraded: [String]
    let requestID: String?

    /// Reads a body strictly: one JSON object, no key twice, ids and scores of the right types and as many of either.
    init(_ body: [UInt8]) throws(Fault) {
        let document: JSONDocument
        do {
            document = try JSONDocument(body)
        } catch {
            throw Fault(kind: "malformed", text: error.description)
        }
        self = try withExtendedLifetime(document) { () throws(Fault) in try RetrieveReply(document.root.value) }
    }

    private init(_ root: JSONValue) throws(Fault) {
        guard let reply = root.object else { throw Fault(kind: "malformed", text: "expected an object") }
        guard let snapshot = reply["snapshot"]?.object, let id = snapshot["id"]?.text?.string, !id.isEmpty else {
            throw Fault(kind: "snapshot", text: "no snapshot with an id")
        }
        snapshotID = id
        var ids: [ByteText] = []
        var scores: [Double] = []
        switch (reply["items"], reply["ids"], reply["scores"]) {
        case (let items?, nil, nil):
            isColumns = false
            guard let items = items.array else { throw Fault(kind: "malformed", text: "/items: expected a list") }
            for (rank, item) in items.enumerated() {
                guard let item = item.object, let id = item["id"]?.text, let score = item["score"]?.number else {
                    throw Fault(kind: "malformed", text: "/items/\(rank): expected an id and a score")
                }
                ids.append(ByteText(id.string))
                scores.append(score)
            }
        case (nil, let idList?, let scoreList?):
            isColumns = true
            guard let idList = idList.array, let scoreList = scoreList.array else {
                throw Fault(kind: "malformed", text: "/ids and /scores: expected lists")
            }
            for (rank, id) in idList.enumerated() {
                guard let id = id.text else { throw Fault(kind: "malformed", text: "/ids/\(rank): expected a string") }
                ids.append(ByteText(id.string))
            }
            for (rank, score) in scoreList.enumerated() {
                guard let score = score.number else {
                    throw Fault(kind: "malformed", text: "/scores/\(rank): expected a number")
                }
                scores.append(score)
            }
            guard ids.count == scores.count else {
                throw Fault(kind: "malformed", text: "\(ids.count) ids and \(scores.count) scores")
            }
        default: throw Fault(kind: "malformed", text: "expected either items, or ids and scores")
        }
        self.ids = ids
        self.scores = scores
        var degraded: [String] = []
        if let value = reply["degraded"] {
            guard let list = value.array else { throw Fault(kind: "malformed", text: "/degraded: expected a list") }
            for element in list {
                guard let word = element.text else {
                    throw Fault(kind: "malformed", text: "/degraded: expected a list of strings")
                }
                degraded.append(word.string)
            }
        }
        self.degraded = degraded
        if let value = reply["cold_start"], value.boolean == nil {
            throw Fault(kind: "malformed", text: "/cold_start: expected a boolean")
        }
        if let value = reply["request_id"], value.text == nil {
            throw Fault(kind: "malformed", text: "/request_id: expected a string")
        }
        requestID = reply["request_id"]?.text?.string
    }
}
