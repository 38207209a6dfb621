internal import JSON
internal import Memory

/// A reply of `/v1/retrieve` as it was read, in whichever format.
struct RetrieveReply {
    /// Why a body is no such reply.
    struct Fault: Error, Equatable {
        /// As in `ValidationReport.faults`.
        let kind: String
        let text: String
    }

    let snapshotID: String
    /// The space that the reply names, or nil.
    let spaceID: String?
    let format: ReplyFormat
    let ids: [ByteText]
    /// The doubles nearest to the decimals of the reply; of a binary one to the shortest decimals of its floats, so that
    /// replies of any format compare. (ids.count)
    let scores: [Double]
    let degraded: [String]
    let requestID: String?

    /// Reads a kept reply, JSON or binary.
    ///
    /// - twin: a reply whose ids and scores were read from the same bytes, or nil.
    init(_ reply: RunResult.KeptReply, twin: RetrieveReply? = nil) throws(Fault) {
        if let jsonByteCount = reply.jsonByteCount, let twin {
            try self.init(Array(reply.body[..<jsonByteCount]), lists: (twin.ids, twin.scores))
        } else if let jsonByteCount = reply.jsonByteCount {
            try self.init(reply.body, jsonByteCount: jsonByteCount)
        } else {
            try self.init(reply.body)
        }
    }

    /// Reads a binary body strictly: so many bytes of JSON without items, then an id of 64 bits and then a score of 32 bits
    /// for each item, little-endian, and nothing else.
    init(_ body: [UInt8], jsonByteCount: Int) throws(Fault) {
        guard jsonByteCount <= body.count else {
            throw Fault(kind: "malformed", text: "a JSON head of \(jsonByteCount) bytes in a reply of \(body.count)")
        }
        let lists = body[jsonByteCount...]
        guard lists.count % 12 == 0 else {
            throw Fault(kind: "malformed", text: "\(lists.count) bytes of ids and scores, which 12 does not divide")
        }
        let count = lists.count / 12
        func number(_ start: Int, _ byteCount: Int) -> UInt64 {
            lists[start..<start + byteCount].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        let ids = (0..<count).map { ByteText(String(number(jsonByteCount + 8 * $0, 8))) }
        let scores = (0..<count).map { rank in
            let bits = UInt32(number(jsonByteCount + 8 * count + 4 * rank, 4))
            return Double("\(Float(bitPattern: bits))") ?? .nan
        }
        try self.init(Array(body[..<jsonByteCount]), lists: (ids, scores))
    }

    /// Reads a body strictly: one JSON object, no key twice, ids and scores of the right types and as many of either.
    init(_ body: [UInt8]) throws(Fault) {
        try self.init(body, lists: nil)
    }

    private init(_ body: [UInt8], lists: (ids: [ByteText], scores: [Double])?) throws(Fault) {
        let document: JSONDocument
        do {
            document = try JSONDocument(body)
        } catch {
            throw Fault(kind: "malformed", text: error.description)
        }
        self = try withExtendedLifetime(document) { () throws(Fault) in try RetrieveReply(document.root.value, lists) }
    }

    /// - lists: what stands behind the JSON of a binary reply.
    private init(_ root: JSONValue, _ lists: (ids: [ByteText], scores: [Double])?) throws(Fault) {
        guard let reply = root.object else { throw Fault(kind: "malformed", text: "expected an object") }
        guard let snapshot = reply["snapshot"]?.object, let id = snapshot["id"]?.text?.string, !id.isEmpty else {
            throw Fault(kind: "snapshot", text: "no snapshot with an id")
        }
        snapshotID = id
        spaceID = snapshot["space_id"]?.text?.string
        var ids: [ByteText] = []
        var scores: [Double] = []
        switch (reply["items"], reply["ids"], reply["scores"], lists) {
        case (nil, nil, nil, let lists?):
            format = .binary
            (ids, scores) = lists
        case (let items?, nil, nil, nil):
            format = .rows
            guard let items = items.array else { throw Fault(kind: "malformed", text: "/items: expected a list") }
            for (rank, item) in items.enumerated() {
                guard let item = item.object, let id = item["id"]?.text, let score = item["score"]?.number else {
                    throw Fault(kind: "malformed", text: "/items/\(rank): expected an id and a score")
                }
                ids.append(ByteText(id.string))
                scores.append(score)
            }
        case (nil, let idList?, let scoreList?, nil):
            format = .columns
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
        default:
            throw Fault(
                kind: "malformed",
                text: "expected either items, or ids and scores, or a binary reply's head without any")
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
