internal import CZlib
internal import Foundation
public import Histogram

/// HdrHistogram's second binary form, which its libraries and tools read (<https://github.com/HdrHistogram/HdrHistogram>).
///
/// All integers are big-endian; the compressed form is `cookie, length, zlib(plain form)`:
///
///     bytes  0 ..< 4   cookie 0x1c849313
///            4 ..< 8   length of what follows the header
///            8 ..< 12  normalising offset, 0
///           12 ..< 16  significant digits
///           16 ..< 24  lowest discernible value
///           24 ..< 32  highest trackable value
///           32 ..< 40  ratio of integers to doubles, 1.0
///           40 ...     counts by index, each ZigZag and LEB128; -n stands for n empty cells
public enum HistogramCodec {
    // The fifth nibble marks that counts have no fixed width.
    static let cookie: UInt32 = 0x1c84_9303 | 0x10
    static let compressedCookie: UInt32 = 0x1c84_9304 | 0x10
    static let headerByteCount = 40
    // The most cells a histogram of ours has, each with a count of at most 9 bytes.
    static let byteCountMax = headerByteCount + CellLayout.count * 9

    /// The compressed form as base64, as in reports and interval logs.
    public static func text(_ histogram: LatencyHistogram) -> String {
        Data(compressed(histogram)).base64EncodedString()
    }

    /// Reads what `text` wrote, or another program from a histogram of the same range. Text that is damaged, or of a
    /// histogram with another range, is an error.
    public static func histogram(_ text: String) throws(LoadTestError) -> LatencyHistogram {
        var histogram = LatencyHistogram.latencies()
        // The largest value that a cell stands for, as HdrHistogram itself decodes it.
        for cell in try cells(text) { histogram.record(CellLayout.highest(cell.index), count: UInt64(cell.count)) }
        return histogram
    }

    /// The plain form.
    public static func plain(_ histogram: LatencyHistogram) -> [UInt8] {
        var counts: [UInt8] = []
        var next = 0
        for value in histogram.recordedValues() {
            let index = CellLayout.index(of: value.value)
            if index > next { append(-Int64(index - next), to: &counts) }
            append(Int64(value.count), to: &counts)
            next = index + 1
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(headerByteCount + counts.count)
        append(cookie, to: &bytes)
        append(UInt32(counts.count), to: &bytes)
        append(UInt32(0), to: &bytes)
        append(UInt32(CellLayout.digits), to: &bytes)
        append(histogram.lowestDiscernibleValue, to: &bytes)
        append(histogram.highestTrackableValue, to: &bytes)
        append((1.0).bitPattern, to: &bytes)
        return bytes + counts
    }

    /// The compressed form.
    public static func compressed(_ histogram: LatencyHistogram) -> [UInt8] {
        let plain = plain(histogram)
        var byteCount = compressBound(uLong(plain.count))
        var packed = [UInt8](repeating: 0, count: Int(byteCount))
        let status = compress2(&packed, &byteCount, plain, uLong(plain.count), 6)
        precondition(status == Z_OK, "compressBound() gives the room that compress2() needs")
        var bytes: [UInt8] = []
        append(compressedCookie, to: &bytes)
        append(UInt32(byteCount), to: &bytes)
        return bytes + packed.prefix(Int(byteCount))
    }

    /// The cells that are not empty, by ascending index.
    static func cells(_ text: String) throws(LoadTestError) -> [HistogramCell] {
        guard let data = Data(base64Encoded: text) else { throw .failed("a histogram is no base64") }
        return try cells(compressed: [UInt8](data))
    }

    static func cells(compressed bytes: [UInt8]) throws(LoadTestError) -> [HistogramCell] {
        guard bytes.count > 8 else { throw .failed("a histogram ends within its header") }
        let found = word32(bytes, at: 0)
        guard found == compressedCookie else {
            throw .failed("a histogram starts with 0x\(String(found, radix: 16)), not with HdrHistogram's 0x1c849314")
        }
        guard Int(word32(bytes, at: 4)) == bytes.count - 8 else {
            throw .failed("a histogram says \(word32(bytes, at: 4)) bytes follow, and \(bytes.count - 8) do")
        }
        var plain = [UInt8](repeating: 0, count: byteCountMax)
        var byteCount = uLong(plain.count)
        let status = bytes.withUnsafeBufferPointer {
            uncompress(&plain, &byteCount, $0.baseAddress! + 8, uLong(bytes.count - 8))
        }
        guard status == Z_OK else { throw .failed("a histogram's compressed bytes are damaged (zlib \(status))") }
        return try cells(plain: plain[..<Int(byteCount)])
    }

    static func cells(plain bytes: ArraySlice<UInt8>) throws(LoadTestError) -> [HistogramCell] {
        guard bytes.count >= headerByteCount else { throw .failed("a histogram ends within its header") }
        let bytes = Array(bytes)
        guard word32(bytes, at: 0) == cookie else {
            throw .failed(
                "a histogram's content starts with 0x\(String(word32(bytes, at: 0), radix: 16)), not 0x1c849313")
        }
        guard Int(word32(bytes, at: 4)) == bytes.count - headerByteCount else {
            throw .failed(
                "a histogram says its counts take \(word32(bytes, at: 4)) bytes, and they take "
                    + "\(bytes.count - headerByteCount)")
        }
        let empty = LatencyHistogram.latencies()
        let (lowest, highest) = (word64(bytes, at: 16), word64(bytes, at: 24))
        guard word32(bytes, at: 8) == 0, word32(bytes, at: 12) == UInt32(CellLayout.digits),
            lowest == empty.lowestDiscernibleValue, highest == empty.highestTrackableValue
        else {
            throw .failed(
                "a histogram of \(lowest) to \(highest) with \(word32(bytes, at: 12)) digits is none of ours, which go from "
                    + "\(empty.lowestDiscernibleValue) to \(empty.highestTrackableValue) ns with \(CellLayout.digits)")
        }
        return try counts(bytes)
    }

    private static func counts(_ bytes: [UInt8]) throws(LoadTestError) -> [HistogramCell] {
        var cells: [HistogramCell] = []
        var index = 0
        var position = headerByteCount
        var total: UInt64 = 0
        while position < bytes.count {
            let value = try read(bytes, at: &position)
            if value <= 0 {
                // 0 is one empty cell that stands for itself.
                let (next, overflow) = index.subtractingReportingOverflow(Swift.min(Int(value), -1))
                guard !overflow, next <= CellLayout.count else {
                    throw .failed("a histogram has cells beyond its range")
                }
                index = next
                continue
            }
            guard index < CellLayout.count else { throw .failed("a histogram has cells beyond its range") }
            // Later sums of value times count must fit 64 bits.
            let (product, isTooLarge) = UInt64(value).multipliedReportingOverflow(by: CellLayout.highest(index))
            let (sum, overflow) = total.addingReportingOverflow(product)
            guard !isTooLarge, !overflow else { throw .failed("a histogram's counts are too large to be requests") }
            total = sum
            cells.append(HistogramCell(index: index, count: Int(value)))
            index += 1
        }
        return cells
    }

    private static func append<Word: FixedWidthInteger>(_ word: Word, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: word.bigEndian) { bytes.append(contentsOf: $0) }
    }

