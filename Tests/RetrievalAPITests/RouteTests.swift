import Memory
import RetrievalAPI
import Testing

@Suite struct RouteTests {
    /// Lends a string as a text.
    func with<Result>(_ string: String, _ body: (Text) throws -> Result) rethrows -> Result {
        try Array(string.utf8).withUnsafeBytes { try body(Text($0)) }
    }

    @Test(
        arguments: [
            ("/v1/retrieve", "retrieve POST"), ("/v1/embed", "embed POST"), ("/v1/score", "score POST"),
            ("/livez", "live GET, HEAD"), ("/readyz", "ready GET, HEAD"), ("/openapi.json", "description GET, HEAD"),
            ("/v1/items/i7", "item i7 GET, HEAD"), ("/v1/items/a%2Fb", "item a%2Fb GET, HEAD"),
            ("/v1/items/a/b", nil), ("/v1/items/", nil), ("/v1/items", nil), ("/v1/retrieve/", nil), ("/", nil),
            ("", nil),
            ("/v1/Retrieve", nil), ("/metrics", "metrics GET, HEAD"), ("/metric", nil), ("//v1/retrieve", nil),
            ("/v1/%72etrieve", nil),
        ] as [(String, String?)])
    func findsWhatStandsAtAPath(path: String, expected: String?) {
        let shown = with(path) { path in
            Route(path: path).map { route in
                switch route {
                case .retrieve: "retrieve \(route.methods.rawValue)"
                case .embed: "embed \(route.methods.rawValue)"
                case .score: "score \(route.methods.rawValue)"
                case .item(let id): "item \(id.string) \(route.methods.rawValue)"
                case .live: "live \(route.methods.rawValue)"
                case .ready: "ready \(route.methods.rawValue)"
                case .metrics: "metrics \(route.methods.rawValue)"
                case .description: "description \(route.methods.rawValue)"
                }
            }
        }
        #expect(shown == expected)
    }

    @Test(
        arguments: [
            ("application/json", true), ("Application/JSON", true), (" application/json ; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\"", true), ("application/json; q=1", true),
            ("application/json; charset=latin1", false), ("text/plain", false), ("application/jsonx", false),
            ("application/problem+json", false), ("", false), ("application/x-www-form-urlencoded", false),
        ])
    func knowsJSON(contentType: String, isJSON: Bool) {
        #expect(with(contentType, MediaType.isJSON) == isJSON)
    }

    @Test(arguments: [("identity", true), ("Identity", true), ("", true), ("gzip", false), ("identity, gzip", false)])
    func knowsIdentity(contentEncoding: String, isIdentity: Bool) {
        #expect(with(contentEncoding, MediaType.isIdentity) == isIdentity)
    }

    @Test(
        arguments: [
            ("", true), ("*/*", true), ("application/json", true), ("application/*", true), ("APPLICATION/JSON", true),
            ("text/html, application/json;q=0.9, */*;q=0.8", true), ("text/html,*/*;q=0.1", true),
            ("application/json;q=0", false), ("application/json;q=0.000, */*", false), ("*/*;q=0", false),
            ("*/*;q=0, application/json", true), ("application/*;q=0, */*;q=1", false), ("text/html", false),
            ("application/problem+json", false), ("application/xml, text/*", false), ("application/json;q=0.001", true),
            ("application/json; charset=utf-8", true), (",,", true),
        ])
    func readsAccept(accept: String, accepts: Bool) {
        #expect(with(accept, MediaType.acceptsJSON) == accepts, "\(accept)")
        let octets = accept.replacing("json", with: "octet-stream").replacing("JSON", with: "Octet-Stream")
        #expect(with(octets, MediaType.acceptsOctets) == accepts, "\(octets)")
    }

    @Test func tellsMediaTypesApart() {
        #expect(!with("application/octet-stream", MediaType.acceptsJSON))
        #expect(!with("application/json", MediaType.acceptsOctets))
        #expect(with("application/json, application/octet-stream", MediaType.acceptsOctets))
        #expect(!with("application/octet-stream;q=0, */*", MediaType.acceptsOctets))
    }
}
