import Foundation
import Histogram
import TestSupport
import Testing

@testable import LoadTesting

@Suite struct ReportHistogramTests {
    /// Small counts and large, the first cell and the last, runs of empty cells.
    private func histogram(seed: UInt64, count: Int) -> LatencyHistogram {
        var random = SeededRandom(seed: seed)
        var histogram = LatencyHistogram.latencies()
        for _ in 0..<count {
            histogram.record(
                UInt64(exp(Double.random(in: 0...24.8, using: &random))), count: 1 << UInt64(random.below(20)))
        }
        return histogram
    }

    private func counts(_ histogram: LatencyHistogram) -> [[UInt64]] {
        histogram.recordedValues().map { [histogram.lowestEquivalentForValue($0.value), $0.count] }
    }

    @Test func percentilesNeedTenSamplesAboveThem() {
        var histogram = LatencyHistogram.latencies()
        for number in 1...999 { histogram.record(UInt64(number) * 100_000) }
        // p99's rank is 990 (989.01 rounded up): 9 above.
        #expect(LatencySummary(histogram).p99 == nil)
        #expect(LatencySummary(histogram).p90 != nil)
        histogram.record(100_000_000)
        // Rank 990 of 1000: 10 above. The 990th is 99,000 us; three digits.
        let summary = LatencySummary(histogram)
        #expect(abs((summary.p99 ?? 0) - 99_000) <= 99)
        #expect(abs((summary.p50 ?? 0) - 50_000) <= 50)
        #expect(summary.p999 == nil)
        #expect(summary.max == 100_000)
        #expect(abs((summary.mean ?? 0) - 50_050) <= 50)
        #expect(LatencySummary(.latencies()) == LatencySummary(count: 0))
    }

    @Test func aPercentileThatIsNotKnownIsNull() throws {
        let text = String(decoding: try JSONEncoder().encode(LatencySummary(count: 3, max: 5)), as: UTF8.self)
        for name in ["p50", "p90", "p99", "p99.9", "p99.99", "mean"] { #expect(text.contains("\"\(name)\":null")) }
        #expect(
            try JSONDecoder().decode(LatencySummary.self, from: Data(text.utf8)) == LatencySummary(count: 3, max: 5))
    }

    /// Two samples of 1 ns and one of 2048 * 512 + 1 ns, by hand: cell 0 holds 2, 2047 cells are empty, cell 2048 holds 1.
    @Test func theFormIsHdrHistograms() {
        var histogram = LatencyHistogram.latencies()
        histogram.record(1, count: 2)
        histogram.record(2048 * 512 + 1)
        let header: [UInt8] = [
            0x1c, 0x84, 0x93, 0x13, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0x03, 0xE8,
            0, 0, 0, 0x0D, 0xF8, 0x47, 0x58, 0x00, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0,
        ]
        // ZigZag: 2 is 4, -2047 is 4093 = 0b11111_1111101, 1 is 2.
        #expect(HistogramCodec.plain(histogram) == header + [4, 0xFD, 0x1F, 2])
    }

    @Test func cellsAreTheLibrarysOwn() {
        var random = SeededRandom(seed: 4)
        let histogram = LatencyHistogram.latencies()
        for _ in 0..<2000 {
            let value = UInt64(exp(Double.random(in: 0...24.8, using: &random)))
            let index = CellLayout.index(of: value)
            #expect(CellLayout.lowest(index) == histogram.lowestEquivalentForValue(value))
            #expect(CellLayout.highest(index) == histogram.highestEquivalentForValue(value))
        }
    }

    @Test(arguments: [0, 1, 20, 3000]) func whatIsWrittenIsRead(count: Int) throws {
        let histogram = histogram(seed: UInt64(count), count: count)
        let read = try HistogramCodec.histogram(HistogramCodec.text(histogram))
        #expect(counts(read) == counts(histogram))
        #expect(read.totalCount == histogram.totalCount)
    }

    @Test func damagedTextIsAnErrorThatSaysWhatIsWrong() {
        var histogram = LatencyHistogram.latencies()
        histogram.record(400_000, count: 7)
        let plain = HistogramCodec.plain(histogram)
        func message(_ change: (inout [UInt8]) -> Void) -> String {
            var bytes = plain
            change(&bytes)
            do {
                return "\(try HistogramCodec.cells(plain: bytes[...]))"
            } catch {
                return error.description
            }
        }
        #expect(message { $0[0] = 0 }.contains("starts with 0x849313"))
        #expect(message { $0.removeLast() }.contains("take 3 bytes, and they take 2"))
        #expect(message { $0[15] = 2 }.contains("2 digits is none of ours"))
        #expect(message { $0.removeLast(30) }.contains("ends within its header"))
        // The last byte says that the count goes on.
        #expect(message { $0[42] |= 0x80 }.contains("ends within a count"))
        // -20,000 empty cells, then one: 39,999 is 0xBF 0xB8 0x02.
        #expect(message { $0.replaceSubrange(40..., with: [0xBF, 0xB8, 0x02]) }.contains("beyond its range"))
        #expect(
            message {
                $0.replaceSubrange(40..., with: [0xFE] + [UInt8](repeating: 0xFF, count: 8)); $0[7] = 9
            }
            .contains("too large"))
        func compressed(_ text: String) -> String {
            do {
                return "\(try HistogramCodec.cells(text))"
            } catch {
                return error.description
            }
        }
        #expect(compressed("what?").contains("no base64"))
        #expect(compressed("AAAA").contains("ends within its header"))
        #expect(compressed(Data(repeating: 7, count: 20).base64EncodedString()).contains("0x7070707"))
        #expect(
            compressed(Data(HistogramCodec.compressed(histogram).dropLast()).base64EncodedString()).contains("follow"))
    }

    /// Whatever is changed, reading ends with cells or an error, and what was read can be summed up.
    @Test func randomDamageNeverTraps() {
        var random = SeededRandom(seed: 9)
        let plain = HistogramCodec.plain(histogram(seed: 2, count: 40))
        let packed = HistogramCodec.compressed(histogram(seed: 2, count: 40))
        var refused = 0
        for _ in 0..<2000 {
            var (plain, packed) = (plain, packed)
            for _ in 0...random.below(4) {
                plain[random.below(plain.count)] = UInt8(random.below(256))
                packed[random.below(packed.count)] = UInt8(random.below(256))
            }
            do {
                for cell in try HistogramCodec.cells(plain: plain[...]) {
                    #expect(cell.count > 0 && cell.index < CellLayout.count)
                }
            } catch { refused += 1 }
            do { _ = try HistogramCodec.cells(compressed: packed) } catch { refused += 1 }
        }
        #expect(refused > 1000)
    }
}
