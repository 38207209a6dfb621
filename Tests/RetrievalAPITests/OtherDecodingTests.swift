import JSON
import Memory
import Retrieval
import RetrievalAPI
import Testing
import Towers

@Suite struct EmbedDecodingTests {
    @Test func readsASingleUser() throws {
        let decoder = try RequestDecoder(maximumBodyByteCount: 4096)
        var query = EmbedQuery()
        try Body(
            #"{"context":{"hour":1},"user":{"id":7,"features":{"a":2}},"request_id":"r","strict":true,"if_space_id":"s"}"#
        ).lend { try decoder.decodeEmbed($0, into: &query) }
        #expect(!query.isBatch && query.userCount == 1)
        #expect(query.users[0].id?.shown == "7")
        #expect(query.users[0].features.shown == ["hour(context) = unsigned 1", "a(user) = unsigned 2"])
        #expect(query.requestID?.string == "r" && query.strict && query.requiredSpaceID?.string == "s")
    }

    @Test func readsABatchAndForgetsIt() throws {
        let decoder = try RequestDecoder(maximumBodyByteCount: 4096)
        var query = EmbedQuery()
        try Body(#"{"requests":[{"user":{"id":"a"}},{"user":{"features":{"x":1}},"context":{"y":2}},{"user":{}}]}"#)
            .lend { try decoder.decodeEmbed($0, into: &query) }
        #expect(query.isBatch && query.userCount == 3)
        #expect(query.users[0].id?.shown == "\"a\"")
        #expect(query.users[1].features.shown == ["x(user) = unsigned 1", "y(context) = unsigned 2"])
        try Body(#"{"requests":[{"user":{}},{"user":{}}]}"#).lend { try decoder.decodeEmbed($0, into: &query) }
        #expect(query.userCount == 2)
        #expect(query.users[0].id == nil && query.users[1].features.entries.isEmpty)
        try Body(#"{"requests":[]}"#).lend { try decoder.decodeEmbed($0, into: &query) }
        #expect(query.isBatch && query.userCount == 0)
    }

    @Test func givesBackTheMemoryOfHugeUsers() throws {
        let decoder = try RequestDecoder(maximumBodyByteCount: 1 << 20)
        var query = EmbedQuery()
        let values = Array(repeating: "1", count: 4000).joined(separator: ",")
        let huge = #"{"user":{"features":{"a":[\#(values)]}}}"#
        try Body(#"{"requests":[\#(huge),\#(huge)]}"#).lend { try decoder.decodeEmbed($0, into: &query) }
        try Body(#"{"requests":[{"user":{}}]}"#).lend { try decoder.decodeEmbed($0, into: &query) }
        #expect(query.users[0].features.values.capacity >= 4000)
        #expect(query.users[1].features.values.capacity == 0)
    }

    @Test(
        arguments: [
            (#"{}"#, .missingField(field: "/user")),
            (#"{"context":{}}"#, .missingField(field: "/user")),
            (#"{"user":{},"requests":[]}"#, .conflictingFields(field: "/user", other: "/requests")),
            (#"{"requests":[],"context":{}}"#, .conflictingFields(field: "/context", other: "/requests")),
            (#"{"requests":{}}"#, .wrongType(field: "/requests", expected: .array, got: .object)),
            (#"{"requests":[1]}"#, .wrongType(field: "/requests/0", expected: .object, got: .integer)),
            (#"{"requests":[{"user":{}},{}]}"#, .missingField(field: "/requests/1/user")),
            (#"{"requests":[{"user":{},"k":1}]}"#, .unknownField(field: "/requests/0/k")),
            (
                #"{"requests":[{"user":{"id":true}}]}"#,
                .wrongType(field: "/requests/0/user/id", expected: .identifier, got: .boolean)
            ),
            (#"{"user":{},"k":1}"#, .unknownField(field: "/k")),
            (#"{"user":{},"model":"m"}"#, .unknownModel(field: "/model")),
        ] as [(String, RequestError)])
    func refuses(text: String, error: RequestError) throws {
        #expect(try refusal(text, of: .embed) == error, "\(text)")
    }
}

@Suite struct ScoreDecodingTests {
    @Test func readsUserAndItems() throws {
        let decoder = try RequestDecoder(maximumBodyByteCount: 4096)
        var query = ScoreQuery()
        try Body(#"{"user":{"id":7},"context":{"h":1},"items":["i1",5,"i1"],"request_id":"r"}"#)
            .lend { try decoder.decodeScore($0, into: &query) }
        #expect(query.items.map(\.shown) == ["\"i1\"", "5", "\"i1\""])
        #expect(query.user.id?.shown == "7" && query.requestID?.string == "r")
        try Body(#"{"user":{},"items":[]}"#).lend { try decoder.decodeScore($0, into: &query) }
        #expect(query.items.isEmpty && query.user.id == nil && query.requestID == nil)
    }

    @Test(
        arguments: [
            (#"{"user":{}}"#, .missingField(field: "/items")),
            (#"{"items":[]}"#, .missingField(field: "/user")),
            (#"{"user":{},"items":{}}"#, .wrongType(field: "/items", expected: .array, got: .object)),
            (#"{"user":{},"items":[null]}"#, .wrongType(field: "/items/0", expected: .identifier, got: .null)),
            (#"{"user":{},"items":[1,-1]}"#, .negativeID(field: "/items/1")),
            (#"{"user":{},"items":[],"k":3}"#, .unknownField(field: "/k")),
        ] as [(String, RequestError)])
    func refuses(text: String, error: RequestError) throws {
        #expect(try refusal(text, of: .score) == error, "\(text)")
    }
}
