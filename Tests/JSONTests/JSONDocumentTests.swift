import JSON
import Memory
import Testing

@Suite struct JSONKeySetTests {
    func duplicate(_ text: String) throws -> String? {
        var keys = JSONKeySet()
        return try parse(text) { keys.firstDuplicate(in: $0)?.pointer }
    }

    @Test func findsDuplicatesAnywhere() throws {
        #expect(try duplicate(#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}"#) == nil)
        #expect(try duplicate(#"{"a":1,"b":2,"a":3}"#) == "/a")
        #expect(try duplicate(#"{"a":[1,{"b":{"c":1,"d":-1.5,"c":2}}]}"#) == "/a/1/b/c")
        #expect(try duplicate(#"{"a":1,"\u0061":2}"#) == "/a")
        #expect(try duplicate(#"{"":1,"":2}"#) == "/")
        #expect(try duplicate(#"[{"a":1},{"b":1,"b":1}]"#) == "/1/b")
        #expect(try duplicate("17") == nil)
    }

    @Test func findsDuplicatesAmongMany() throws {
        for count in [2, 12, 13, 64, 1000] {
            let members = (0..<count).map { "\"key\($0)\":\($0)" }
            #expect(try duplicate("{\(members.joined(separator: ","))}") == nil)
            for repeated in [0, count / 2, count - 1] {
                let text = "{\(members.joined(separator: ",")),\"key\(repeated)\":0}"
                #expect(try duplicate(text) == "/key\(repeated)", "\(count)")
            }
        }
    }

    @Test func forgetsEarlierObjects() throws {
        var keys = JSONKeySet()
        let members = (0..<50).map { "\"key\($0)\":\($0)" }.joined(separator: ",")
        for _ in 0..<3 {
            try parse("[{\(members)},{\(members)}]") { #expect(keys.firstDuplicate(in: $0) == nil) }
        }
    }
}

@Suite struct JSONDocumentTests {
    let text = """
        {"id": "demo", "count": 3, "big": 18446744073709551615, "ratio": 0.25, "on": true, "none": null,
         "towers": {"user": {"layers": [{"in": 1}, {"in": "x"}]}}, "names": ["a", "b"], "numbers": [1, 2.5]}
        """

    func fault(_ body: (JSONNode) throws(JSONDocumentError) -> Void) throws -> String {
        let root = try JSONDocument(text).root
        do {
            try body(root)
            return "none"
        } catch {
            return error.description
        }
    }

    @Test func readsTypedValues() throws {
        let root = try JSONDocument(text).root
        #expect(try root.member("id").string() == "demo")
        #expect(try root.member("count").integer() == 3)
        #expect(try root.member("count").integer(in: 1...3) == 3)
        #expect(try root.member("big").unsigned() == .max)
        #expect(try root.member("ratio").number() == 0.25)
        #expect(try root.member("on").boolean())
        #expect(try root.member("none").unlessNull == nil)
        #expect(try root.member("names").strings() == ["a", "b"])
        #expect(try root.member("numbers").numbers() == [1, 2.5])
        #expect(try root.optionalMember("absent") == nil)
        #expect(try root.members().map(\.name).first == "id")
        #expect(try root.member("towers").member("user").member("layers").elements().count == 2)
    }

    @Test func namesThePlaceOfAFault() throws {
        #expect(
            try fault { root throws(JSONDocumentError) in
                _ = try root.member("towers").member("user").member("layers").elements()[1].member("in").integer()
            } == "/towers/user/layers/1/in: expected an integer, got a string")
        #expect(
            try fault { root throws(JSONDocumentError) in _ = try root.member("absent") }
                == "the key \"absent\" is missing")
        #expect(
            try fault { root throws(JSONDocumentError) in _ = try root.member("towers").member("x") }
                == "/towers: the key \"x\" is missing")
        #expect(
            try fault { root throws(JSONDocumentError) in _ = try root.member("big").integer() }
                == "/big: the integer is too large")
        #expect(
            try fault { root throws(JSONDocumentError) in _ = try root.member("count").integer(in: 4...9) }
                == "/count: 3 is not within 4 ... 9")
        #expect(
            try fault { root throws(JSONDocumentError) in _ = try root.member("id").member("x") }
                == "/id: expected an object, got a string")
        #expect(
            try fault { root throws(JSONDocumentError) in _ = try root.member("numbers").strings() }
                == "/numbers/0: expected a string, got an integer")
    }

    @Test func checksKeys() throws {
        let node = try JSONDocument(#"{"a":{"x":1,"y":2}}"#).root.member("a")
        #expect(throws: Never.self) { try node.requireKeys(["x"], optional: ["y", "z"]) }
        #expect(throws: JSONDocumentError(path: "/a/y", fault: "unknown key")) { try node.requireKeys(["x"]) }
        #expect(throws: JSONDocumentError(path: "/a", fault: "the key \"z\" is missing")) {
            try node.requireKeys(["x", "y", "z"])
        }
    }

    @Test func refusesBrokenDocuments() {
        #expect(throws: JSONDocumentError(path: "/a", fault: "this key stands twice")) {
            _ = try JSONDocument(#"{"a":1,"a":2}"#)
        }
        #expect(throws: JSONDocumentError(path: "", fault: "malformed JSON at byte 1")) { _ = try JSONDocument("[") }
        #expect(throws: JSONDocumentError(path: "", fault: "no JSON value")) { _ = try JSONDocument("") }
        #expect(throws: JSONDocumentError.self) { _ = try JSONDocument(String(repeating: "[", count: 100)) }
    }

    @Test func nodesKeepTheirDocument() throws {
        func node() throws -> JSONNode { try JSONDocument(text).root.member("towers").member("user") }
        let kept = try node()
        #expect(kept.path == "/towers/user")
    }
}
