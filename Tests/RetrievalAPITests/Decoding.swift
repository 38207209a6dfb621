import JSON
import Memory
import Retrieval
import RetrievalAPI
import Towers

/// A body with the padding that a decoder needs, behind which nothing may matter.
struct Body {
    let bytes: [UInt8]
    let count: Int

    init(_ bytes: [UInt8]) {
        self.bytes = bytes + Array(repeating: UInt8(ascii: "]"), count: JSONParser.paddingByteCount)
        count = bytes.count
    }

    init(_ text: String) {
        self.init(Array(text.utf8))
    }

    func lend<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try bytes.withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }
}

/// The endpoints that take a body.
enum Endpoint: CaseIterable {
    case retrieve, embed, score
}

/// Decodes `text` and returns the error, if there is one.
func refusal(_ text: String, of endpoint: Endpoint = .retrieve) throws -> RequestError? {
    let decoder = try RequestDecoder(maximumBodyByteCount: 1 << 20)
    var retrieval = RetrievalQuery()
    var embedding = EmbedQuery()
    var score = ScoreQuery()
    do {
        try Body(text).lend {
            switch endpoint {
            case .retrieve: try decoder.decodeRetrieve($0, into: &retrieval)
            case .embed: try decoder.decodeEmbed($0, into: &embedding)
            case .score: try decoder.decodeScore($0, into: &score)
            }
        }
        return nil
    } catch let error as RequestError {
        return error
    }
}

/// Decodes a `/v1/retrieve` body and hands the query to `body`.
func retrieve(_ text: String, _ body: (borrowing RetrievalQuery) throws -> Void) throws {
    let decoder = try RequestDecoder(maximumBodyByteCount: 1 << 20)
    var query = RetrievalQuery()
    try Body(text).lend { try decoder.decodeRetrieve($0, into: &query) }
    try withExtendedLifetime(decoder) { try body(query) }
}

extension RequestedID {
    /// For comparison: quoted if it is a text.
    var shown: String {
        switch self {
        case .text(let text): "\"\(text.string)\""
        case .number(let number): "\(number)"
        }
    }
}

extension FeatureValue {
    /// For comparison.
    var shown: String {
        switch self {
        case .text(let text): "\"\(text.string)\""
        case .negative(let value): "negative \(value)"
        case .unsigned(let value): "unsigned \(value)"
        case .number(let value): "number \(value)"
        case .boolean(let value): "\(value)"
        case .composite: "composite"
        }
    }
}

extension FeatureValues {
    /// For comparison: `age(user) = unsigned 3`.
    var shown: [String] {
        entries.map { entry in
            let values = values[entry.firstValue..<entry.firstValue + entry.valueCount].map(\.shown)
            let list = entry.isList ? "[\(values.joined(separator: ", "))]" : values.joined()
            return "\(entry.name.string)(\(entry.source)) = \(list)"
        }
    }
}
