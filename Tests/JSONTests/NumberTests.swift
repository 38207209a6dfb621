import CJSON
import CToChars
import Foundation
import JSON
import Memory
import Synchronization
import TestSupport
import Testing

/// The texts of floats are those of the standard library, which is another program by another method.
@Suite struct FloatTextTests {
    private static let isLong = Repetitions.isLong

    @Test func randomFloatsHaveTheTextOfTheStandardLibrary() {
        let result = belfry_compare_floats(0, 10_000_000, 1, cjson_write_float)
        #expect(result.compared > 9_900_000)
        #expect(result.differing == 0, "first with the bits \(String(result.first, radix: 16))")
    }

    /// Powers of two, whose neighbours are nearer below; numbers around them; the ends of the range; whole numbers.
    @Test func floatsAtEdgesHaveTheTextOfTheStandardLibrary() {
        var starts = (0...255).map { UInt64($0) << 23 }
        starts += starts.map { $0 + 1 << 31 }
        starts += (0...24).map { UInt64(Float(1 << $0).bitPattern) }
        starts += (0...38).flatMap { exponent -> [UInt64] in
            let power = Float("1e\(exponent)")!
            return [UInt64(power.bitPattern), UInt64((1 / power).bitPattern)]
        }
        for start in starts {
            let first = start < 500 ? 0 : start - 500
            let result = belfry_compare_floats(first, 1000, 0, cjson_write_float)
            #expect(result.differing == 0, "first with the bits \(String(result.first, radix: 16))")
        }
    }

    /// All of them; random ones are drawn otherwise. 4,278,190,080 are finite.
    @Test(.enabled(if: isLong)) func allFloatsAndNotOnlyRandomOnesHaveTheTextOfTheStandardLibrary() {
        let halves = Mutex<[belfry_float_comparison]>([])
        DispatchQueue.concurrentPerform(iterations: 2) { half in
            let result = belfry_compare_floats(UInt64(half) << 31, 1 << 31, 0, cjson_write_float)
            halves.withLock { $0.append(result) }
        }
        let results = halves.withLock { $0 }
        #expect(results.reduce(0) { $0 + $1.compared } == 4_278_190_080)
        #expect(results.allSatisfy { $0.differing == 0 }, "\(results)")
    }
}

@Suite struct IntegerTextTests {
    @Test func integersOfEveryLength() {
        var values: [UInt64] = [0, .max, UInt64(Int64.max), UInt64(Int64.max) + 1]
        var power: UInt64 = 1
        for _ in 0..<20 {
            values += [power - 1, power, power + 1, power &* 9]
            power = power &* 10
        }
        var generator = SeededRandom(seed: 3)
        for _ in 0..<100_000 { values.append(generator.next() >> UInt64.random(in: 0..<64, using: &generator)) }
        for value in values {
            #expect(written { $0.appendJSON(value) } == String(value))
            let signed = Int64(bitPattern: value)
            #expect(written { $0.appendJSON(signed) } == String(signed))
        }
    }
}

@Suite struct CursorTests {
    /// What it writes is what the writer writes, and nothing of what it scribbles behind stays.
    @Test func writesAsTheWriterDoes() {
        let ids: [UInt64] = [0, 7, 12_345_678, 123_456_789, .max]
        let floats: [Float] = [0, -0.0, 1, -2.5, 0.1, 1e-7, 3.4028235e38, 16_777_216, 123_456_784]
        let text = written { writer in
            let room =
                ids.count * (JSONCursor.integerByteCountMax + 1) + floats.count * (JSONCursor.floatByteCountMax + 1)
            writer.append("[")
            writer.append(atMost: room + JSONCursor.slackByteCount) { room in
                var cursor = JSONCursor(room)
                for id in ids {
                    cursor.write(id)
                    cursor.write(",")
                }
                for float in floats {
                    cursor.write(float)
                    cursor.write(",")
                }
                return cursor.byteCount(from: room) - 1
            }
            writer.append("]")
        }
        #expect(
            text == "[0,7,12345678,123456789,18446744073709551615,0,-0.0,1,-2.5,0.1,1e-07,3.4028235e+38,16777216,"
                + "123456784]")
    }
}

@Suite struct EscapingTests {
    /// Every byte that needs it, at every distance from the start and the end of what is looked at eight bytes at a time.
    @Test func escapesAtEveryPlace() throws {
        for special in Array(0..<32) + [UInt8(ascii: "\""), UInt8(ascii: "\\")] {
            for before in 0..<18 {
                for after in 0..<10 {
                    let bytes =
                        Array(repeating: UInt8(ascii: "a"), count: before) + [UInt8(special)]
                        + Array("é\u{7f}!".utf8.prefix(after)) + Array(repeating: UInt8(ascii: "b"), count: after)
                    let text = String(decoding: bytes, as: UTF8.self)
                    try parse(written { $0.appendJSON(text) }) { #expect($0.text?.string == text) }
                }
            }
        }
    }
}