    private static func append(_ count: Int64, to bytes: inout [UInt8]) {
        var word = UInt64(bitPattern: (count << 1) ^ (count >> 63))
        // The ninth byte carries 8 bits, so that 64 bits take 9 bytes.
        for _ in 0..<8 where word >= 0x80 {
            bytes.append(UInt8(word & 0x7F) | 0x80)
            word >>= 7
        }
        bytes.append(UInt8(word))
    }

    private static func read(_ bytes: [UInt8], at position: inout Int) throws(LoadTestError) -> Int64 {
        var word: UInt64 = 0
        for number in 0..<9 {
            guard position < bytes.count else { throw .failed("a histogram ends within a count") }
            let byte = UInt64(bytes[position])
            position += 1
            if number == 8 || byte < 0x80 {
                word |= byte << UInt64(7 * number)
                break
            }
            word |= (byte & 0x7F) << UInt64(7 * number)
        }
        return Int64(bitPattern: (word >> 1) ^ (0 &- (word & 1)))
    }

    private static func word32(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        bytes[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func word64(_ bytes: [UInt8], at offset: Int) -> UInt64 {
        bytes[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// Samples that a histogram does not tell apart.
struct HistogramCell: Equatable {
    var index: Int
    var count: Int
}

/// Which values share a cell in `LatencyHistogram.latencies()`: 2048 cells of 512 ns, then 1024 of 1024 ns, and so on, as
/// HdrHistogram lays them out for 3 digits from 1000.
enum CellLayout {
    static let digits = 3
    static let unitMagnitude = 9  // the largest power of 2 up to 1000
    static let halfMagnitude = 10  // 2048 cells in the first bucket, 1024 in each other
    /// 17 buckets reach 60 s.
    static let count = (17 + 1) << halfMagnitude

    static func index(of value: UInt64) -> Int {
        let mask: UInt64 = (2048 << UInt64(unitMagnitude)) - 1
        let bucket = 64 - unitMagnitude - halfMagnitude - 1 - (value | mask).leadingZeroBitCount
        return (bucket << halfMagnitude) + Int(value >> UInt64(bucket + unitMagnitude))
    }

    static func lowest(_ index: Int) -> UInt64 {
        let bucket = Swift.max(0, (index >> halfMagnitude) - 1)
        return UInt64(index - bucket << halfMagnitude) << UInt64(bucket + unitMagnitude)
    }

    static func highest(_ index: Int) -> UInt64 { lowest(index + 1) - 1 }
}
