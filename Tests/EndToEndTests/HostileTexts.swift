import Foundation

/// Bodies that are no JSON, or no text at all.
enum HostileTexts {
    static let all = malformed + trailing + numbers + encodings + nesting + sizes

    private static let malformed: [HostileCase] = {
        let bodies = [
            "{", "}", "[", "]", "\"", "{\"", #"{"user"#, #"{"user""#, #"{"user":"#, #"{"user":{}"#, #"{"user":{}]"#,
            #"{"user":{},}"#, #"{,"user":{}}"#, #"{"user" {}}"#, #"{"user":{} "k":1}"#, #"{"user"::{}}"#,
            #"{"user":{},,"k":1}"#, "{'user':{}}", "{user:{}}", #"{"user":{},1:2}"#, #"{"user":{},null:2}"#,
            #"{"user":{},"k":01}"#, #"{"user":{},"k":+1}"#, #"{"user":{},"k":1.}"#, #"{"user":{},"k":.5}"#,
            #"{"user":{},"k":1e}"#, #"{"user":{},"k":1e+}"#, #"{"user":{},"k":0x10}"#, #"{"user":{},"k":1_000}"#,
            #"{"user":{},"k":--1}"#, #"{"user":{},"k":- 1}"#, #"{"user":{},"k":-}"#, #"{"user":{},"k":1 0}"#,
            #"{"user":{},"k":5f}"#, #"{"user":{},"k":NaN}"#, #"{"user":{},"k":Infinity}"#,
            #"{"user":{},"k":-Infinity}"#,
            #"{"user":{},"k":nan}"#, #"{"user":{"features":{"balance":NaN}}}"#, #"{"user":{},"strict":tru}"#,
            #"{"user":{},"strict":True}"#, #"{"user":{},"strict":truee}"#, #"{"user":{},"strict":undefined}"#,
            #"{"user":nul}"#, #"{"user":{},"exclude":["a",]}"#, #"{"user":{},"exclude":[,]}"#,
            #"{"user":{},"exclude":["a" "b"]}"#, #"{"user":{},"exclude":["a"}"#, #"{"user":{},"exclude":[}]"#,
            #"{"user":{},"request_id":"a}"#, #"{"user":{},"request_id":"\x41"}"#, #"{"user":{},"request_id":"\u12"}"#,
            #"{"user":{},"request_id":"\u12G4"}"#, #"{"user":{},"request_id":"\"#, #"{"user":{},"request_id":"\'"}"#,
            "{\"user\":{},\"request_id\":\"a\nb\"}", "{\"user\":{},\"request_id\":\"a\tb\"}",
            "{\"user\":{},\"request_id\":\"a\u{1}b\"}", "/* why */{\"user\":{}}", "# why\n{\"user\":{}}",
            "<user/>", "user=u1&k=5", "{\"user\":{}\u{A0}}", "\u{2028}{\"user\":{}}", "--boundary\r\n",
        ]
        return bodies.map { HostileCase($0, .problem(400, "malformed-json")) }
    }()

    private static let trailing: [HostileCase] = [
        #"{"user":{}}{}"#, #"{"user":{}} x"#, #"{"user":{}},"#, #"{"user":{}}]"#, #"{"user":{}}}"#,
        #"{"user":{}} null"#,
        #"{"user":{}} // done"#, "{\"user\":{}}\u{0}", "{}[]",
    ].map { HostileCase($0, .problemOfAnyKind(400)) }

    /// Numbers that fit neither 64 bits nor a double, wherever they stand; also in fields that nobody reads.
    private static let numbers: [HostileCase] = {
        let huge = [
            "1e400", "-1e400", "1e309", "1e99999999999999999999", "18446744073709551616", "-9223372036854775809",
            String(repeating: "9", count: 400), "-" + String(repeating: "7", count: 400),
            String(repeating: "1", count: 400) + ".5",
        ]
        var cases: [HostileCase] = []
        for number in huge {
            for body in [
                #"{"user":{},"k":NUMBER}"#, #"{"user":{"id":NUMBER}}"#, #"{"user":{"features":{"balance":NUMBER}}}"#,
                #"{"user":{},"context":{"nobody_knows":[1,NUMBER]}}"#,
            ] {
                cases.append(
                    HostileCase(
                        body.replacingOccurrences(of: "NUMBER", with: number), .problem(400, "number-out-of-range")))
            }
        }
        return cases
    }()

