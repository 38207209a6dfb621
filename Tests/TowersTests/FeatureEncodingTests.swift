import CKernels
import Foundation
import Memory
import Safetensors
import TestSupport
import Testing

@testable import Towers

/// A tower whose output is the encoding of one feature "f": table rows are `[row, 1]`, so that a sum shows which rows
/// were read and how often.
private func encoder(
    _ encoding: Feature.Encoding, type: Feature.ValueType, source: Feature.Source = .user, maximumValues: Int? = nil,
    pooling: TowerGraph.Pooling = .sum, words: [String] = []
) throws -> Tower {
    let feature = Feature(name: "f", source: source, type: type, maximumValues: maximumValues, encoding: encoding)
    var builder = SafetensorsBuilder()
    let width: Int
    let input: TowerGraph.Input
    if let rows = encoding.rowCount {
        width = 2
        input = .embedding(feature: "f", dimension: 2, pooling: pooling)
        builder.add("inputs.f.weight", shape: [rows, 2], (0..<rows).flatMap { [Float($0), 1] })
    } else {
        width = 1
        input = .numeric(feature: "f")
    }
    builder.add("l.weight", shape: [width, width], width == 1 ? [1] : [1, 0, 0, 1])
    builder.add("l.bias", shape: [width], Array(repeating: 0, count: width))
    if case .vocabulary = encoding { builder.add("vocabulary.f", texts: words) }
    return try builder.withFile { path in
        try Tower(
            graph: TowerGraph(
                file: "user_tower.safetensors", inputs: [input],
                layers: [.dense(name: "l", inputs: width, outputs: width, activation: .identity, cycles: 0)]),
            features: [feature], file: try SafetensorsFile(path: path), normalises: false)
    }
}

private func values(_ list: [FeatureValue], isList: Bool = false, source: FeatureSource = .user) -> FeatureValues {
    var values = FeatureValues()
    for value in list { values.appendValue(value) }
    values.appendEntry(name: Text("f"), source: source, isList: isList)
    return values
}

private func encode(_ tower: Tower, _ values: FeatureValues, userID: FeatureValue? = nil, strict: Bool = false)
    throws -> [Float]
{
    let scratch = tower.makeScratch()
    defer { withExtendedLifetime(scratch) {} }
    return try Array(tower.embed(userID: userID, values, cached: CachedVectors(), strict: strict, scratch))
}

@Suite struct FeatureEncodingTests {
    /// Known answers of the reference implementation.
    @Test func hashesAsXXH64() {
        func hash(_ text: String, _ seed: UInt64) -> UInt64 {
            Array(text.utf8).withUnsafeBytes { belfry_xxh64($0.baseAddress, $0.count, seed) }
        }
        #expect(hash("", 0) == 0xEF46_DB37_51D8_E999)
        #expect(hash("abc", 0) == 0x44BC_2CF5_AD77_0999)
        #expect(hash("", 1) == 0xD5AF_BA13_36A3_BE4B)
    }

    @Test func hashesTextAndDecimals() throws {
        let tower = try encoder(.hash(rows: 1000, seed: 7), type: .id)
        func row(_ text: String) -> Float {
            Float(Array(text.utf8).withUnsafeBytes { belfry_xxh64($0.baseAddress, $0.count, 7) } % 1000)
        }
        #expect(try encode(tower, values([.text(Text("u42"))])) == [row("u42"), 1])
        #expect(try encode(tower, values([.unsigned(.max)])) == [row("18446744073709551615"), 1])
        #expect(try encode(tower, values([.unsigned(0)])) == [row("0"), 1])
        #expect(try encode(tower, values([.negative(.min)])) == [row("-9223372036854775808"), 1])
        #expect(try encode(tower, values([.text(Text("17"))])) == encode(tower, values([.unsigned(17)])))
        #expect(try encode(tower, values([.text(Text(""))])) == [row(""), 1])
    }

    @Test func looksWordsUp() throws {
        let tower = try encoder(.vocabulary(rows: 4), type: .id, words: ["red", "7", "blau ö"])
        #expect(try encode(tower, values([.text(Text("red"))])) == [1, 1])
        #expect(try encode(tower, values([.unsigned(7)])) == [2, 1])
        #expect(try encode(tower, values([.text(Text("blau ö"))])) == [3, 1])
        #expect(try encode(tower, values([.text(Text("green"))])) == [0, 1])
        #expect(try encode(tower, values([.text(Text(""))])) == [0, 1])
    }

    @Test func countsBoundaries() throws {
        let tower = try encoder(.bucketise(boundaries: [-1.5, 0, 10]), type: .number)
        for (x, bucket) in [(-2.0, 0), (-1.5, 1), (-0.1, 1), (0, 2), (9.99, 2), (10, 3), (1e300, 3)]
            as [(Double, Float)]
        {
            #expect(try encode(tower, values([.number(x)])) == [bucket, 1], "\(x)")
        }
        #expect(try encode(tower, values([.negative(-1)])) == [1, 1])
        #expect(try encode(tower, values([.unsigned(10)])) == [3, 1])
    }

