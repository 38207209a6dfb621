public import Memory

/// Where a request goes: what stands at each path, and the method it takes.
public enum Route {
    /// `POST /v1/retrieve`
    case retrieve
    /// `POST /v1/embed`
    case embed
    /// `POST /v1/score`
    case score
    /// `GET /v1/items/{id}`; the id as it stands in the path, percent-encoded.
    case item(encodedID: Text)
    /// `GET /livez`
    case live
    /// `GET /readyz`
    case ready
    /// `GET /metrics`
    case metrics
    /// `GET /openapi.json`
    case description

    /// The route of a path, still percent-encoded; nil if there is nothing.
    public init?(path: Text) {
        let itemPrefix = Text("/v1/items/")
        if path == Text("/v1/retrieve") {
            self = .retrieve
        } else if path == Text("/v1/embed") {
            self = .embed
        } else if path == Text("/v1/score") {
            self = .score
        } else if path == Text("/livez") {
            self = .live
        } else if path == Text("/readyz") {
            self = .ready
        } else if path == Text("/metrics") {
            self = .metrics
        } else if path == Text("/openapi.json") {
            self = .description
        } else if path.byteCount > itemPrefix.byteCount,
            Text(UnsafeRawBufferPointer(rebasing: path.bytes[..<itemPrefix.byteCount])) == itemPrefix
        {
            let id = UnsafeRawBufferPointer(rebasing: path.bytes[itemPrefix.byteCount...])
            // A slash within an id has to be encoded; as it is, it separates.
            guard !id.contains(UInt8(ascii: "/")) else { return nil }
            self = .item(encodedID: Text(id))
        } else {
            return nil
        }
    }

    /// The methods that a route takes; as the field `Allow` lists them.
    public enum Methods: String, Sendable {
        case get = "GET, HEAD"
        case post = "POST"
    }

    /// The media type of a route's replies; problems are JSON always.
    public enum ReplyType: String, Sendable {
        case json = "application/json"
        case octets = "application/octet-stream"
        /// The request's body decides.
        case either = "application/json and application/octet-stream"
        /// Metrics, whatever is asked for: scrapers list the formats they would rather have.
        case metrics = "text/plain"
    }

    /// The media type of its replies.
    public var replyType: ReplyType {
        switch self {
        case .retrieve: .either
        case .metrics: .metrics
        default: .json
        }
    }

    /// The methods it takes.
    public var methods: Methods {
        switch self {
        case .retrieve, .embed, .score: .post
        case .item, .live, .ready, .metrics, .description: .get
        }
    }
}