    private static let encodings: [HostileCase] = {
        let good = #"{"user":{},"k":1}"#
        func inID(_ bytes: [UInt8]) -> Data {
            Data(#"{"user":{},"k":1,"request_id":""#.utf8) + Data(bytes) + Data(#""}"#.utf8)
        }
        var cases = [
            HostileCase("/v1/retrieve", "no body", "", .problem(400, "empty-body")),
            HostileCase("/v1/retrieve", "blanks", " \t\r\n  ", .problem(400, "empty-body")),
            HostileCase("/v1/retrieve", "a zero", "\u{0}", .problem(400, "malformed-json")),
            HostileCase("/v1/retrieve", "zeros", bytes: Data(count: 1000), .problem(400, "malformed-json")),
            HostileCase("/v1/retrieve", "byte order mark", "\u{FEFF}" + good, .problem(400, "malformed-json")),
            HostileCase(
                "/v1/retrieve", "UTF-16 with mark", bytes: good.data(using: .utf16)!, .problem(400, "invalid-utf8")),
            HostileCase(
                "/v1/retrieve", "UTF-16", bytes: good.data(using: .utf16LittleEndian)!, .problem(400, "malformed-json")),
            HostileCase(
                "/v1/retrieve", "UTF-32", bytes: good.data(using: .utf32BigEndian)!, .problem(400, "malformed-json")),
            HostileCase(
                "/v1/retrieve", "raw zero in a text", bytes: inID([0x61, 0, 0x62]), .problem(400, "malformed-json")),
        ]
        let broken: [(String, [UInt8])] = [
            ("overlong slash", [0xC0, 0xAF]), ("overlong zero", [0xC0, 0x80]),
            ("overlong in three", [0xE0, 0x80, 0xAF]),
            ("overlong in four", [0xF0, 0x80, 0x80, 0xAF]), ("surrogate", [0xED, 0xA0, 0x80]),
            ("surrogate pair", [0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80]), ("beyond U+10FFFF", [0xF4, 0x90, 0x80, 0x80]),
            ("lone continuation", [0x80]), ("cut short", [0xE2, 0x82]), ("five bytes", [0xF8, 0x88, 0x80, 0x80, 0x80]),
            ("0xFF", [0xFF]), ("Latin-1", [0x62, 0xF8]),
        ]
        for (name, bytes) in broken {
            cases.append(HostileCase("/v1/retrieve", name, bytes: inID(bytes), .problem(400, "invalid-utf8")))
        }
        for escape in [#"\ud800"#, #"\udc00"#, #"\ud800\ud800"#, #"\ud800a"#, #"\udfff\ud800"#, #"\uD83D\u0041"#] {
            cases.append(HostileCase(#"{"user":{},"request_id":""# + escape + #""}"#, .problem(400, "malformed-json")))
            cases.append(HostileCase(#"{"user":{},""# + escape + #"":1}"#, .problem(400, "malformed-json")))
        }
        cases.append(HostileCase(#"{"user":{},"k":1,"request_id":"\ud83d\ude00"}"#, .answered))
        cases.append(HostileCase(#"{"user":{},"k":1,"request_id":"a\u0000b"}"#, .answered))
        cases.append(HostileCase(#"{"\u0075ser":{},"\u006b":1}"#, .answered))
        return cases
    }()

    private static let nesting: [HostileCase] = {
        var cases: [HostileCase] = []
        // An empty list costs simdjson no level, so 17 of them pass.
        for depth in [18, 100, 100_000] {
            let open = String(repeating: "[", count: depth)
            let close = String(repeating: "]", count: depth)
            let objects = String(repeating: #"{"a":"#, count: depth) + "1" + String(repeating: "}", count: depth)
            let outcome = HostileCase.Outcome.problem(400, "nested-too-deeply")
            cases += [
                HostileCase("/v1/retrieve", "\(depth) lists", open + close, outcome),
                HostileCase("/v1/retrieve", "\(depth) lists open", open, .problemOfAnyKind(400)),
                HostileCase("/v1/retrieve", "\(depth) lists in user", #"{"user":"# + open + close + "}", outcome),
                HostileCase("/v1/retrieve", "\(depth) objects", objects, outcome),
                HostileCase("/v1/embed", "\(depth) lists", #"{"requests":"# + open + close + "}", outcome),
                HostileCase("/v1/score", "\(depth) lists", #"{"user":{},"items":"# + open + close + "}", outcome),
            ]
        }
        return cases
    }()

    private static let sizes: [HostileCase] = {
        let good = Data(#"{"user":{},"k":1}"#.utf8)
        func padded(_ byteCount: Int) -> Data { good + Data(repeating: 0x20, count: byteCount - good.count) }
        return [
            HostileCase("/v1/retrieve", "exactly the limit", bytes: padded(1 << 20), .answered),
            HostileCase(
                "/v1/retrieve", "the limit and a byte", bytes: padded((1 << 20) + 1), .problem(413, "body-too-large")),
            HostileCase("/v1/retrieve", "10 MB", bytes: padded(10_000_000), .problem(413, "body-too-large")),
            HostileCase("/v1/embed", "10 MB", bytes: padded(10_000_000), .problem(413, "body-too-large")),
            HostileCase("/v1/score", "10 MB of zeros", bytes: Data(count: 10_000_000), .problem(413, "body-too-large")),
        ]
    }()
}
