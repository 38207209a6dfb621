import Foundation

/// Bodies that are JSON and yet no request: wrong types, unknown and repeated fields, values out of range.
enum HostileFields {
    static let all = types + repeated + unknown + unbuilt + ranges + features + ids + otherEndpoints + search

    private enum Kind: String, CaseIterable {
        case string = "\"x\""
        case integer = "1"
        case number = "1.5"
        case boolean = "true"
        case null = "null"
        case array = "[]"
        case object = "{}"
    }

    /// Each place of each request with everything it does not take.
    private static let types: [HostileCase] = {
        let retrieve: [(body: String, takes: [Kind])] = [
            (#"VALUE"#, [.object]), (#"{"user":VALUE}"#, [.object]), (#"{"user":{"id":VALUE}}"#, [.string, .integer]),
            (#"{"user":{"features":VALUE}}"#, [.object]), (#"{"user":{},"context":VALUE}"#, [.object]),
            (#"{"user":{},"request_id":VALUE}"#, [.string]), (#"{"user":{},"model":VALUE}"#, [.string]),
            (#"{"user":{},"k":VALUE}"#, [.integer]), (#"{"user":{},"exclude":VALUE}"#, [.array]),
            (#"{"user":{},"exclude":["a",VALUE]}"#, [.string, .integer]), (#"{"user":{},"search":VALUE}"#, [.object]),
            (#"{"user":{},"search":{"ef":VALUE}}"#, [.integer]),
            (#"{"user":{},"search":{"nprobe":VALUE}}"#, [.integer]),
            (#"{"user":{},"search":{"exact":VALUE}}"#, [.boolean]), (#"{"user":{},"if_space_id":VALUE}"#, [.string]),
            (#"{"user":{},"format":VALUE}"#, [.string]), (#"{"user":{},"strict":VALUE}"#, [.boolean]),
            (#"{"user":{},"explain":VALUE}"#, [.boolean]), (#"{"user":{},"filter":VALUE}"#, [.object]),
            (#"{"user":{},"filter":{"allow":VALUE}}"#, [.object]), (#"{"user":{},"filter":{"deny":VALUE}}"#, [.object]),
            (#"{"user":{},"filter":{"numeric":VALUE}}"#, [.object]),
            (#"{"user":{},"filter":{"allow":{"country":VALUE}}}"#, [.array]),
            (#"{"user":{},"filter":{"deny":{"country":VALUE}}}"#, [.array]),
            (#"{"user":{},"filter":{"numeric":{"age":VALUE}}}"#, [.object]),
            (#"{"user":{},"timeout_ms":VALUE}"#, [.integer, .number]), (#"{"user":{},"return":VALUE}"#, [.array]),
            (#"{"user":{},"return":["a",VALUE]}"#, [.string]),
        ]
        let embed: [(body: String, takes: [Kind])] = [
            ("VALUE", [.object]), (#"{"user":VALUE}"#, [.object]), (#"{"user":{},"context":VALUE}"#, [.object]),
            (#"{"requests":VALUE}"#, [.array]), (#"{"requests":[{"user":{}},VALUE]}"#, [.object]),
            (#"{"requests":[{"user":VALUE}]}"#, [.object]), (#"{"requests":[{"user":{},"context":VALUE}]}"#, [.object]),
            (#"{"user":{},"strict":VALUE}"#, [.boolean]), (#"{"user":{},"request_id":VALUE}"#, [.string]),
        ]
        let score: [(body: String, takes: [Kind])] = [
            ("VALUE", [.object]), (#"{"items":[],"user":VALUE}"#, [.object]), (#"{"user":{},"items":VALUE}"#, [.array]),
            (#"{"user":{},"items":["a",VALUE]}"#, [.string, .integer]),
            (#"{"user":{},"items":[],"if_space_id":VALUE}"#, [.string]),
        ]
        var cases: [HostileCase] = []
        for (path, table) in [("/v1/retrieve", retrieve), ("/v1/embed", embed), ("/v1/score", score)] {
            for (body, takes) in table {
                for kind in Kind.allCases where !takes.contains(kind) {
                    let text = body.replacingOccurrences(of: "VALUE", with: kind.rawValue)
                    cases.append(HostileCase(path, text, .problem(400, "wrong-type")))
                }
            }
        }
        for k in ["\"5\"", "5.0", "1e2", "[5]"] {
            cases.append(HostileCase(#"{"user":{},"k":\#(k)}"#, .problem(400, "wrong-type")))
        }
        return cases
    }()

    private static let repeated: [HostileCase] = [
        #"{"user":{},"user":{}}"#, #"{"user":{},"k":1,"k":1}"#, #"{"user":{},"k":1,"\u006b":2}"#,
        #"{"\u0075ser":{},"user":{}}"#, #"{"user":{"id":"a","id":"a"}}"#, #"{"user":{"id":"a","\u0069\u0064":"b"}}"#,
        #"{"user":{"features":{"age":1,"age":2}}}"#, #"{"user":{"features":{"nobody":1,"nob\u006Fdy":2}}}"#,
        #"{"user":{},"context":{"hour":1,"hour":1}}"#, #"{"user":{},"context":{"\u00e9":1,"é":1}}"#,
        #"{"user":{},"context":{"/":1,"\/":1}}"#, #"{"user":{},"search":{"ef":1,"ef":1}}"#,
        #"{"user":{},"filter":{"allow":{},"allow":{}}}"#, #"{"user":{},"filter":{"allow":{"a":[],"a":[]}}}"#,
        #"{"user":{},"filter":{"numeric":{"a":{"lte":1,"lte":2}}}}"#, #"{"user":{},"nobody":1,"nobody":1}"#,
        #"{"user":{},"context":{"x":{"y":1,"y":1}}}"#, #"{"user":{},"exclude":[{"a":1,"a":1}]}"#,
        #"{"":1,"":1}"#, #"{"user":{},"k":1,"K":1,"k":2}"#,
    ].map { HostileCase($0, .problem(400, "duplicate-key")) }

    private static let unknown: [HostileCase] =
        [
            #"{"user":{},"kk":1}"#, #"{"user":{},"K":1}"#, #"{"user":{},"":1}"#, #"{"user":{},"k ":1}"#,
            #"{"user":{},"k\u0000":1}"#, #"{"user":{},"__proto__":{}}"#, #"{"user":{"nmae":1}}"#, #"{"user":{"k":1}}"#,
            #"{"user":{},"search":{"efs":1}}"#, #"{"user":{},"filter":{"permit":{}}}"#, #"{"user":{},"items":[]}"#,
            #"{"user":{},"requests":[]}"#, #"{"nobody":1}"#, #"{"user":{},"k":0,"nobody":1}"#,
            #"{"user":{},"timeout_ms":0,"nobody":1}"#, #"{"user":{},"if_space_id":"no","nobody":1}"#,
        ].map { HostileCase($0, .problem(400, "unknown-field")) }
        + [
            HostileCase("/v1/embed", #"{"user":{},"k":1}"#, .problem(400, "unknown-field")),
            HostileCase("/v1/embed", #"{"requests":[{"user":{},"k":1}]}"#, .problem(400, "unknown-field")),
            HostileCase("/v1/embed", #"{"user":{},"explain":true}"#, .problem(400, "unknown-field")),
            HostileCase("/v1/score", #"{"user":{},"items":[],"k":1}"#, .problem(400, "unknown-field")),
            HostileCase("/v1/score", #"{"user":{},"items":[],"exclude":[]}"#, .problem(400, "unknown-field")),
            HostileCase("{}", .problem(400, "missing-field")),
            HostileCase(#"{"k":5}"#, .problem(400, "missing-field")),
        ]

    private static let unbuilt: [HostileCase] = [
        #"{"user":{},"filter":{}}"#, #"{"user":{},"filter":{"allow":{"country":["US"]}}}"#,
        #"{"user":{},"filter":{"allow":{"country":[]}}}"#, #"{"user":{},"filter":{"numeric":{"age_min":{"lte":30}}}}"#,
        #"{"user":{},"return":["advertiser"]}"#, #"{"user":{},"return":[]}"#,
    ].map { HostileCase($0, .problem(501, "not-built")) }

    private static let ranges: [HostileCase] = {
        func list(_ count: Int) -> String { (0..<count).map { "\"x\($0)\"" }.joined(separator: ",") }
        let long = String(repeating: "a", count: 257)
        let many = (0..<257).map { "\"f\($0)\":1" }.joined(separator: ",")
        let values = (0..<4097).map { "\($0)" }.joined(separator: ",")
        var cases = ["0", "-1", "-0", "10001", "9223372036854775807", "-9223372036854775808", "18446744073709551615"]
            .map {
                HostileCase(#"{"user":{},"k":\#($0)}"#, .problem(422, "out-of-range"))
            }
        cases += [
            HostileCase(#"{"user":{},"k":10000}"#, .answered), HostileCase(#"{"user":{},"exclude":[]}"#, .answered),
            HostileCase("/v1/retrieve", "10,000 excludes", #"{"user":{},"exclude":[\#(list(10_000))]}"#, .answered),
            HostileCase(
                "/v1/retrieve", "10,001 excludes", #"{"user":{},"exclude":[\#(list(10_001))]}"#,
                .problem(422, "too-many")),
            HostileCase(#"{"user":{"id":""}}"#, .problem(422, "text-length")),
            HostileCase(#"{"user":{"id":"\#(long)"}}"#, .problem(422, "text-length")),
            HostileCase(#"{"user":{},"exclude":[""]}"#, .problem(422, "text-length")),
            HostileCase(#"{"user":{},"exclude":["\#(long)"]}"#, .problem(422, "text-length")),
            HostileCase(#"{"user":{},"request_id":"\#(long)"}"#, .problem(422, "text-length")),
            HostileCase(#"{"user":{},"context":{"":1}}"#, .problem(422, "text-length")),
            HostileCase(#"{"user":{},"context":{"\#(long)":1}}"#, .problem(422, "text-length")),
            HostileCase(
                "/v1/retrieve", "257 features", #"{"user":{},"context":{\#(many)}}"#, .problem(422, "too-many")),
            HostileCase(
                "/v1/retrieve", "4,097 values", #"{"user":{"features":{"shops":[\#(values)]}}}"#,
                .problem(422, "too-many")),
            HostileCase(#"{"user":{},"model":"other"}"#, .problem(404, "unknown-model")),
            HostileCase(#"{"user":{},"model":""}"#, .problem(404, "unknown-model")),
            HostileCase(#"{"user":{},"format":"xml"}"#, .problem(422, "unknown-format")),
            HostileCase(#"{"user":{},"format":"Rows"}"#, .problem(422, "unknown-format")),
            HostileCase(#"{"user":{},"format":"BINARY"}"#, .problem(422, "unknown-format")),
            HostileCase(#"{"user":{},"timeout_ms":60000}"#, .answered),
            HostileCase(#"{"user":{},"timeout_ms":1e-320}"#, .problem(504, "deadline-exceeded")),
            HostileCase(#"{"user":{},"if_space_id":"other"}"#, .problem(409, "space-mismatch")),
            HostileCase(#"{"user":{},"if_space_id":""}"#, .problem(409, "space-mismatch")),
            HostileCase("/v1/embed", #"{"user":{},"if_space_id":"other"}"#, .problem(409, "space-mismatch")),
            HostileCase("/v1/score", #"{"user":{},"items":[],"if_space_id":"other"}"#, .problem(409, "space-mismatch")),
        ]
        cases += ["0", "-0.0", "-1", "60001", "60000.5", "1e308", "1e-400", "18446744073709551615"].map {
            HostileCase(#"{"user":{},"timeout_ms":\#($0)}"#, .problem(422, "out-of-range"))
        }
        return cases
    }()

    private static let features: [HostileCase] = {
        let wrong = [
            #""country":1"#, #""country":1.5"#, #""country":true"#, #""country":{}"#, #""country":[]"#,
            #""country":["NO"]"#, #""age":"3""#, #""age":3.0"#, #""age":3.5"#, #""age":true"#, #""age":[3]"#,
            #""age":{}"#,
            #""balance":"1""#, #""balance":false"#, #""balance":[1]"#, #""recent_items":"i9""#, #""recent_items":7"#,
            #""recent_items":[1.5]"#, #""recent_items":[null]"#, #""recent_items":[[1]]"#, #""recent_items":[{}]"#,
            #""recent_items":[true]"#, #""interests":["a",1]"#, #""shops":[1,"a"]"#, #""shops":{"a":1}"#,
        ]
        var cases = wrong.map { HostileCase(#"{"user":{"features":{\#($0)}}}"#, .problem(422, "feature-type")) }
        cases += wrong.prefix(3).flatMap { feature in
            [
                HostileCase("/v1/embed", #"{"user":{"features":{\#(feature)}}}"#, .problem(422, "feature-type")),
                HostileCase(
                    "/v1/embed", #"{"requests":[{"user":{}},{"user":{"features":{\#(feature)}}}]}"#,
                    .problem(422, "feature-type")),
                HostileCase(
                    "/v1/score", #"{"items":[],"user":{"features":{\#(feature)}}}"#, .problem(422, "feature-type")),
            ]
        }
        let strict = [
            #""user":{"features":{"nobody":1}}"#, #""user":{},"context":{"nobody":null}"#,
            #""user":{},"context":{"age":3}"#, #""user":{"features":{"hour":3}}"#,
            #""user":{"features":{"user_id":"a"}}"#,
        ]
        for request in strict {
            cases.append(HostileCase(#"{"strict":true,\#(request)}"#, .problem(422, "unknown-feature")))
            cases.append(HostileCase(#"{"strict":false,\#(request)}"#, .answered))
        }
        cases += [
            HostileCase(#"{"user":{"features":{"age":null,"country":null,"recent_items":null}}}"#, .answered),
            HostileCase(#"{"user":{"features":{"nobody":{"deep":[1,{"er":2}]}}}}"#, .answered),
            HostileCase(#"{"user":{"features":{"recent_items":[]}}}"#, .answered),
            HostileCase(#"{"user":{"features":{"age":-9223372036854775808}}}"#, .answered),
            HostileCase(#"{"user":{"features":{"age":18446744073709551615}}}"#, .answered),
            HostileCase(#"{"user":{"features":{"activity":1e300}}}"#, .problem(422, "feature-range")),
            HostileCase(#"{"user":{"features":{"activity":-3e38}}}"#, .problem(422, "feature-range")),
            HostileCase(#"{"user":{"features":{"activity":1e-400}}}"#, .answered),
            HostileCase(#"{"user":{"features":{"balance":-1e300}}}"#, .answered),
        ]
        return cases
    }()

    private static let ids: [HostileCase] = [
        HostileCase(#"{"user":{"id":-1}}"#, .problem(400, "wrong-type")),
        HostileCase(#"{"user":{"id":"\u0000"}}"#, .answered),
        HostileCase(#"{"user":{"id":"../../etc/passwd"}}"#, .answered),
        HostileCase(#"{"user":{},"exclude":[-1]}"#, .problem(400, "wrong-type")),
        HostileCase(#"{"user":{},"exclude":[{"id":"a"}]}"#, .problem(400, "wrong-type")),
        HostileCase("/v1/score", #"{"user":{},"items":[-1]}"#, .problem(400, "wrong-type")),
        HostileCase("/v1/score", #"{"user":{},"items":[""]}"#, .problem(422, "text-length")),
    ]

    private static let otherEndpoints: [HostileCase] = {
        let users = Array(repeating: #"{"user":{}}"#, count: 257).joined(separator: ",")
        let items = (0..<10_001).map { "\"\($0)\"" }.joined(separator: ",")
        return [
            HostileCase("/v1/embed", "{}", .problem(400, "missing-field")),
            HostileCase("/v1/embed", #"{"requests":[]}"#, .answered),
            HostileCase("/v1/embed", #"{"requests":[{}]}"#, .problem(400, "missing-field")),
            HostileCase("/v1/embed", #"{"requests":[{"user":{}}],"user":{}}"#, .problem(400, "conflicting-fields")),
            HostileCase("/v1/embed", #"{"requests":[],"context":{}}"#, .problem(400, "conflicting-fields")),
            HostileCase("/v1/embed", "257 users", #"{"requests":[\#(users)]}"#, .problem(422, "too-many")),
            HostileCase("/v1/embed", "", .problem(400, "empty-body")),
            HostileCase("/v1/score", #"{"user":{}}"#, .problem(400, "missing-field")),
            HostileCase("/v1/score", #"{"items":[]}"#, .problem(400, "missing-field")),
            HostileCase("/v1/score", #"{"user":{},"items":[]}"#, .answered),
            HostileCase("/v1/score", "10,001 items", #"{"user":{},"items":[\#(items)]}"#, .problem(422, "too-many")),
            HostileCase("/v1/score", "", .problem(400, "empty-body")),
        ]
    }()

    private static let search: [HostileCase] = {
        var cases = ["0", "-1", "20001", "18446744073709551615"].flatMap {
            [
                HostileCase(#"{"user":{},"search":{"ef":\#($0)}}"#, .problem(422, "out-of-range")),
                HostileCase(#"{"user":{},"search":{"ef":\#($0),"exact":true}}"#, .problem(422, "out-of-range")),
            ]
        }
        cases += [
            HostileCase(#"{"user":{},"search":{}}"#, .answered),
            HostileCase(#"{"user":{},"search":{"exact":true}}"#, .answered),
            HostileCase(#"{"user":{},"search":{"nprobe":0}}"#, .problem(422, "out-of-range")),
            HostileCase(#"{"user":{},"search":{"nprobe":65537}}"#, .problem(422, "out-of-range")),
        ]
        return cases
    }()
}
