/// The description of the API, OpenAPI 3.1, as `/openapi.json` serves it. Numbers come from `Limits` and problems from
/// `Problem.Kind`; that paths, statuses and fields are those of the server is for the tests to show.
public enum OpenAPI {
    /// The document.
    public static let document = """
        {
        "openapi": "3.1.0",
        "info": {
          "title": "belfry",
          "version": "1",
          "description": "Which items suit this user: retrieval for two-tower models. An error is \
        application/problem+json with a stable type. Of what the HTTP library answers by itself (a request line that is \
        no HTTP, 414, 431) the body is HTML."
        },
        "paths": {
        \(paths)
        },
        "components": {
        "parameters": {
          "traceparent": {"name": "traceparent", "in": "header", "required": false, "schema": {"type": "string"},
            "description": "W3C trace context; accepted and not yet used."}
        },
        "responses": {
        \(responses)
        },
        "schemas": {
        \(schemas)
        }
        }
        }
        """

    private static let paths = """
        "/v1/retrieve": {\(post("retrieve", "Find the best items for a user", "Retrieve", "RetrieveReply", [504], headers: headLength, more: octets))},
        "/v1/embed": {\(post("embed", "Compute the embedding of a user, or of several", "Embed", "EmbedReply"))},
        "/v1/score": {\(post("score", "Score items for a user", "Score", "ScoreReply"))},
        "/v1/items/{id}": {\(get("item", "What the snapshot holds of an item", "Item", [400, 404], """
            {"name": "id", "in": "path", "required": true, "schema": {"type": "string"},
              "description": "The item's id, percent-encoded"},
            """))},
        "/livez": {\(get("live", "Whether the process runs", "Status"))},
        "/readyz": {\(get("ready", "Whether requests are answered", "Status"))},
        "/metrics": {"get": {"operationId": "metrics", "summary": "What the server counts and measures",
          "parameters": [{"$ref": "#/components/parameters/traceparent"}],
          "responses": {"200": {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string",
            "description": "Prometheus text exposition format 0.0.4"}}}}, \(problems([503]))}}},
        "/openapi.json": {\(get("description", "This description", "Description"))}
        """

    /// The binary form of a reply of `/v1/retrieve`.
    private static let octets = """
        , "application/octet-stream": {"schema": {"type": "string", "format": "binary", "description": "format binary: a \
        RetrieveHead in as many bytes as Inference-Header-Content-Length says, a multiple of 8; then n ids of 64 bits, \
        unsigned, and n scores of float32, both little-endian, best first. n is what remains, divided by 12."}}
        """

    private static let headLength = """
        "headers": {"Inference-Header-Content-Length": {"schema": {"type": "integer"}, "description": "format binary: the \
        length of the JSON head in bytes"}}, 
        """

    private static func post(
        _ name: String, _ summary: String, _ request: String, _ reply: String, _ statuses: [Int] = [],
        headers: String = "", more: String = ""
    ) -> String {
        """
        "post": {"operationId": "\(name)", "summary": "\(summary)",
          "parameters": [{"$ref": "#/components/parameters/traceparent"}],
          "requestBody": {"required": true, "content": {"application/json": {"schema": \(schema(request))}}},
          "responses": {\(success(reply, headers: headers, more: more)), \
        \(problems([400, 404, 406, 409, 413, 415, 422, 500, 501, 503] + statuses))}}
        """
    }

    private static func get(
        _ name: String, _ summary: String, _ reply: String, _ statuses: [Int] = [], _ parameters: String = ""
    ) -> String {
        """
        "get": {"operationId": "\(name)", "summary": "\(summary)",
          "parameters": [\(parameters){"$ref": "#/components/parameters/traceparent"}],
          "responses": {\(success(reply)), \(problems(statuses + [406, 503]))}}
        """
    }

    private static func success(_ reply: String, headers: String = "", more: String = "") -> String {
        """
        "200": {"description": "\(reply)", \(headers)"content": {"application/json": {"schema": \(schema(reply))}\(more)}}
        """
    }

    private static func problems(_ statuses: [Int]) -> String {
        statuses.map { "\"\($0)\": {\"$ref\": \"#/components/responses/Problem\($0)\"}" }.joined(separator: ", ")
    }

    static func schema(_ name: String) -> String {
        "{\"$ref\": \"#/components/schemas/\(name)\"}"
    }

    /// One response per status, which lists the types it may have.
    private static let responses: String = {
        var kinds: [Int: [String]] = [:]
        for kind in Problem.Kind.allCases {
            kinds[kind.description.status, default: []].append(kind.rawValue)
        }
        // Of the server itself, before a handler runs.
        kinds[400, default: []].append("ambiguous-framing")
        kinds[501, default: []].append("unknown-transfer-coding")
        kinds[503, default: []].append("too-many-connections")
        return kinds.keys.sorted().map { status in
            let types = kinds[status]!.map { "urn:belfry:problem:\($0)" }.joined(separator: ", ")
            return """
                "Problem\(status)": {"description": "\(types)", \
                \(header(status))"content": {"application/problem+json": {"schema": \(schema("Problem"))}}}
                """
        }.joined(separator: ",\n")
    }()

    private static func header(_ status: Int) -> String {
        switch status {
        case 405: #""headers": {"Allow": {"schema": {"type": "string"}}}, "#
        case 503: #""headers": {"Retry-After": {"schema": {"type": "integer"}}}, "#
        default: ""
        }
    }
}
