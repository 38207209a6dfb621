import Foundation

/// Request lines, header fields and framing that are wrong, ambiguous or merely unusual.
enum HostileHeads {
    static let all = methods + paths + negotiation + heads + framing + versions

    private static let good = #"{"user":{"id":"u1"},"k":2}"#
    private static let end = "Host: belfry\r\nConnection: close\r\n\r\n"

    private static func get(_ target: String, _ outcome: HostileCase.Outcome) -> HostileCase {
        HostileCase(raw: "GET \(target.prefix(80))", "GET \(target) HTTP/1.1\r\n\(end)", outcome)
    }

    private static func post(_ fields: String, _ outcome: HostileCase.Outcome) -> HostileCase {
        post(fields, good, name: fields, outcome)
    }

    private static func post(
        _ fields: String, _ body: String, name: String? = nil, _ outcome: HostileCase.Outcome
    ) -> HostileCase {
        HostileCase(
            raw: "POST with \(name ?? fields)", "POST /v1/retrieve HTTP/1.1\r\nHost: belfry\r\n\(fields)\r\n\(body)",
            outcome)
    }

    private static let methods: [HostileCase] = {
        let notAllowed = HostileCase.Outcome.problem(405, "method-not-allowed")
        var cases: [HostileCase] = []
        for path in ["/v1/retrieve", "/v1/embed", "/v1/score"] {
            for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post", "Post", "POSTS"] {
                cases.append(HostileCase(raw: "\(method) \(path)", "\(method) \(path) HTTP/1.1\r\n\(end)", notAllowed))
            }
            cases.append(HostileCase(raw: "HEAD \(path)", "HEAD \(path) HTTP/1.1\r\n\(end)", isHead: true, notAllowed))
        }
        for path in ["/livez", "/readyz", "/openapi.json", "/v1/items/1"] {
            for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "GETT", "M-SEARCH"] {
                let fields = "Content-Length: 0\r\n\(end)"
                cases.append(
                    HostileCase(raw: "\(method) \(path)", "\(method) \(path) HTTP/1.1\r\n\(fields)", notAllowed))
            }
        }
        for path in ["/livez", "/readyz", "/openapi.json"] {
            cases.append(HostileCase(raw: "HEAD \(path)", "HEAD \(path) HTTP/1.1\r\n\(end)", isHead: true, .answered))
        }
        cases += [
            HostileCase(
                raw: "HEAD of no item", "HEAD /v1/items/1 HTTP/1.1\r\n\(end)", isHead: true,
                .problem(404, "unknown-item")),
            HostileCase(raw: "OPTIONS *", "OPTIONS * HTTP/1.1\r\n\(end)", .problem(404, "unknown-path")),
            HostileCase(raw: "CONNECT", "CONNECT a.example:443 HTTP/1.1\r\n\(end)", .problem(404, "unknown-path")),
            HostileCase(raw: "G@T", "G@T /livez HTTP/1.1\r\n\(end)", .problem(400, "malformed-head")),
        ]
        return cases
    }()

    private static let paths: [HostileCase] =
        [
            "/", "/v1", "/v1/", "/v1/retrieve/", "//v1/retrieve", "/v1//retrieve", "/V1/retrieve", "/v1/Retrieve",
            "/v2/retrieve", "/v1/items", "/v1/items/", "/v1/items/1/", "/v1/items/1/2", "/livez/", "/%6Civez",
            "/livez#x",
            "/v1/items/../../etc/passwd", "/../etc/passwd", "/v1/items/..%2f..%2fetc/passwd", "/v1/./retrieve",
            "/v1/snapshots", "/v1/config", "/index.html", "/favicon.ico", "livez", "/livez\\", "/livez;x=1",
            "/" + String(repeating: "a", count: 20_000), String(repeating: "/a", count: 9_000),
        ].map { get($0, .problem(404, "unknown-path")) }
        + [
            "%zz", "a%", "a%2", "%%", "%ff", "%c0%af", "%ed%a0%80", "%-1", "%u0041", String(repeating: "%", count: 999),
        ].map { get("/v1/items/\($0)", .problem(400, "malformed-path")) }
        + [
            "a%2fb", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00", "1%00", "%F0%9F%98%80", "nobody", "-1", "+1", "01",
            "18446744073709551616", "1e3", "0x10", "%20", String(repeating: "9", count: 5_000), "%0d%0aX-Evil:%201",
            ".", "..",
        ].map { get("/v1/items/\($0)", .problem(404, "unknown-item")) }
        + [
            get("/livez?x=1", .answered), get("/livez?", .answered), get("/livez?%zz", .answered),
            get("http://belfry/livez", .answered), get("http://belfry", .problem(404, "unknown-path")),
            get("/v1/items/a b", .problem(400, "malformed-head")), get("/livez\u{1}", .problem(400, "malformed-head")),
            get("/" + String(repeating: "a", count: 40_000), .refusedByLibrary(414)),
            get("/livez?" + String(repeating: "a=b&", count: 10_000), .refusedByLibrary(414)),
        ]

    private static let negotiation: [HostileCase] = {
        func with(_ fields: String, contentType: String? = "application/json", _ outcome: HostileCase.Outcome)
            -> HostileCase
        {
            HostileCase(
                "/v1/retrieve", "\(fields) \(contentType ?? "no type")", bytes: Data(good.utf8), fields: fields,
                contentType: contentType, outcome)
        }
        let types = [
            "text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
            "application/json; charset=utf-16", "application/json; charset=latin1", "application/jsonx", "json", "*/*",
            "application/json, text/plain", "",
        ]
        let accepts = [
            "text/html", "application/xml", "application/json;q=0", "*/*;q=0", "text/*", "image/png, text/html",
        ]
        let fine = ["*/*", "application/*", "application/json;q=0.1, text/html", "", "text/html, */*;q=0.1"]
        return types.map { with("", contentType: $0, .problem(415, "unsupported-media-type")) }
            + ["gzip", "deflate", "br", "zstd", "gzip, identity", "x-unknown"].map {
                with("Content-Encoding: \($0)\r\n", .problem(415, "unsupported-content-encoding"))
            }
            + accepts.map { with("Accept: \($0)\r\n", .problem(406, "not-acceptable")) }
            + fine.map { with("Accept: \($0)\r\n", .answered) }
            + [
                with("", contentType: nil, .answered),
                with("", contentType: "Application/JSON; Charset=\"UTF-8\"", .answered),
                with("Content-Encoding: identity\r\n", .answered),
                with("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n", .answered),
                with("traceparent: garbage\r\n", .answered), with("Expect: 200-ok\r\n", .answered),
                HostileCase(
                    raw: "GET that accepts no JSON", "GET /livez HTTP/1.1\r\nAccept: text/html\r\n\(end)",
                    .problem(406, "not-acceptable")),
            ]
    }()

    private static let heads: [HostileCase] = {
        func fields(_ text: String, name: String, _ outcome: HostileCase.Outcome) -> HostileCase {
            HostileCase(raw: name, "GET /livez HTTP/1.1\r\n\(text)\(end)", outcome)
        }
        func many(_ count: Int) -> String { (0..<count).map { "X-\($0): v\r\n" }.joined() }
        return [
            fields("", name: "nothing wrong", .answered),
            fields(many(200), name: "200 fields", .answered),
            fields(many(1000), name: "1000 fields", .refusedByLibrary(431)),
            fields("X: \(String(repeating: "a", count: 40_000))\r\n", name: "a long value", .refusedByLibrary(431)),
            fields("\(String(repeating: "a", count: 40_000)): v\r\n", name: "a long name", .refusedByLibrary(431)),
            fields("broken\r\n", name: "no colon", .refusedByLibrary(400)),
            fields("X : a\r\n", name: "a blank before the colon", .problem(400, "malformed-head")),
            fields("X(: a\r\n", name: "a name that is none", .problem(400, "malformed-head")),
            fields("X: a\u{1}b\r\n", name: "a control character", .problem(400, "malformed-head")),
            fields("X: a\rY: b\r\n", name: "a lone carriage return", .problem(400, "malformed-head")),
            fields("Host: other\r\n", name: "two hosts", .problem(400, "one-host")),
            HostileCase(raw: "no host", "GET /livez HTTP/1.1\r\n\r\n", .problem(400, "one-host")),
            HostileCase(raw: "empty lines before", "\r\n\r\nGET /livez HTTP/1.1\r\n\(end)", .answered),
            HostileCase(raw: "a blank before the method", " GET /livez HTTP/1.1\r\n\(end)", .closed),
            HostileCase(raw: "no version", "GET /livez\r\n\r\n", .refusedByLibrary(400)),
            HostileCase(raw: "a version in lower case", "GET /livez http/1.1\r\n\(end)", .refusedByLibrary(400)),
            HostileCase("bytes and an empty line", message: Data([0xFF, 0xFE, 0]) + Data("x\r\n\r\n".utf8), .closed),
        ]
    }()

    private static let framing: [HostileCase] = {
        let size = "Content-Length: \(good.utf8.count)\r\n"
        let chunked = "Transfer-Encoding: chunked\r\n"
        let hexadecimal = String(good.utf8.count, radix: 16)
        let ambiguous = HostileCase.Outcome.problem(400, "ambiguous-framing")
        var cases: [HostileCase] = [
            post(size, .answered), post(size + size, ambiguous), post(size + "Content-Length: 3\r\n", ambiguous),
            post(size + chunked, ambiguous), post(chunked + size, "0\r\n\r\n", ambiguous),
            post(chunked + chunked, "0\r\n\r\n", ambiguous),
            post(size + "Transfer-Encoding: identity\r\n", ambiguous), post("Content-Length:\r\n 26\r\n", ambiguous),
            post("Content-Length: 26\r\n 1\r\n", ambiguous),
            post("Content-Length : 26\r\n", .problem(400, "malformed-head")),
            post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", .problem(501, "unknown-transfer-coding")),
            post("Transfer-Encoding: gzip\r\n", .problem(501, "unknown-transfer-coding")),
            post("Transfer-Encoding: \u{B}chunked\r\n", "0\r\n\r\n", .problem(400, "malformed-head")),
            post("Content-Length: 18446744073709551615\r\n", "", .problem(413, "body-too-large")),
            post("Content-Length: 1048577\r\nExpect: 100-continue\r\n", "", .problem(413, "body-too-large")),
            post(chunked, "\(hexadecimal)\r\n\(good)\r\n0\r\n\r\n", .answered),
            post(chunked, "\(hexadecimal);a=b;c=\"d\"\r\n\(good)\r\n0\r\n\r\n", name: "a chunk extension", .answered),
            post(chunked, "000\(hexadecimal)\r\n\(good)\r\n0\r\n\r\n", name: "leading zeros", .answered),
            post(chunked, "\(hexadecimal)\r\n\(good)\r\n0\r\nX-Trailer: a\r\n\r\n", name: "a trailer", .answered),
            post(
                chunked, "\(hexadecimal)\r\n\(good)\r\n1\r\n?\r\n0\r\n\r\n", name: "a chunk too many",
                .problem(400, "trailing-content")),
            post(chunked, "0\r\n\r\n", name: "no chunk", .problem(400, "empty-body")),
            post(chunked, "FFFFFFFFFFFFFFFFFF\r\n\(good)", name: "a chunk of 2^72", .refusedByLibrary(413)),
        ]
        for start in ["xyz", "-1", "+1a", "0x1a", " ", "1a 1a", "\r\n"] {
            cases.append(
                post(chunked, "\(start)\r\n\(good)\r\n0\r\n\r\n", name: "chunk size '\(start)'", .refusedByLibrary(400))
            )
        }
        for value in ["-1", "abc", "+26", "26, 26", "0x1a", "26.0", "1e1", "", "26abc"] {
            cases.append(post("Content-Length: \(value)\r\n", .refusedByLibrary(400)))
        }
        cases.append(post("Content-Length: 99999999999999999999999\r\n", .refusedByLibrary(413)))
        cases.append(post("", "", name: "no length at all", .problem(400, "empty-body")))
        return cases
    }()

    private static let versions: [HostileCase] = {
        var cases = [
            HostileCase(raw: "HTTP/1.0", "GET /livez HTTP/1.0\r\n\r\n", .answered),
            HostileCase(
                raw: "POST in HTTP/1.0",
                "POST /v1/retrieve HTTP/1.0\r\nContent-Length: \(good.utf8.count)\r\n\r\n\(good)",
                .answered),
            HostileCase(
                raw: "chunks in HTTP/1.0", "POST /v1/retrieve HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                .problem(400, "ambiguous-framing")),
            HostileCase(raw: "HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .refusedByLibrary(505)),
        ]
        for version in ["HTTP/2.0", "HTTP/9.9", "HTTP/0.9"] {
            cases.append(HostileCase(raw: version, "GET /livez \(version)\r\n\(end)", .refusedByLibrary(505)))
        }
        for version in ["HTTP/1", "HTTP/x.y", "HTTP/1.1.1", "FTP/1.1", "HTTP/-1.1"] {
            cases.append(HostileCase(raw: version, "GET /livez \(version)\r\n\(end)", .refusedByLibrary(400)))
        }
        return cases
    }()
}
