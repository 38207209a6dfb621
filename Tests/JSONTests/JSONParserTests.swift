import JSON
import Memory
import TestSupport
import Testing

@Suite struct JSONParserTests {
    @Test func readsEveryKindOfValue() throws {
        let text = #"{"o":{"a":1},"l":[1,[2]],"s":"x","i":-3,"n":1.5,"t":true,"f":false,"z":null}"#
        try parse(text) { root in
            let object = try #require(root.object)
            #expect(object.count == 8)
            #expect(object.map { $0.key.string } == ["o", "l", "s", "i", "n", "t", "f", "z"])
            #expect(
                object.map { $0.value.kind }
                    == [.object, .array, .string, .integer, .number, .boolean, .boolean, .null])
            #expect(object["o"]?.object?["a"]?.unsigned == 1)
            #expect(object["l"]?.array?.count == 2)
            #expect(object["l"]?.array?.map { $0.kind } == [.integer, .array])
            #expect(object["s"]?.text?.string == "x")
            #expect(object["t"]?.boolean == true)
            #expect(object["f"]?.boolean == false)
            #expect(object["z"]?.isNull == true)
            #expect(object["absent"] == nil)
        }
    }

    @Test func readsEmptyContainers() throws {
        try parse("[]") { #expect($0.array?.count == 0 && Array($0.array!).isEmpty) }
        try parse(" {} ") { #expect($0.object?.count == 0 && Array($0.object!).isEmpty) }
    }

    @Test func keepsIntegersExact() throws {
        try parse("[0,-1,9223372036854775807,9223372036854775808,18446744073709551615,-9223372036854775808,1.0,-0]") {
            let values = Array($0.array!)
            #expect(values.map(\.unsigned) == [0, nil, 1 << 63 - 1, 1 << 63, .max, nil, nil, 0])
            #expect(values.map(\.signed) == [0, -1, .max, nil, nil, .min, nil, 0])
            #expect(values.map(\.number) == [0, -1, 0x1p63, 0x1p63, 0x1p64, -0x1p63, 1, 0])
        }
    }

    @Test func unescapesStrings() throws {
        try parse(#"["\"\\\/\b\f\n\r\t","\u0041\u00e9\ud83d\ude00","a\u0000b","é😀"]"#) {
            let texts = $0.array!.map { $0.text!.string }
            #expect(texts == ["\"\\/\u{8}\u{c}\n\r\t", "Aé😀", "a\0b", "é😀"])
        }
    }

    @Test func isReusableAfterAnError() throws {
        var parser = try JSONParser(capacity: 128, maximumDepth: 4)
        let bytes = Array("[1,2][1,2}".utf8) + Array(repeating: 0, count: JSONParser.paddingByteCount)
        try bytes.withUnsafeBytes { buffer in
            for _ in 0..<3 {
                #expect(throws: JSONSyntaxError(.malformed, offset: 4)) {
                    _ = try parser.parse(UnsafeRawBufferPointer(rebasing: buffer[5..<10]))
                }
                let value = try parser.parse(UnsafeRawBufferPointer(rebasing: buffer[0..<5]))
                #expect(value.array?.map(\.unsigned) == [1, 2])
            }
        }
    }

    @Test(
        arguments: [
            ("", .empty, nil), ("  \n", .empty, 3),
            ("{", .malformed, 1), ("[", .malformed, 1), ("[1", .malformed, 2), ("[1,", .malformed, 3),
            ("[1,]", .malformed, 3), ("[,1]", .malformed, 1), ("{\"a\"}", .malformed, 4), ("{\"a\":}", .malformed, 5),
            ("{\"a\":1,}", .malformed, 7), ("{a:1}", .malformed, 1), ("{'a':1}", .malformed, 1),
            ("{1:1}", .malformed, 1),
            ("[1}", .malformed, 2), ("tru", .malformed, 3), ("nul", .malformed, 3), ("True", .malformed, 0),
            ("NaN", .malformed, 0), ("Infinity", .malformed, 0), ("-", .malformed, 1), ("+1", .malformed, 0),
            ("01", .malformed, 1), (".5", .malformed, 0), ("1.", .malformed, 2), ("1e", .malformed, 2),
            ("1e+", .malformed, 3), ("0x10", .trailingContent, 1), ("\"a", .malformed, 2), ("\"\\x\"", .malformed, 2),
            ("\"\\u12\"", .malformed, 5), ("\"a\nb\"", .malformed, 2), ("\"\u{1}\"", .malformed, 1),
            ("\"\\ud800\"", .malformed, 1), ("\"\\ud800\\u0041\"", .malformed, 1), ("\"\\udc00\"", .malformed, 1),
            ("// x\n1", .malformed, 0), ("[1] x", .trailingContent, 4), ("{} {}", .trailingContent, 3),
            ("1 2", .trailingContent, 2), ("[1]]", .trailingContent, 3), ("\u{feff}1", .malformed, 0),
        ] as [(String, JSONSyntaxError.Kind, Int?)])
    func refusesWhatIsNotJSON(text: String, kind: JSONSyntaxError.Kind, offset: Int?) throws {
        #expect(try syntaxError(Array(text.utf8)) == JSONSyntaxError(kind, offset: offset), "\(text)")
    }

    @Test(
        arguments: [
            ([0x22, 0xff, 0x22], 1), ([0x22, 0xc0, 0x80, 0x22], 1), ([0x22, 0xed, 0xa0, 0x80, 0x22], 1),
            ([0x22, 0xf4, 0x90, 0x80, 0x80, 0x22], 1), ([0x22, 0xe2, 0x82, 0x22], 1), ([0x22, 0x61, 0xc3], 2),
            ([0x5b, 0x80, 0x5d], 1), ([0x31, 0x20, 0xfe], 2), ([0xff], 0),
        ] as [([UInt8], Int)])
    func refusesWhatIsNotUTF8(bytes: [UInt8], offset: Int) throws {
        #expect(try syntaxError(bytes) == JSONSyntaxError(.invalidUTF8, offset: offset), "\(bytes)")
    }

    @Test(arguments: [
        "18446744073709551616", "-9223372036854775809", "1e309", "-1e309", "1e99999999999999999999",
        String(repeating: "9", count: 400), String(repeating: "9", count: 400) + ".5", "0.01e400",
    ])
    func refusesNumbersThatDoNotFit(text: String) throws {
        #expect(try syntaxError(Array("[\(text)]".utf8)) == JSONSyntaxError(.numberOutOfRange, offset: 1), "\(text)")
    }

    @Test(arguments: [
        "1e-400", "0.0e999999", "-1e-99999999999999999999", "0." + String(repeating: "0", count: 400) + "1",
    ])
    func readsNumbersNearZeroAsZero(text: String) throws {
        try parse(text) { #expect($0.number == 0) }
        // The diagnosis of another fault must not stumble over them.
        #expect(try syntaxError(Array("[\(text)".utf8)) == JSONSyntaxError(.malformed, offset: text.utf8.count + 1))
    }

    @Test func boundsTheDepth() throws {
        func nested(_ open: String, _ close: String, _ depth: Int) -> [UInt8] {
            Array((String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)).utf8)
        }
        for depth in 1...16 {
            #expect(try syntaxError(nested("[", "]", depth)) == nil)
            #expect(try syntaxError(nested("{\"a\":", "}", depth)) == nil)
        }
        // An empty list does not count, whether or not there is a fault behind it.
        let empty = "[[[[[]]]]]"
        #expect(try syntaxError(Array(empty.utf8), maximumDepth: 4) == nil)
        #expect(
            try syntaxError(Array("\(empty)]".utf8), maximumDepth: 4) == JSONSyntaxError(.trailingContent, offset: 10))
        #expect(try syntaxError(nested("[", "]", 17)) == JSONSyntaxError(.tooDeep, offset: 16))
        #expect(try syntaxError(nested("{\"a\":", "}", 17)) == JSONSyntaxError(.tooDeep, offset: 80))
        #expect(try syntaxError(nested("[", "]", 30_000)) == JSONSyntaxError(.tooDeep, offset: 16))
        #expect(try syntaxError(Array(repeating: UInt8(ascii: "["), count: 60_000))?.kind == .tooDeep)
    }

    @Test func boundsTheLength() throws {
        let text = Array("[1,2,3,4]".utf8)
        #expect(try syntaxError(text, capacity: text.count) == nil)
        #expect(try syntaxError(text, capacity: text.count - 1) == JSONSyntaxError(.tooLarge))
    }

    @Test func namesPlaces() throws {
        try parse(#"{"a":[1,{"b/c":{"d~e":[true]}}],"z":0}"#) { root in
            let inner = root.object!["a"]!.array!.map { $0 }[1].object!["b/c"]!.object!["d~e"]!
            #expect(inner.pointer == "/a/1/b~1c/d~0e")
            #expect(inner.array!.map(\.pointer) == ["/a/1/b~1c/d~0e/0"])
            #expect(root.pointer == "")
            #expect(root.object!["z"]!.pointer == "/z")
        }
    }
}

