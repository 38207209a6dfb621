import Foundation
import Safetensors
import Testing

/// Bytes of a safetensors file: header as given, then data.
private func bytes(header: String, data: [UInt8] = [], headerByteCount: UInt64? = nil) -> Data {
    var result = Data()
    withUnsafeBytes(of: (headerByteCount ?? UInt64(header.utf8.count)).littleEndian) { result.append(contentsOf: $0) }
    result.append(contentsOf: header.utf8)
    result.append(contentsOf: data)
    return result
}

private func floats(_ values: [Float]) -> [UInt8] {
    values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
}

/// Pads to a multiple of 8, as writers do, so that tensors are aligned.
private func padded(_ header: String) -> String {
    header + String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
}

private func open(_ data: Data) throws -> SafetensorsFile {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).safetensors")
    try data.write(to: path)
    // The mapping stays valid without the name.
    defer { try? FileManager.default.removeItem(at: path) }
    return try SafetensorsFile(path: path.path)
}

@Suite struct SafetensorsFileTests {
    @Test func readsWhatIsThere() throws {
        let header = padded(
            #"{"__metadata__":{"space_id":"s"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"#
                + #""b":{"dtype":"U64","shape":[1],"data_offsets":[16,24]},"none":{"dtype":"F32","shape":[0,3],"data_offsets":[24,24]}}"#
        )
        let file = try open(bytes(header: header, data: floats([1, 2, 3, 4]) + [7, 0, 0, 0, 0, 0, 0, 0]))
        #expect(file.metadata == ["space_id": "s"])
        defer { withExtendedLifetime(file) {} }
        let a = try file.floats("a", shape: [2, 2])
        #expect([a[0], a[1], a[2], a[3]] == [1, 2, 3, 4])
        #expect(try file.numbers("b", count: 1)[0] == 7)
        _ = try file.floats("none", shape: [0, 3])
        #expect(throws: SafetensorsError.self) { try file.floats("a", shape: [4]) }
        #expect(throws: SafetensorsError.self) { try file.floats("b", shape: [1]) }
        #expect(throws: SafetensorsError.self) { try file.floats("c", shape: [1]) }
        #expect(throws: SafetensorsError.self) { try file.requireExactly(["a", "b"]) }
        #expect(throws: SafetensorsError.self) { try file.requireExactly(["a", "b", "none", "c"]) }
        try file.requireExactly(["a", "b", "none"])
    }

    @Test func readsTexts() throws {
        let header = padded(
            #"{"t.bytes":{"dtype":"U8","shape":[5],"data_offsets":[24,29]},"#
                + #""t.offsets":{"dtype":"U64","shape":[3],"data_offsets":[0,24]}}"#)
        func file(_ offsets: [UInt8]) throws -> SafetensorsFile {
            try open(bytes(header: header, data: offsets.flatMap { [$0, 0, 0, 0, 0, 0, 0, 0] } + Array("redbl".utf8)))
        }
        let intact = try file([0, 3, 5])
        defer { withExtendedLifetime(intact) {} }
        let texts = try intact.texts("t", count: 2)
        #expect(Array(texts.offsets) == [0, 3, 5])
        #expect(throws: SafetensorsError.self) { try file([1, 3, 5]).texts("t", count: 2) }
        #expect(throws: SafetensorsError.self) { try file([0, 4, 3]).texts("t", count: 2) }
        #expect(throws: SafetensorsError.self) { try file([0, 3, 4]).texts("t", count: 2) }
        #expect(throws: SafetensorsError.self) { try file([0, 3, 200]).texts("t", count: 2) }
    }

    /// A header and data that must be refused, and words of the message.
    struct Damage: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let data: Data
        let words: String
    }

    static let oneTensor = #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#
    static let damages: [Damage] = [
        Damage(testDescription: "empty", data: Data(), words: "0 bytes"),
        Damage(testDescription: "no header", data: Data([1, 2, 3]), words: "3 bytes"),
        Damage(
            testDescription: "header bomb", data: bytes(header: "{}", headerByteCount: UInt64.max),
            words: "18446744073709551615"),
        Damage(testDescription: "header too long", data: bytes(header: "{}", headerByteCount: 3), words: "2 follow"),
        Damage(testDescription: "not JSON", data: bytes(header: "{]"), words: "header"),
        Damage(
            testDescription: "deep nesting",
            data: bytes(header: String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000)),
            words: "header"),
        Damage(testDescription: "a list", data: bytes(header: "[]"), words: "expected an object"),
        Damage(
            testDescription: "duplicate tensor",
            data: bytes(
                header: padded(
                    #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#
                ),
                data: floats([1, 2])), words: "twice"),
        Damage(
            testDescription: "unknown dtype",
            data: bytes(
                header: padded(#"{"a":{"dtype":"F8","shape":[2],"data_offsets":[0,8]}}"#), data: floats([1, 2])),
            words: "F8"),
        Damage(
            testDescription: "negative extent",
            data: bytes(
                header: padded(#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#), data: floats([1, 2])),
            words: "shape"),
        Damage(
            testDescription: "overflowing shape",
            data: bytes(
                header: padded(#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#),
                data: floats([1, 2])), words: "more elements"),
        Damage(
            testDescription: "shape and range differ",
            data: bytes(
                header: padded(#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#), data: floats([1, 2])),
            words: "takes 12"),
        Damage(
            testDescription: "range beyond the file", data: bytes(header: padded(oneTensor), data: floats([1])),
            words: "not within"),
        Damage(
            testDescription: "range descends",
            data: bytes(
                header: padded(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#), data: floats([1, 2])),
            words: "not within"),
        Damage(
            testDescription: "bytes after the last tensor",
            data: bytes(header: padded(oneTensor), data: floats([1, 2, 3])), words: "after its last tensor"),
        Damage(
            testDescription: "hole",
            data: bytes(
                header: padded(#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#), data: floats([1, 2])),
            words: "hole"),
        Damage(
            testDescription: "overlap",
            data: bytes(
                header: padded(
                    #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#
                ),
                data: floats([1, 2, 3])), words: "overlaps"),
        Damage(
            testDescription: "unaligned",
            data: bytes(header: padded(oneTensor) + "   ", data: floats([1, 2])), words: "aligned"),
        Damage(
            testDescription: "NaN", data: bytes(header: padded(oneTensor), data: floats([1, .nan])),
            words: "not finite at element 1"),
        Damage(
            testDescription: "infinity", data: bytes(header: padded(oneTensor), data: floats([-.infinity, 1])),
            words: "not finite at element 0"),
        Damage(
            testDescription: "half infinity",
            data: bytes(
                header: padded(#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#), data: [0, 0, 0, 0x7C]),
            words: "not finite at element 1"),
        Damage(
            testDescription: "metadata of numbers",
            data: bytes(header: padded(#"{"__metadata__":{"space_id":3}}"#)), words: "expected a string"),
        Damage(
            testDescription: "unknown key",
            data: bytes(
                header: padded(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}"#), data: floats([1, 2])),
            words: "unknown key"),
    ]

    @Test(arguments: damages) func refuses(_ damage: Damage) throws {
        let error = try #require(throws: SafetensorsError.self) { try open(damage.data) }
        #expect(error.fault.contains(damage.words), "\(error)")
    }

    @Test func namesAMissingFile() throws {
        let error = try #require(throws: SafetensorsError.self) { try SafetensorsFile(path: "nowhere/x.safetensors") }
        #expect(error.file == "x.safetensors")
        #expect(error.fault.contains("No such file"))
    }
}
