import JSON
import Memory
import Retrieval
import RetrievalAPI
import TestSupport
import Testing
import Towers

/// Whatever the bytes are, a decoder gives a query within the limits or an error with a status; the same seed makes
/// the same requests.
@Suite struct MutationTests {
    let seeds: [(Endpoint, String)] = [
        (
            .retrieve,
            #"{"request_id":"r-7","user":{"id":"u42","features":{"age":3,"recent":["i9",-7,1.5,true,null]}},"#
                + #""context":{"hour":13,"slot":"feed"},"k":100,"exclude":["i1",5],"search":{"ef":200,"exact":false},"#
                + #""if_space_id":"s","format":"rows","strict":false,"explain":true,"model":"default"}"#
        ),
        (
            .retrieve,
            #"{"user":{},"filter":{"allow":{"c":["US"]},"numeric":{"age":{"lte":30}}},"timeout_ms":20,"#
                + #""return":["a"],"format":"binary","search":{"nprobe":8}}"#
        ),
        (.embed, #"{"requests":[{"user":{"id":1,"features":{"x":[1,2]}},"context":{}},{"user":{}}],"strict":true}"#),
        (.embed, #"{"user":{"id":"é😀","features":{"a":{"b":[]}}},"context":{"c":"\u00e9\n"}}"#),
        (.score, #"{"user":{"id":18446744073709551615},"items":["i1",2,"i3"],"request_id":""}"#),
    ]
    let fragments = [
        "{}", "[]", "null", "true", "-1", "0", "10001", "18446744073709551616", "1e999", "\"\"", "\"user\":{}", ",",
        ":", "\"k\":0", "\"id\":\"x\"", "\\u0000", "\\ud800", "\u{0}", "\"filter\":{}", "[[[[[[[[[[[[[[[[[", "}}",
    ].map { Array($0.utf8) }

    func mutate(_ bytes: inout [UInt8], _ generator: inout SeededRandom) {
        for _ in 0..<[0, 1, 1, 1, 2, 4].randomElement(using: &generator)! {
            let at = Int.random(in: 0...bytes.count, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0 where at < bytes.count: bytes[at] = UInt8.random(in: 0...255, using: &generator)
            case 1 where at < bytes.count: bytes.remove(at: at)
            case 2: bytes.insert(contentsOf: fragments.randomElement(using: &generator)!, at: at)
            case 3: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...9, using: &generator)))
            case 4:
                let end = min(bytes.count, at + Int.random(in: 1...20, using: &generator))
                bytes.insert(contentsOf: bytes[at..<end], at: at)
            default:
                // A value for another, where there is a colon: mostly JSON still.
                if let colon = bytes[at...].firstIndex(of: UInt8(ascii: ":")) {
                    let end =
                        bytes[(colon + 1)...].firstIndex { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "}") }
                        ?? bytes.count
                    bytes.replaceSubrange((colon + 1)..<end, with: fragments.randomElement(using: &generator)!)
                }
            }
        }
    }

    func check(_ text: Text?) {
        guard let text else { return }
        #expect(String(validating: text.bytes, as: UTF8.self) != nil)
    }

    func check(_ id: RequestedID?) {
        guard case .text(let text) = id else { return }
        check(text)
        #expect(Limits.idByteCount.contains(text.byteCount))
    }

    func check(_ user: UserQuery) {
        check(user.id)
        #expect(user.features.entries.count <= Limits.featureCount)
        #expect(user.features.values.count <= Limits.totalFeatureValueCount)
        #expect(user.features.entries.reduce(0) { $0 + $1.valueCount } == user.features.values.count)
        for entry in user.features.entries { check(entry.name) }
        for case .text(let text) in user.features.values { check(text) }
    }

    @Test func decodesAnyBytesSafely() throws {
        let decoder = try RequestDecoder(maximumBodyByteCount: 8192)
        var retrieval = RetrievalQuery()
        var embedding = EmbedQuery()
        var score = ScoreQuery()
        var generator = SeededRandom(seed: 42)
        var accepted = 0
        var statuses: [Int: Int] = [:]
        for round in 0..<20_000 {
            let (endpoint, seed) = seeds[round % seeds.count]
            var bytes = Array(seed.utf8)
            mutate(&bytes, &generator)
            let body = Body(bytes)
            do {
                try body.lend {
                    switch endpoint {
                    case .retrieve:
                        try decoder.decodeRetrieve($0, into: &retrieval)
                        check(retrieval.requestID)
                        check(retrieval.user)
                        retrieval.exclude.forEach(check)
                        #expect(Limits.k.contains(retrieval.k))
                        #expect(retrieval.ef.map(Limits.ef.contains) ?? true)
                        #expect(retrieval.nprobe.map(Limits.nprobe.contains) ?? true)
                    case .embed:
                        try decoder.decodeEmbed($0, into: &embedding)
                        check(embedding.requestID)
                        #expect(embedding.isBatch || embedding.userCount == 1)
                        embedding.users[..<embedding.userCount].forEach(check)
                    case .score:
                        try decoder.decodeScore($0, into: &score)
                        check(score.user)
                        score.items.forEach(check)
                    }
                }
                accepted += 1
            } catch let error as RequestError {
                let problem = Problem(error)
                statuses[problem.status, default: 0] += 1
                #expect([400, 404, 413, 422, 501].contains(problem.status))
                var writer = ByteWriter()
                problem.write(to: &writer)
                let document = try writer.withUnsafeBytes { text throws(JSONDocumentError) in try JSONDocument(text) }
                #expect(try document.root.member("status").integer() == problem.status)
                #expect(try document.root.optionalMember("field")?.string() == problem.field)
            }
        }
        // The mutations must reach every branch, or the test shows nothing.
        #expect(accepted > 1000)
        for status in [400, 404, 422, 501] {
            #expect(statuses[status, default: 0] > 20, "\(statuses)")
        }
    }
}