    @Test func transformsNumbers() throws {
        let tower = try encoder(
            .numeric([.log1p, .standardise(mean: 1, deviation: 0.5), .clip(minimum: -3, maximum: 5)]), type: .number)
        func expected(_ x: Double) -> Float {
            let y = ((x < 0 ? -log1p(-x) : log1p(x)) - 1) / 0.5
            return Float(min(max(y, -3), 5))
        }
        for x in [-1000, -0.3, 0, 0.2, 3.7, 1e9] {
            #expect(try encode(tower, values([.number(x)])) == [expected(x)], "\(x)")
        }
        #expect(try encode(tower, values([.unsigned(12)])) == [expected(12)])
    }

    @Test func refusesNumbersThatFloatsCannotHold() throws {
        let tower = try encoder(.numeric([]), type: .number)
        #expect(try encode(tower, values([.number(3e38)])) == [3e38])
        #expect(throws: FeatureError.notFinite(entry: 0)) { try encode(tower, values([.number(1e39)])) }
    }

    @Test func poolsLists() throws {
        let list: [FeatureValue] = [.unsigned(1), .unsigned(2), .unsigned(2), .unsigned(9)]
        let words = ["1", "2", "3"]
        let sum = try encoder(.vocabulary(rows: 4), type: .id, maximumValues: .max, words: words)
        #expect(try encode(sum, values(list, isList: true)) == [1 + 2 + 2 + 0, 4])
        let mean = try encoder(.vocabulary(rows: 4), type: .id, maximumValues: .max, pooling: .mean, words: words)
        #expect(try encode(mean, values(list, isList: true)) == [5.0 / 4, 1])
        let first = try encoder(.vocabulary(rows: 4), type: .id, maximumValues: 2, pooling: .mean, words: words)
        #expect(try encode(first, values(list, isList: true)) == [3.0 / 2, 1])
    }

    @Test func whatIsMissingIsZeros() throws {
        let tower = try encoder(.vocabulary(rows: 2), type: .id, maximumValues: .max, words: ["1"])
        #expect(try encode(tower, values([], isList: true)) == [0, 0])
        #expect(try encode(tower, values([])) == [0, 0])
        #expect(try encode(tower, FeatureValues()) == [0, 0])
        #expect(
            try encode(try encoder(.numeric([.standardise(mean: 3, deviation: 1)]), type: .number), values([])) == [0])
    }

    @Test func takesTheUsersID() throws {
        let tower = try encoder(.vocabulary(rows: 3), type: .id, source: .userID, words: ["u1", "7"])
        #expect(try encode(tower, FeatureValues(), userID: .text(Text("u1"))) == [1, 1])
        #expect(try encode(tower, FeatureValues(), userID: .unsigned(7)) == [2, 1])
        #expect(try encode(tower, FeatureValues(), userID: .text(Text("u9"))) == [0, 1])
        #expect(try encode(tower, FeatureValues()) == [0, 0])
        // A request cannot set it by naming it among the features.
        #expect(try encode(tower, values([.text(Text("u1"))])) == [0, 0])
    }

    @Test func refusesOtherTypes() throws {
        let all: [FeatureValue] = [
            .text(Text("a")), .negative(-1), .unsigned(1), .number(1.5), .boolean(true), .composite,
        ]
        let taken: [Feature.ValueType: Set<Int>] = [
            .string: [0], .integer: [1, 2], .number: [1, 2, 3], .id: [0, 1, 2],
        ]
        for (type, indices) in taken {
            let encoding: Feature.Encoding = type == .number ? .bucketise(boundaries: [0]) : .hash(rows: 10, seed: 0)
            let single = try encoder(encoding, type: type)
            for (index, value) in all.enumerated() {
                if indices.contains(index) {
                    _ = try encode(single, values([value]))
                } else {
                    #expect(throws: FeatureError.wrongType(entry: 0, expected: type, isList: false)) {
                        try encode(single, values([value]))
                    }
                }
                #expect(throws: FeatureError.wrongType(entry: 0, expected: type, isList: false)) {
                    try encode(single, values([value], isList: true))
                }
            }
            guard type != .number else { continue }
            let several = try encoder(encoding, type: type, maximumValues: 1)
            #expect(throws: FeatureError.wrongType(entry: 0, expected: type, isList: true)) {
                try encode(several, values([all[indices.min()!]]))
            }
            // Also what lies beyond the values that are read.
            #expect(throws: FeatureError.wrongType(entry: 0, expected: type, isList: true)) {
                try encode(several, values([all[indices.min()!], .boolean(true)], isList: true))
            }
        }
    }

    @Test func setsUnknownFeaturesAside() throws {
        let tower = try encoder(.hash(rows: 10, seed: 0), type: .string)
        var request = FeatureValues()
        request.appendValue(.boolean(true))
        request.appendEntry(name: Text("colour"), source: .user, isList: false)
        // The right name in the wrong place is another feature.
        request.appendValue(.boolean(true))
        request.appendEntry(name: Text("f"), source: .context, isList: false)
        let scratch = tower.makeScratch()
        let result = try tower.embed(userID: nil, request, cached: CachedVectors(), strict: false, scratch)
        #expect(Array(result) == [0, 0])
        #expect(scratch.ignoredEntries == [0, 1])
        #expect(throws: FeatureError.unknown(entry: 0)) { try encode(tower, request, strict: true) }
    }
}
