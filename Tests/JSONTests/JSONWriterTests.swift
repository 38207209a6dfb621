import JSON
import Memory
import TestSupport
import Testing

@Suite struct JSONWriterTests {
    @Test func escapesWhatMustBeEscaped() throws {
        let text = "plain \"quoted\" back\\slash \n\r\t\u{0}\u{1f}\u{7f} é 😀 /"
        let expected = #""plain \"quoted\" back\\slash \n\r\t\u0000\u001f"# + "\u{7f} é 😀 /\""
        #expect(written { $0.appendJSON(text) } == expected)
        try parse(expected) { #expect($0.text?.string == text) }
    }

    @Test func writesEveryCharacterReadably() throws {
        for scalar in (0..<0x3000).compactMap(Unicode.Scalar.init) {
            let text = "a" + String(scalar) + "b"
            try parse(written { $0.appendJSON(text) }) { #expect($0.text?.string == text) }
        }
        #expect(written { $0.appendJSON("") } == "\"\"")
    }

    @Test func writesIntegers() {
        #expect(written { $0.appendJSON(UInt64.max) } == "18446744073709551615")
        #expect(written { $0.appendJSON(Int64.min) } == "-9223372036854775808")
        #expect(written { $0.appendJSON(0) } == "0")
        #expect(written { $0.appendJSON(true) } + written { $0.appendJSON(false) } == "truefalse")
    }

    @Test(
        arguments: [
            (0, "0"), (-0.0, "-0.0"), (1, "1"), (0.1, "0.1"), (-2.5, "-2.5"), (1e-7, "1e-07"), (16_777_216, "16777216"),
            (.greatestFiniteMagnitude, "3.4028235e+38"), (.leastNonzeroMagnitude, "1e-45"), (1e20, "1e+20"),
        ] as [(Float, String)])
    func writesTheShortestFloat(value: Float, text: String) {
        #expect(written { $0.appendJSON(value) } == text)
    }

    @Test func everyFloatReadsBack() throws {
        var generator = SeededRandom(seed: 1)
        for _ in 0..<200_000 {
            let value = Float(bitPattern: UInt32(truncatingIfNeeded: generator.next()))
            guard value.isFinite else { continue }
            let text = written { $0.appendJSON(value) }
            #expect(Float(text)?.bitPattern == value.bitPattern, "\(text)")
        }
    }

    @Test func everyDoubleReadsBackThroughTheParser() throws {
        var generator = SeededRandom(seed: 2)
        var parser = try JSONParser(capacity: 64, maximumDepth: 1)
        var values = (0..<200_000).map { _ in Double(bitPattern: generator.next()) }.filter(\.isFinite)
        // Whole numbers around the ends of what integers can hold, where a text without exponent would be one.
        values += (40..<80).map { Double(sign: $0 % 2 == 0 ? .plus : .minus, exponent: $0, significand: 1) }
        values += [-0.0, 1e15, 0x1.ap66, 1e21, 1e22, .leastNonzeroMagnitude, .greatestFiniteMagnitude]
        for value in values {
            var writer = ByteWriter(capacity: 128)
            writer.appendJSON(value)
            let count = writer.count
            writer.reserve(JSONParser.paddingByteCount)
            try writer.withUnsafeBytes { bytes throws(JSONSyntaxError) in
                let number = try parser.parse(UnsafeRawBufferPointer(start: bytes.baseAddress, count: count)).number
                #expect(number?.bitPattern == value.bitPattern, "\(value)")
            }
        }
    }

    @Test func writesLists() {
        let values: [Float] = [0.5, -1, 3]
        #expect(written { writer in values.withUnsafeBufferPointer { writer.appendJSON($0) } } == "[0.5,-1,3]")
        #expect(written { writer in writer.appendJSON(UnsafeBufferPointer<Float>(start: nil, count: 0)) } == "[]")
    }
}
