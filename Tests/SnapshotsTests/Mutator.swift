import Foundation
import TestSupport

/// Random damage that is the same on every run.
struct Mutator: RandomNumberGenerator {
    private var random: SeededRandom

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
    }

    mutating func next() -> UInt64 {
        random.next()
    }

    /// How many mutations a test makes.
    static func count(_ count: Int) -> Int {
        Repetitions.count(count, long: 20 * count)
    }

    /// Changes a few bytes within a range of the file, in ways that parsers are known to fall over.
    mutating func mutate(_ bytes: inout [UInt8], in range: Range<Int>) {
        for _ in 0..<Int.random(in: 1...3, using: &self) {
            let place = Int.random(in: range, using: &self)
            switch Int.random(in: 0..<6, using: &self) {
            case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &self)
            case 1: bytes[place] = UInt8.random(in: 0...255, using: &self)
            case 2: bytes[place] = Array("\"{}[]:,-+.e09\\ \0\u{7F}".utf8).randomElement(using: &self)!
            case 3:
                // A digit stays a digit, so that the text stays JSON and the number becomes another.
                let digits = range.filter { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[$0]) }
                if let digit = digits.randomElement(using: &self) {
                    bytes[digit] = UInt8(ascii: "0") + UInt8.random(in: 0..<10, using: &self)
                }
            case 4:
                // A number at its limits, at any width.
                let number: UInt64 = [0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, .max, 1 << 63, 1 << 62, 1 << 40]
                    .randomElement(using: &self)!
                let width = [1, 2, 4, 8].randomElement(using: &self)!
                for index in 0..<width where place + index < range.upperBound {
                    bytes[place + index] = UInt8(truncatingIfNeeded: number >> UInt64(8 * index))
                }
            default:
                // A stretch from elsewhere in the range.
                let count = Int.random(in: 1...24, using: &self)
                let source = Int.random(in: range, using: &self)
                for index in 0..<count where place + index < range.upperBound && source + index < range.upperBound {
                    bytes[place + index] = bytes[source + index]
                }
            }
        }
    }
}
