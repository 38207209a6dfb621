import Foundation
import Testing

@testable import LoadTesting

/// Binary replies, written here byte by byte.
@Suite struct QualityBinaryReplyTests {
    private let request = LoadRequest(body: #"{"user":{"id":"u"},"k":3,"format":"binary"}"#, k: 3)

    private func head(_ more: String = #""degraded":[]"#) -> String {
        #"{"snapshot":{"model":"default","id":"s1","space_id":"x"},"cold_start":false,\#(more)}"#
    }

    private func reply(_ head: String, _ items: [(UInt64, Float)], cut: Int = 0, jsonByteCount: Int? = nil)
        -> RunResult.KeptReply
    {
        var body = Array(head.utf8)
        for (id, _) in items { body += (0..<8).map { UInt8(truncatingIfNeeded: id >> UInt64(8 * $0)) } }
        for (_, score) in items {
            body += (0..<4).map { UInt8(truncatingIfNeeded: score.bitPattern >> UInt32(8 * $0)) }
        }
        return RunResult.KeptReply(
            outcome: 0, request: 0, body: Array(body.dropLast(cut)), jsonByteCount: jsonByteCount ?? head.utf8.count)
    }

    private func faults(_ reply: RunResult.KeptReply, _ request: LoadRequest? = nil) -> [String: Int] {
        ReplyChecks().check([reply], requests: [request ?? self.request], share: 1).faults
    }

    @Test func isReadAsItsRowsWouldBe() throws {
        let items: [(UInt64, Float)] = [(.max, 0.8123), (7, 0.1), (0, -1e-7)]
        let read = try RetrieveReply(reply(head() + "  ", items))
        #expect(read.format == .binary && read.snapshotID == "s1" && read.degraded == [])
        #expect(read.ids.map(\.string) == ["18446744073709551615", "7", "0"])
        // The doubles nearest to the shortest decimals, as JSON has them.
        #expect(read.scores == [0.8123, 0.1, -1e-7])
        #expect(faults(reply(head(), items)) == [:])
        #expect(faults(reply(head(#""degraded":["deadline"]"#), [])) == [:])
        #expect(try RetrieveReply(reply(head(#""degraded":["deadline"]"#), [])).degraded == ["deadline"])
    }

    @Test func isHeldToTheSame() {
        #expect(faults(reply(head(), [(1, 0.5), (2, 0.6)])) == ["unsorted": 1])
        #expect(faults(reply(head(), [(1, 0.5), (1, 0.5)])) == ["duplicate": 1])
        #expect(faults(reply(head(), [(1, .nan)])) == ["score": 1])
        #expect(faults(reply(head(), [(1, 4), (2, 3), (3, 2), (4, 1)])) == ["count": 1])
        let excluding = LoadRequest(body: #"{"user":{},"k":3,"format":"binary","exclude":[2]}"#, k: 3)
        #expect(faults(reply(head(), [(2, 1)]), excluding) == ["excluded": 1])
        let rowsWanted = LoadRequest(body: #"{"user":{},"k":3}"#, k: 3)
        #expect(faults(reply(head(), [(1, 1)]), rowsWanted) == ["format": 1])
        let inRows = RunResult.KeptReply(outcome: 0, request: 0, body: Array(rows([("1", 1)]).utf8))
        #expect(faults(inRows) == ["format": 1])
    }

    @Test func itsDamageIsNoticed() {
        let items: [(UInt64, Float)] = [(5, 1), (6, 0.5)]
        for cut in 1..<24 where cut % 12 != 0 {
            #expect(faults(reply(head(), items, cut: cut)) == ["malformed": 1], "\(cut)")
        }
        #expect(faults(reply(head(), items, jsonByteCount: 10)) == ["malformed": 1])
        #expect(faults(reply(head(), items, jsonByteCount: 1000)) == ["malformed": 1])
        #expect(faults(reply(head(#""items":[],"degraded":[]"#), items)) == ["malformed": 1])
        #expect(faults(reply(head(#""ids":["5"],"scores":[1],"degraded":[]"#), [])) == ["malformed": 1])
        #expect(faults(reply("{}", items)) == ["snapshot": 1])
        // JSON without items is whole only in front of a binary reply.
        let alone = RunResult.KeptReply(outcome: 0, request: 0, body: Array(head().utf8))
        #expect(faults(alone) == ["malformed": 1])
    }
}

@Suite struct DegradedRepliesTests {
    private func isDegraded(_ text: String) -> Bool {
        Array(text.utf8).withUnsafeBytes { DegradedReplies.isDegraded($0) }
    }

    @Test func looksAtBothEnds() {
        #expect(!isDegraded(rows([("a", 1)])))
        #expect(isDegraded(rows([("a", 1)], more: #""degraded":["deadline"]"#)))
        #expect(isDegraded(rows([("a", 1)], more: #""degraded": [ "deadline" ], "explain": {}"#)))
        #expect(!isDegraded(rows([("a", 1)], more: #""degraded" : [ ]"#)))
        let many = (0..<500).map { ("item\($0)", 1.0) }
        #expect(isDegraded(rows(many, more: #""degraded":["deadline"]"#)))
        #expect(!isDegraded(rows(many)))
        // A binary reply: the head, and then bytes.
        let head = #"{"snapshot":{},"degraded":["deadline"]}"#
        #expect(isDegraded(head + String(repeating: "\0", count: 6000)))
        #expect(!isDegraded(#"{"snapshot":{},"degraded":[]}"# + String(repeating: "\0", count: 6000)))
        for text in ["", "{}", #""degraded""#, #""degraded":"#, #""degraded":["#, #""degraded":7"#] {
            #expect(!isDegraded(text), "\(text)")
        }
    }
}
