/// How a reply lists its items.
enum ReplyFormat: String, Sendable, CaseIterable {
    case rows, columns, binary
}

/// What a body of `/v1/retrieve` says that its reply can be held to.
struct RequestFacts: Sendable {
    /// What a body without `k` asks for.
    static let defaultK = 100
    /// The contract's.
    static let kBounds = 1...10_000

    /// Why a body is none.
    struct Fault: Error {
        let text: String
    }

    var k = RequestFacts.defaultK
    var excluded: Set<ByteText> = []
    var format = ReplyFormat.rows
    var requestID: String?
    var hasFilter = false

    /// Reads a body; what a reply does not depend on is not looked at.
    init(_ body: BodyValue) throws(Fault) {
        guard case .object = body else { throw Fault(text: "expected an object, the body of a request") }
        guard let user = body["user"] else { throw Fault(text: "the key \"user\" is missing") }
        guard case .object = user else { throw Fault(text: "/user: expected an object") }
        if let value = body["k"] {
            guard case .signed(let number) = value, RequestFacts.kBounds.contains(Int(number)) else {
                throw Fault(text: "/k: expected an integer of 1 ... 10000, got \(value.text())")
            }
            k = Int(number)
        }
        if let value = body["exclude"] {
            guard case .list(let ids) = value else { throw Fault(text: "/exclude: expected a list of ids") }
            for (position, id) in ids.enumerated() {
                switch id {
                case .string(let text): excluded.insert(ByteText(text))
                case .signed(let number) where number >= 0: excluded.insert(ByteText(String(number)))
                case .unsigned(let number): excluded.insert(ByteText(String(number)))
                default: throw Fault(text: "/exclude/\(position): expected a string or a number of at least 0")
                }
            }
        }
        if case .string(let format)? = body["format"] {
            // What is no format is the server's to refuse.
            self.format = ReplyFormat(rawValue: format) ?? .rows
        }
        if case .string(let id)? = body["request_id"] { requestID = id }
        hasFilter = body["filter"] != nil
    }
}

extension LoadRequest {
    /// Wraps a body and reads from it what the reply is held to.
    init(_ body: BodyValue, text: String? = nil) throws(RequestFacts.Fault) {
        let facts = try RequestFacts(body)
        self.init(body: text ?? body.text(), k: facts.k, excluded: Set(facts.excluded.map(\.string)))
    }
}
