// What does a reply cost to write, and a request to read? One thread, no socket, medians over many rounds.
//
//     make bench-encoding

import CJSON
import CToChars
import Identifiers
import JSON
import Memory
import Retrieval
import RetrievalAPI

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The median and the best time of a call in microseconds.
func measure(_ body: () -> Void) -> (median: Double, best: Double) {
    func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
    // As many calls in a round as take about 200 us, which a clock that is off by 30 ns cannot spoil.
    var calls = 1
    while true {
        let start = now()
        for _ in 0..<calls { body() }
        if now() - start > 200_000 { break }
        calls *= 2
    }
    var times: [Double] = []
    for _ in 0..<1000 {
        let start = now()
        for _ in 0..<calls { body() }
        times.append(Double(now() - start) / Double(calls) / 1000)
    }
    times.sort()
    return (times[times.count / 2], times[0])
}

func fixed(_ value: Double) -> String {
    let hundredths = Int((value * 100).rounded())
    let text = "\(hundredths / 100).\(hundredths / 10 % 10)\(hundredths % 10)"
    return String(repeating: " ", count: max(0, 10 - text.count)) + text
}

func show(_ name: String, _ byteCount: Int, _ body: () -> Void) {
    let (median, best) = measure(body)
    let padded = name + String(repeating: " ", count: max(1, 44 - name.count))
    let bytes = String(byteCount)
    print(padded + String(repeating: " ", count: max(0, 8 - bytes.count)) + bytes + fixed(median) + fixed(best))
}

/// Drawn like the scores of a reply: descending, between 0.3 and 0.9.
struct Draws {
    var state: UInt64 = 1

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 11
    }

    mutating func unit() -> Double { Double(next()) * 0x1p-53 }
}

struct Reply {
    let rows: UnsafeMutableBufferPointer<UInt32>
    let scores: UnsafeMutableBufferPointer<Float>

    init(count: Int, itemCount: Int) {
        var draws = Draws()
        rows = .allocate(capacity: count)
        scores = .allocate(capacity: count)
        var values = (0..<count).map { _ in Float(0.3 + 0.6 * draws.unit()) }
        values.sort(by: >)
        for rank in 0..<count {
            rows.initializeElement(at: rank, to: UInt32(draws.next() % UInt64(itemCount)))
            scores.initializeElement(at: rank, to: values[rank])
        }
    }
}

let itemCount = 1_000_000
var draws = Draws()
let numbers = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: itemCount)
for row in 0..<itemCount { numbers.initializeElement(at: row, to: UInt64(row) * 997 + 10_000_000) }
let table = try NumberTable(ids: UnsafeBufferPointer(numbers))
let encoder = ResponseEncoder(snapshotID: "2026-11-21T00-00", spaceID: "space-0123456789", itemIDs: .numbers(table))

let words = UnsafeMutableRawBufferPointer.allocate(byteCount: itemCount * 10, alignment: 8)
let offsets = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: itemCount + 1)
for row in 0...itemCount { offsets.initializeElement(at: row, to: UInt64(row * 10)) }
for row in 0..<itemCount {
    var rest = row
    for place in (1..<10).reversed() {
        words[row * 10 + place] = UInt8(ascii: "0") + UInt8(rest % 10)
        rest /= 10
    }
    words[row * 10] = UInt8(ascii: "i")
}
let texts = try TextTable(bytes: UnsafeRawBufferPointer(words), offsets: UnsafeBufferPointer(offsets))
let textEncoder = ResponseEncoder(
    snapshotID: "2026-11-21T00-00", spaceID: "space-0123456789", itemIDs: .texts(texts))

print("                                               bytes    median      best   microseconds")
for count in [100, 500, 2000] {
    let reply = Reply(count: count, itemCount: itemCount)
    var query = RetrievalQuery()
    var writer = ByteWriter(capacity: 1 << 20)
    for (name, format, encoder) in [
        ("rows, numbers", ReplyFormat.rows, encoder), ("columns, numbers", .columns, encoder),
        ("binary", .binary, encoder), ("rows, texts", .rows, textEncoder), ("columns, texts", .columns, textEncoder),
    ] {
        query.format = format
        func encode() {
            writer.removeAll()
            encoder.encodeRetrieve(
                query, rows: UnsafeBufferPointer(reply.rows), scores: UnsafeBufferPointer(reply.scores),
                isColdStart: false, explanation: nil, to: &writer)
        }
        encode()
        show("encode \(count) items: \(name)", writer.count, encode)
    }
}

let floats = Reply(count: 500, itemCount: itemCount).scores
let room = UnsafeMutablePointer<CChar>.allocate(capacity: 1 << 16)
func writeAll(
    _ values: UnsafeMutableBufferPointer<Float>, _ room: UnsafeMutablePointer<CChar>,
    _ write: (Float, UnsafeMutablePointer<CChar>) -> Int
) -> Int {
    var position = room
    for value in values { position += write(value, position) }
    return position - room
}
show("500 floats, ours", writeAll(floats, room, cjson_write_float)) {
    _ = writeAll(floats, room, cjson_write_float)
}
show("500 floats, std::to_chars", writeAll(floats, room, belfry_standard_float_text)) {
    _ = writeAll(floats, room, belfry_standard_float_text)
}

let decoder = try RequestDecoder(maximumBodyByteCount: 1 << 20)
var query = RetrievalQuery()
let short = #"{"user":{"id":"u42","features":{"age":3}},"k":100}"#
let features = (0..<20).map { "\"feature_\($0)\":[\($0),\"value-\($0)\",1.5]" }.joined(separator: ",")
let exclude = (0..<100).map { "\"\(10_000_000 + $0 * 997)\"" }.joined(separator: ",")
let long =
    #"{"request_id":"r-7","user":{"id":"u42","features":{\#(features)}},"context":{"hour":13,"slot":"feed"},"#
    + #""k":500,"exclude":[\#(exclude)],"search":{"ef":200},"timeout_ms":20,"format":"binary"}"#
for (name, text) in [("a short body", short), ("20 features and 100 excluded ids", long)] {
    let body = Array(text.utf8) + Array(repeating: 0, count: JSONParser.paddingByteCount)
    try body.withUnsafeBytes { bytes in
        let lent = UnsafeRawBufferPointer(rebasing: bytes[..<text.utf8.count])
        try decoder.decodeRetrieve(lent, into: &query)
        show("decode \(name)", lent.count) { try? decoder.decodeRetrieve(lent, into: &query) }
    }
}
