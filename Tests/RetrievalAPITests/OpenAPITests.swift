import JSON
import Memory
import Retrieval
import RetrievalAPI
import Testing

/// Holds openapi.json to the server: what is documented is taken, and what is taken is documented.
@Suite struct OpenAPITests {
    func root() throws -> JSONNode {
        try JSONDocument(OpenAPI.document).root
    }

    func properties(of schema: String) throws -> Set<String> {
        let node = try root().member("components").member("schemas").member(schema)
        return Set(try node.member("properties").members().map(\.name))
    }

    func names(_ fields: [RequestField]) -> Set<String> {
        Set(fields.map { "\($0.name)" })
    }

    @Test func documentsTheFieldsOfTheDecoder() throws {
        #expect(try properties(of: "Retrieve") == names(RequestField.ofRetrieve))
        #expect(try properties(of: "Embed") == names(RequestField.ofEmbed))
        #expect(try properties(of: "EmbedElement") == names(RequestField.ofEmbedElement))
        #expect(try properties(of: "Score") == names(RequestField.ofScore))
        #expect(try properties(of: "User") == Set(UserField.allCases.map { "\($0.name)" }))
        #expect(try properties(of: "Search") == Set(SearchField.allCases.map { "\($0.name)" }))
        #expect(try properties(of: "NotBuiltFilter") == Set(FilterField.allCases.map { "\($0.name)" }))
    }

    /// Not by the lists above but by trying: a documented field is known to the decoder, any other is not.
    @Test(arguments: [(Endpoint.retrieve, "Retrieve"), (.embed, "Embed"), (.score, "Score")])
    func theDecoderTakesWhatIsDocumented(endpoint: Endpoint, schema: String) throws {
        let all = RequestField.allCases.map { "\($0.name)" } + ["users", "limit", "K"]
        let documented = try properties(of: schema)
        for name in all {
            let error = try refusal(#"{"\#(name)":1.5}"#, of: endpoint)
            if documented.contains(name) {
                #expect(error != .unknownField(field: "/\(name)"))
            } else {
                #expect(error == .unknownField(field: "/\(name)"))
            }
        }
    }

    @Test func documentsTheLimits() throws {
        let schemas = try root().member("components").member("schemas")
        let k = try schemas.member("Retrieve").member("properties").member("k")
        #expect(try k.member("maximum").integer() == Limits.k.upperBound)
        #expect(try k.member("default").integer() == RetrievalQuery().k)
        let exclude = try schemas.member("Retrieve").member("properties").member("exclude")
        #expect(try exclude.member("maxItems").integer() == 10_000)
        let timeout = try schemas.member("Retrieve").member("properties").member("timeout_ms")
        #expect(try timeout.member("maximum").integer() == 60_000)
        #expect(try timeout.member("exclusiveMinimum").integer() == 0)
    }

    @Test func everyReferenceLeadsSomewhere() throws {
        let document = try root()
        func follow(_ node: JSONNode) throws {
            switch node.kind {
            case .object:
                for (name, member) in try node.members() {
                    if name == "$ref" {
                        var target = document
                        for step in try member.string().split(separator: "/").dropFirst() {
                            target = try target.member(String(step))
                        }
                    } else {
                        try follow(member)
                    }
                }
            case .array: try node.elements().forEach(follow)
            default: break
            }
        }
        try follow(document)
    }

    @Test func everyProblemIsInAResponse() throws {
        let responses = try root().member("components").member("responses")
        for kind in Problem.Kind.allCases {
            let response = try responses.member("Problem\(kind.description.status)")
            #expect(try response.member("description").string().contains("urn:belfry:problem:\(kind.rawValue)"))
        }
    }

    @Test func documentsExactlyTheRoutes() throws {
        var documented: Set<String> = []
        for (path, operations) in try root().member("paths").members() {
            for (method, _) in try operations.members() {
                documented.insert("\(method) \(path)")
                let concrete = Array(path.replacing("{id}", with: "i7").utf8)
                let methods = concrete.withUnsafeBytes { Route(path: Text($0))?.methods }
                #expect(methods == (method == "post" ? .post : .get), "\(path)")
            }
        }
        #expect(
            documented == [
                "post /v1/retrieve", "post /v1/embed", "post /v1/score", "get /v1/items/{id}", "get /livez",
                "get /readyz", "get /metrics",
                "get /openapi.json",
            ])
    }
}
