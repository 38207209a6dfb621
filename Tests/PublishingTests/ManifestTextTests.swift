import Foundation
import Testing

@testable import Publishing

/// The id is replaced in the manifest's text and nothing else is.
@Suite struct ManifestTextTests {
    @Test(arguments: [
        (#"{"id":"old"}"#, #"{"id":"new"}"#),
        ("{\n  \"a\": 1,\n  \"id\" :\t\"old\" }\n", "{\n  \"a\": 1,\n  \"id\" :\t\"new\" }\n"),
        (
            #"{"x":{"id":"old"},"y":["id",{"id":"old"}],"id":"old"}"#,
            #"{"x":{"id":"old"},"y":["id",{"id":"old"}],"id":"new"}"#
        ),
        (#"{"kind":"id","id":"old","z":"id"}"#, #"{"kind":"id","id":"new","z":"id"}"#),
        (#"{"a":"}{][\"id\":\"old\"\\","id":"old"}"#, #"{"a":"}{][\"id\":\"old\"\\","id":"new"}"#),
        (#"{"a\"":"\\\\","id":"o\"ld"}"#, #"{"a\"":"\\\\","id":"new"}"#),
    ]) func replaces(text: String, expected: String) {
        #expect(
            ManifestText.replacingID(in: Array(text.utf8), by: "new").map { String(decoding: $0, as: UTF8.self) }
                == expected)
    }

    @Test(arguments: [
        "{}", "", "[]", #"{"x":{"id":"old"}}"#, #"{"id":7}"#, #"{"\u0069d":"old"}"#, #"["id","old"]"#, #"{"id"#,
        #"{"id":"#,
    ]) func findsNoIDToReplace(text: String) {
        #expect(ManifestText.replacingID(in: Array(text.utf8), by: "new") == nil)
    }
}
