import JSON
import Memory
import Retrieval
import RetrievalAPI
import Testing
import Towers

@Suite struct RetrieveDecodingTests {
    @Test func readsEveryField() throws {
        try retrieve(
            #"""
            {"request_id": "r-7", "model": "default",
             "user": {"id": "u42", "features": {"age": 3, "recent_items": ["i9", "i7"], "name": "x\"é"}},
             "context": {"hour": 13, "slot": "feed", "ratio": 0.5, "delta": -2, "on": true, "none": null},
             "k": 250, "exclude": ["i1", 18446744073709551615], "search": {"ef": 200, "nprobe": 8, "exact": true},
             "if_space_id": "space-1", "format": "columns", "strict": true, "explain": true, "timeout_ms": 20}
            """#
        ) { query in
            #expect(query.requestID?.string == "r-7")
            #expect(query.model?.string == "default")
            #expect(query.user.id?.shown == "\"u42\"")
            #expect(
                query.user.features.shown == [
                    "age(user) = unsigned 3", #"recent_items(user) = ["i9", "i7"]"#, #"name(user) = "x"é""#,
                    "hour(context) = unsigned 13", #"slot(context) = "feed""#, "ratio(context) = number 0.5",
                    "delta(context) = negative -2", "on(context) = true", "none(context) = ",
                ])
            #expect(query.k == 250)
            #expect(query.exclude.map(\.shown) == ["\"i1\"", "18446744073709551615"])
            #expect(query.ef == 200 && query.nprobe == 8 && query.exact)
            #expect(query.requiredSpaceID?.string == "space-1")
            #expect(query.format == .columns && query.strict && query.explain && query.timeoutMillis == 20)
        }
    }

    @Test func needsOnlyUser() throws {
        try retrieve(#"{"user":{}}"#) { query in
            #expect(query.requestID == nil && query.model == nil && query.requiredSpaceID == nil)
            #expect(query.user.id == nil && query.user.features.entries.isEmpty)
            #expect(query.k == 100 && query.exclude.isEmpty && query.ef == nil && query.nprobe == nil)
            #expect(query.format == .rows && !query.exact && !query.strict && !query.explain)
            #expect(query.timeoutMillis == nil)
        }
    }

    @Test(arguments: [("1", 1), ("0.25", 0.25), ("2.5", 2.5), ("60000", 60_000), ("1e1", 10), ("1e-300", 1e-300)])
    func readsTimeouts(text: String, millis: Double) throws {
        try retrieve(#"{"user":{},"timeout_ms":\#(text),"format":"binary"}"#) { query in
            #expect(query.timeoutMillis == millis)
            #expect(query.format == .binary)
        }
    }

    @Test func forgetsTheRequestBefore() throws {
        let decoder = try RequestDecoder(maximumBodyByteCount: 4096)
        var query = RetrievalQuery()
        let full = Body(
            #"{"request_id":"r","user":{"id":1,"features":{"a":[1,2]}},"context":{"b":2},"k":7,"exclude":["x"],"#
                + #""search":{"ef":9},"format":"binary","strict":true,"explain":true,"if_space_id":"s","timeout_ms":3}"#
        )
        try full.lend { try decoder.decodeRetrieve($0, into: &query) }
        #expect(query.k == 7 && query.exclude.count == 1)
        // An error in between must not leave anything behind either.
        #expect(throws: RequestError.self) {
            try Body("{\"k\":0}").lend { try decoder.decodeRetrieve($0, into: &query) }
        }
        try Body(#"{"user":{}}"#).lend { try decoder.decodeRetrieve($0, into: &query) }
        #expect(query.requestID == nil && query.user.id == nil && query.requiredSpaceID == nil && query.ef == nil)
        #expect(query.user.features.entries.isEmpty && query.user.features.values.isEmpty)
        #expect(query.k == 100 && query.exclude.isEmpty && !query.strict && !query.explain && query.format == .rows)
        #expect(query.timeoutMillis == nil)
    }

    @Test func keepsFeatureValuesAsTheyAre() throws {
        try retrieve(
            #"{"user":{"features":{"l":[1,"a",-1,2.0,false,null,[1],{"x":1}],"e":[],"o":{"x":[1]},"n":[[]]}}}"#
        ) { query in
            #expect(
                query.user.features.shown == [
                    #"l(user) = [unsigned 1, "a", negative -1, number 2.0, false, composite, composite, composite]"#,
                    "e(user) = []", "o(user) = composite", "n(user) = [composite]",
                ])
        }
    }

    @Test(
        arguments: [
            (#"{"user":[]}"#, "/user", .object, .array),
            (#"{"user":null}"#, "/user", .object, .null),
            (#"{"user":{"id":1.5}}"#, "/user/id", .identifier, .number),
            (#"{"user":{"id":null}}"#, "/user/id", .identifier, .null),
            (#"{"user":{"features":[]}}"#, "/user/features", .object, .array),
            (#"{"user":{},"context":"x"}"#, "/context", .object, .string),
            (#"{"user":{},"request_id":7}"#, "/request_id", .string, .integer),
            (#"{"user":{},"model":1}"#, "/model", .string, .integer),
            (#"{"user":{},"k":"100"}"#, "/k", .integer, .string),
            (#"{"user":{},"k":10.0}"#, "/k", .integer, .number),
            (#"{"user":{},"k":1e2}"#, "/k", .integer, .number),
            (#"{"user":{},"k":null}"#, "/k", .integer, .null),
            (#"{"user":{},"exclude":"i1"}"#, "/exclude", .array, .string),
            (#"{"user":{},"exclude":["i1",true]}"#, "/exclude/1", .identifier, .boolean),
            (#"{"user":{},"search":[]}"#, "/search", .object, .array),
            (#"{"user":{},"search":{"ef":"x"}}"#, "/search/ef", .integer, .string),
            (#"{"user":{},"search":{"nprobe":1.5}}"#, "/search/nprobe", .integer, .number),
            (#"{"user":{},"search":{"exact":1}}"#, "/search/exact", .boolean, .integer),
            (#"{"user":{},"if_space_id":[]}"#, "/if_space_id", .string, .array),
            (#"{"user":{},"format":1}"#, "/format", .string, .integer),
            (#"{"user":{},"strict":"true"}"#, "/strict", .boolean, .string),
            (#"{"user":{},"explain":0}"#, "/explain", .boolean, .integer),
            (#"{"user":{},"filter":[]}"#, "/filter", .object, .array),
            (#"{"user":{},"filter":{"allow":[]}}"#, "/filter/allow", .object, .array),
            (#"{"user":{},"filter":{"deny":{"a":"x"}}}"#, "/filter/deny/a", .array, .string),
            (#"{"user":{},"filter":{"numeric":{"a":3}}}"#, "/filter/numeric/a", .object, .integer),
            (#"{"user":{},"timeout_ms":"20"}"#, "/timeout_ms", .number, .string),
            (#"{"user":{},"timeout_ms":null}"#, "/timeout_ms", .number, .null),
            (#"{"user":{},"timeout_ms":[5]}"#, "/timeout_ms", .number, .array),
            (#"{"user":{},"return":"x"}"#, "/return", .array, .string),
            (#"{"user":{},"return":[1]}"#, "/return/0", .string, .integer),
            ("[]", "", .object, .array), ("17", "", .object, .integer),
        ] as [(String, String, RequestError.Expectation, JSONKind)])
    func refusesWrongTypes(text: String, field: String, expected: RequestError.Expectation, got: JSONKind) throws {
        #expect(try refusal(text) == .wrongType(field: field, expected: expected, got: got), "\(text)")
    }

    @Test(
        arguments: [
            (#"{"user":{},"k":0}"#, .outOfRange(field: "/k", bounds: 1...10_000)),
            (#"{"user":{},"k":10001}"#, .outOfRange(field: "/k", bounds: 1...10_000)),
            (#"{"user":{},"k":-1}"#, .outOfRange(field: "/k", bounds: 1...10_000)),
            (#"{"user":{},"k":18446744073709551615}"#, .outOfRange(field: "/k", bounds: 1...10_000)),
            (#"{"user":{},"search":{"ef":0}}"#, .outOfRange(field: "/search/ef", bounds: Limits.ef)),
            (#"{"user":{},"search":{"ef":20001}}"#, .outOfRange(field: "/search/ef", bounds: Limits.ef)),
            (#"{"user":{},"search":{"nprobe":0}}"#, .outOfRange(field: "/search/nprobe", bounds: Limits.nprobe)),
            (#"{"user":{},"search":{"nprobe":65537}}"#, .outOfRange(field: "/search/nprobe", bounds: Limits.nprobe)),
            (#"{"user":{},"format":"xml"}"#, .unknownFormat(field: "/format")),
            (#"{"user":{},"format":"Binary"}"#, .unknownFormat(field: "/format")),
            (#"{"user":{},"filter":{"allow":{"country":["US"]}}}"#, .notBuilt(field: "/filter")),
            (#"{"user":{},"filter":{}}"#, .notBuilt(field: "/filter")),
            (#"{"user":{},"timeout_ms":0}"#, .notWithin(field: "/timeout_ms", maximum: 60_000)),
            (#"{"user":{},"timeout_ms":-0.0}"#, .notWithin(field: "/timeout_ms", maximum: 60_000)),
            (#"{"user":{},"timeout_ms":-5}"#, .notWithin(field: "/timeout_ms", maximum: 60_000)),
            (#"{"user":{},"timeout_ms":60000.001}"#, .notWithin(field: "/timeout_ms", maximum: 60_000)),
            (#"{"user":{},"timeout_ms":18446744073709551615}"#, .notWithin(field: "/timeout_ms", maximum: 60_000)),
            (#"{"user":{},"return":["advertiser"]}"#, .notBuilt(field: "/return")),
            (#"{"user":{},"model":"other"}"#, .unknownModel(field: "/model")),
            (#"{"user":{"id":""}}"#, .textLength(field: "/user/id", bounds: 1...256)),
            (#"{"user":{"features":{"":1}}}"#, .textLength(field: "/user/features/", bounds: 1...256)),
            (#"{"user":{},"exclude":[""]}"#, .textLength(field: "/exclude/0", bounds: 1...256)),
        ] as [(String, RequestError)])
    func refusesWhatItCannotServe(text: String, error: RequestError) throws {
        #expect(try refusal(text) == error, "\(text)")
    }

    @Test(
        arguments: [
            (#"{}"#, .missingField(field: "/user")),
            (#"{"k":1}"#, .missingField(field: "/user")),
            (#"{"user":{},"kk":1}"#, .unknownField(field: "/kk")),
            (#"{"user":{},"K":1}"#, .unknownField(field: "/K")),
            (#"{"user":{},"":1}"#, .unknownField(field: "/")),
            (#"{"user":{},"a/b~":1}"#, .unknownField(field: "/a~1b~0")),
            (#"{"user":{},"items":[]}"#, .unknownField(field: "/items")),
            (#"{"user":{},"requests":[]}"#, .unknownField(field: "/requests")),
            (#"{"user":{"name":1}}"#, .unknownField(field: "/user/name")),
            (#"{"user":{},"search":{"efs":1}}"#, .unknownField(field: "/search/efs")),
            (#"{"user":{},"filter":{"only":{}}}"#, .unknownField(field: "/filter/only")),
            (#"{"user":{},"user":{}}"#, .duplicateKey(field: "/user")),
            (#"{"user":{"features":{"a":1,"a":1}}}"#, .duplicateKey(field: "/user/features/a")),
            (#"{"user":{"features":{"a":{"b":1,"b":2}}}}"#, .duplicateKey(field: "/user/features/a/b")),
            (#"{"user":{},"context":{"a":1,"\u0061":1}}"#, .duplicateKey(field: "/context/a")),
            (#"{"user":{"id":-1}}"#, .negativeID(field: "/user/id")),
            (#"{"user":{},"exclude":[-9223372036854775808]}"#, .negativeID(field: "/exclude/0")),
            (#"{"user":{},"k":18446744073709551616}"#, .syntax(JSONSyntaxError(.numberOutOfRange, offset: 15))),
            (#"{"user":{"features":{"x":1e999}}}"#, .syntax(JSONSyntaxError(.numberOutOfRange, offset: 25))),
            (#"{"user":{}} {}"#, .syntax(JSONSyntaxError(.trailingContent, offset: 12))),
            (#"{"user":{}"#, .syntax(JSONSyntaxError(.malformed, offset: 10))),
            ("", .syntax(JSONSyntaxError(.empty))),
        ] as [(String, RequestError)])
    func refusesWhatIsMalformed(text: String, error: RequestError) throws {
        #expect(try refusal(text) == error, "\(text)")
    }

    @Test func theSameFeatureMayStandInUserAndContext() throws {
        #expect(try refusal(#"{"user":{"features":{"a":1}},"context":{"a":1}}"#) == nil)
    }

    @Test func reportsMalformedBeforeRefused() throws {
        // Whatever the order of the fields, a 400 comes before a 422, a 404 and a 501.
        #expect(try refusal(#"{"k":0,"user":{},"bogus":1}"#) == .unknownField(field: "/bogus"))
        #expect(
            try refusal(#"{"filter":{},"timeout_ms":"x","user":{}}"#)
                == .wrongType(field: "/timeout_ms", expected: .number, got: .string))
        #expect(try refusal(#"{"model":"other","k":0}"#) == .missingField(field: "/user"))
        #expect(try refusal(#"{"model":"other","k":0,"user":{}}"#) == .unknownModel(field: "/model"))
    }
}

@Suite struct LimitTests {
    func list(_ count: Int, _ element: String = "1") -> String {
        "[\(Array(repeating: element, count: count).joined(separator: ","))]"
    }

    @Test func boundsIDs() throws {
        let long = String(repeating: "i", count: 256)
        #expect(try refusal(#"{"user":{"id":"\#(long)"},"exclude":["\#(long)"]}"#) == nil)
        #expect(try refusal(#"{"user":{"id":"\#(long)i"}}"#) == .textLength(field: "/user/id", bounds: 1...256))
        #expect(
            try refusal(#"{"user":{},"exclude":["\#(long)i"]}"#)
                == .textLength(field: "/exclude/0", bounds: 1...256))
        #expect(try refusal(#"{"user":{},"exclude":\#(list(10_000))}"#) == nil)
        #expect(try refusal(#"{"user":{},"exclude":\#(list(10_001))}"#) == .tooMany(field: "/exclude", limit: 10_000))
        #expect(try refusal(#"{"user":{},"items":\#(list(10_000))}"#, of: .score) == nil)
        #expect(
            try refusal(#"{"user":{},"items":\#(list(10_001))}"#, of: .score)
                == .tooMany(field: "/items", limit: 10_000))
    }

    @Test func boundsTheRequestID() throws {
        let long = String(repeating: "r", count: 256)
        #expect(try refusal(#"{"user":{},"request_id":"\#(long)"}"#) == nil)
        #expect(
            try refusal(#"{"user":{},"request_id":"\#(long)r"}"#)
                == .textLength(field: "/request_id", bounds: 0...256))
    }

    @Test func boundsFeatures() throws {
        func features(_ range: Range<Int>) -> String {
            "{\(range.map { "\"f\($0)\":1" }.joined(separator: ","))}"
        }
        #expect(try refusal(#"{"user":{"features":\#(features(0..<256))}}"#) == nil)
        #expect(
            try refusal(#"{"user":{"features":\#(features(0..<257))}}"#)
                == .tooMany(field: "/user/features", limit: 256))
        #expect(try refusal(#"{"user":{"features":\#(features(0..<200))},"context":\#(features(0..<56))}"#) == nil)
        #expect(
            try refusal(#"{"user":{"features":\#(features(0..<200))},"context":\#(features(0..<57))}"#)
                == .tooMany(field: "/context", limit: 256))
        let name = String(repeating: "n", count: 256)
        #expect(try refusal(#"{"user":{"features":{"\#(name)":1}}}"#) == nil)
        #expect(
            try refusal(#"{"user":{"features":{"\#(name)n":1}}}"#)
                == .textLength(field: "/user/features/\(name)n", bounds: 1...256))
    }

    @Test func boundsFeatureValues() throws {
        #expect(try refusal(#"{"user":{"features":{"a":\#(list(4096))}}}"#) == nil)
        #expect(
            try refusal(#"{"user":{"features":{"a":\#(list(4097))}}}"#)
                == .tooMany(field: "/user/features/a", limit: 4096))
        let four = (0..<4).map { "\"f\($0)\":\(list(4096))" }.joined(separator: ",")
        #expect(try refusal(#"{"user":{"features":{\#(four)}}}"#) == nil)
        #expect(
            try refusal(#"{"user":{"features":{\#(four)}},"context":{"g":1}}"#)
                == .tooMany(field: "/context/g", limit: 16_384))
    }

    @Test func boundsDepth() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + "1" + String(repeating: "]", count: depth)
        }
        #expect(try refusal(#"{"user":{"features":{"a":\#(nested(13))}}}"#) == nil)
        #expect(
            try refusal(#"{"user":{"features":{"a":\#(nested(14))}}}"#)
                == .syntax(JSONSyntaxError(.tooDeep, offset: 38)))
        #expect(try refusal(nested(100_000)) == .syntax(JSONSyntaxError(.tooDeep, offset: 16)))
    }

    @Test func boundsTheBatch() throws {
        #expect(try refusal(#"{"requests":\#(list(256, #"{"user":{}}"#))}"#, of: .embed) == nil)
        #expect(
            try refusal(#"{"requests":\#(list(257, #"{"user":{}}"#))}"#, of: .embed)
                == .tooMany(field: "/requests", limit: 256))
    }

    @Test func boundsTheBody() throws {
        let decoder = try RequestDecoder(maximumBodyByteCount: 32)
        var query = RetrievalQuery()
        #expect(throws: RequestError.syntax(JSONSyntaxError(.tooLarge))) {
            try Body(#"{"user":{},"request_id":"0123456789"}"#).lend { try decoder.decodeRetrieve($0, into: &query) }
        }
    }
}