/// What simdjson accepts and what the diagnosis accepts must be the same language, or a fault would have no place.
@Suite struct DiagnosisTests {
    @Test func findsAPlaceForEveryFault() throws {
        let seeds = [
            #"{"user":{"id":"u42","features":{"age":3,"list":["i9",-7,1.5e3,true,null]}},"k":100}"#,
            #"[1,[2,[3,{"a":"\u00e9\ud83d\ude00é😀","b":""}]],{}, [], "x\ny", 18446744073709551615]"#,
        ].map { Array($0.utf8) }
        let tokens = Array(#"{}[]:,"\u0eE+-.19tfn "#.utf8) + [0x00, 0x0a, 0xc3, 0xa9, 0xed, 0xff]
        var generator = SeededRandom(seed: 7)
        var parser = try JSONParser(capacity: 4096, maximumDepth: 4)
        var refused = 0
        for round in 0..<50_000 {
            var bytes = seeds[round % seeds.count]
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let at = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes[at] = tokens.randomElement(using: &generator)!
                case 1: bytes.remove(at: at)
                case 2: bytes.insert(tokens.randomElement(using: &generator)!, at: at)
                default: bytes.removeSubrange(at..<min(bytes.count, at + 5))
                }
                if bytes.isEmpty { bytes = [0x20] }
            }
            let count = bytes.count
            bytes += Array(repeating: 0x20, count: JSONParser.paddingByteCount)
            bytes.withUnsafeBytes { buffer in
                do throws(JSONSyntaxError) {
                    _ = try parser.parse(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                } catch {
                    refused += 1
                    #expect(error.offset != nil, "\(String(decoding: bytes, as: UTF8.self))")
                }
            }
        }
        #expect(refused > 20_000)
    }
}
