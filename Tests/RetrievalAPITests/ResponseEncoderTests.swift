import Foundation
import Identifiers
import JSON
import Memory
import Retrieval
import RetrievalAPI
import Testing
import Towers

@Suite struct ResponseEncoderTests {
    let snapshot = #""snapshot":{"model":"default","id":"2026-11-21","space_id":"sp\"1"}"#

    /// Three items called a"b, é and i7.
    func encoder() throws -> ResponseEncoder {
        let table = try TextTable(bytes: ItemTexts.words, offsets: ItemTexts.offsets)
        return ResponseEncoder(snapshotID: "2026-11-21", spaceID: "sp\"1", itemIDs: .texts(table))
    }

    func written(_ write: (inout ByteWriter) throws -> Void) rethrows -> String {
        var writer = ByteWriter(capacity: 64)
        try write(&writer)
        return writer.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    @discardableResult
    func encode(
        _ query: RetrievalQuery, rows: [UInt32], _ scores: [Float], isColdStart: Bool, isComplete: Bool = true,
        explanation: ResponseEncoder.Explanation? = nil, _ encoder: ResponseEncoder, _ writer: inout ByteWriter
    ) -> Int? {
        rows.withUnsafeBufferPointer { rows in
            scores.withUnsafeBufferPointer { scores in
                encoder.encodeRetrieve(
                    query, rows: rows, scores: scores, isColdStart: isColdStart, isComplete: isComplete,
                    explanation: explanation, to: &writer)
            }
        }
    }

    let scores: [Float] = [0.8123, 0.1, -2]

    @Test func writesRows() throws {
        let encoder = try encoder()
        var query = RetrievalQuery()
        query.requestID = Text("r-\"7")
        let text = written {
            encode(query, rows: [2, 1, 0], scores, isColdStart: false, encoder, &$0)
        }
        #expect(
            text == #"{"request_id":"r-\"7",\#(snapshot),"items":[{"id":"i7","score":0.8123},{"id":"é","score":0.1},"#
                + #"{"id":"a\"b","score":-2}],"cold_start":false,"degraded":[]}"#)
    }

    @Test func writesColumns() throws {
        let encoder = try encoder()
        var query = RetrievalQuery()
        query.format = .columns
        let text = written {
            encode(query, rows: [0, 1], Array(scores[..<2]), isColdStart: true, encoder, &$0)
        }
        #expect(
            text == #"{\#(snapshot),"ids":["a\"b","é"],"scores":[0.8123,0.1],"cold_start":true,"degraded":[]}"#)
    }

    @Test func writesNoHits() throws {
        let encoder = try encoder()
        var query = RetrievalQuery()
        func text() -> String {
            written {
                encode(query, rows: [], [], isColdStart: false, encoder, &$0)
            }
        }
        #expect(text() == #"{\#(snapshot),"items":[],"cold_start":false,"degraded":[]}"#)
        query.format = .columns
        #expect(text() == #"{\#(snapshot),"ids":[],"scores":[],"cold_start":false,"degraded":[]}"#)
    }

    @Test func saysThatTheDeadlineEndedTheSearch() throws {
        let encoder = try encoder()
        let text = written {
            encode(RetrievalQuery(), rows: [1], [0.5], isColdStart: false, isComplete: false, encoder, &$0)
        }
        #expect(
            text == #"{\#(snapshot),"items":[{"id":"é","score":0.5}],"cold_start":false,"degraded":["deadline"]}"#)
    }

    @Test func explains() throws {
        let encoder = try encoder()
        var query = RetrievalQuery()
        query.user.features.appendEntry(name: Text("known"), source: .user, isList: false)
        query.user.features.appendEntry(name: Text("un\"known"), source: .user, isList: false)
        var explanation = ResponseEncoder.Explanation()
        explanation.decodeMicros = 3
        explanation.enrichMicros = 2
        explanation.embedMicros = 9
        explanation.searchMicros = 80
        explanation.hasCrossVector = true
        explanation.hasCascadeVector = true
        explanation.ef = 200
        explanation.scoredItemCount = 1234
        explanation.ignoredFeatures = [1]
        let text = written {
            encode(query, rows: [], [], isColdStart: false, explanation: explanation, encoder, &$0)
        }
        #expect(
            text == #"{\#(snapshot),"items":[],"cold_start":false,"degraded":[],"#
                + #""timings_us":{"decode":3,"enrich":2,"embed":9,"search":80},"caches_hit":["cross","cascade"],"#
                + #""ef_used":200,"items_scored":1234,"features_ignored":["un\"known"]}"#)
    }

    @Test func writesEmbeddings() throws {
        let encoder = try encoder()
        var query = EmbedQuery()
        func text(_ count: Int) -> String {
            written { writer in
                encoder.beginEmbed(query, to: &writer)
                for index in 0..<count {
                    scores.withUnsafeBufferPointer {
                        encoder.appendEmbedding(
                            $0, isColdStart: index == 1, index: index, isBatch: query.isBatch, to: &writer)
                    }
                }
                encoder.endEmbed(query, to: &writer)
            }
        }
        #expect(text(1) == #"{\#(snapshot),"embeddings":[[0.8123,0.1,-2]],"cold_start":false}"#)
        query.isBatch = true
        query.requestID = Text("r")
        #expect(
            text(2)
                == #"{"request_id":"r",\#(snapshot),"results":[{"embeddings":[[0.8123,0.1,-2]],"cold_start":false},"#
                + #"{"embeddings":[[0.8123,0.1,-2]],"cold_start":true}]}"#)
        #expect(text(0) == #"{"request_id":"r",\#(snapshot),"results":[]}"#)
    }

    @Test func writesScores() throws {
        let encoder = try encoder()
        var query = ScoreQuery()
        query.items = [.text(Text("i\"1")), .number(.max), .text(Text("x"))]
        let text = written { encoder.encodeScore(query, scores: [0.8123, nil, -2], isColdStart: true, to: &$0) }
        #expect(
            text
                == #"{\#(snapshot),"ids":["i\"1","18446744073709551615","x"],"scores":[0.8123,null,-2],"cold_start":true}"#
        )
    }

    /// Rows of numbers take another way than rows of texts.
    @Test func writesRowsOfNumbers() throws {
        let items = try NumberedItems(count: 3)
        let encoder = ResponseEncoder(snapshotID: "s", spaceID: "t", itemIDs: items.table)
        var query = RetrievalQuery()
        func text(_ rows: [UInt32], _ scores: [Float]) -> String {
            written { encode(query, rows: rows, scores, isColdStart: false, encoder, &$0) }
        }
        #expect(
            text([2, 0], [0.25, -1]).contains(#","items":[{"id":"1002","score":0.25},{"id":"1000","score":-1}],"cold"#))
        #expect(text([], []).contains(#","items":[],"cold"#))
        query.format = .columns
        #expect(text([], []).contains(#","ids":[],"scores":[],"cold"#))
    }

    @Test func writesBinary() throws {
        let items = try NumberedItems(count: 300)
        let encoder = ResponseEncoder(snapshotID: "s", spaceID: "t", itemIDs: items.table)
        var query = RetrievalQuery()
        query.format = .binary
        var writer = ByteWriter(capacity: 64)
        let headByteCount = encode(query, rows: [299, 0], [1, -0.5], isColdStart: false, encoder, &writer)
        let head =
            #"{"snapshot":{"model":"default","id":"s","space_id":"t"},"cold_start":false,"degraded":[]}"#
        #expect(headByteCount == (head.utf8.count + 7) / 8 * 8)
        let bytes = writer.withUnsafeBytes { Array($0) }
        #expect(
            String(decoding: bytes.prefix(headByteCount ?? 0), as: UTF8.self).trimmingCharacters(in: .whitespaces)
                == head)
        // 1299 is 0x513; 1.0 is 0x3f800000, -0.5 is 0xbf000000.
        #expect(
            Array(bytes.dropFirst(headByteCount ?? 0)) == [
                0x13, 0x05, 0, 0, 0, 0, 0, 0, 0xe8, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xbf,
            ])
    }

    @Test func idsOfNumbersAreStrings() throws {
        let items = try NumberedItems(count: 2)
        let encoder = ResponseEncoder(snapshotID: "s", spaceID: "t", itemIDs: items.table)
        var query = RetrievalQuery()
        query.format = .columns
        let text = written {
            encode(query, rows: [0, 1], [0.5, 0.5], isColdStart: false, encoder, &$0)
        }
        #expect(text.contains(#""ids":["1000","1001"],"scores":[0.5,0.5]"#))
    }
}

@Suite struct ProblemTests {
    @Test func writesRFC9457() throws {
        var writer = ByteWriter()
        Problem(.outOfRange(field: "/k", bounds: 1...10_000)).write(to: &writer)
        let text = writer.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        #expect(
            text == #"{"type":"urn:belfry:problem:out-of-range","title":"A number is out of range","status":422,"#
                + #""detail":"/k must be 1 to 10000","field":"/k","limit":10000}"#)
    }

    @Test func kindsAreStable() {
        for kind in Problem.Kind.allCases {
            #expect(kind.rawValue.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || $0 == "-") })
            #expect((400...599).contains(kind.description.status))
        }
    }
}

/// The ids that the encoders' tables point into: allocated once, never freed, never written again.
private enum ItemTexts {
    nonisolated(unsafe) static let words: UnsafeRawBufferPointer = {
        let text = Array(#"a"béi7"#.utf8)
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: text.count, alignment: 1)
        bytes.copyBytes(from: text)
        return UnsafeRawBufferPointer(bytes)
    }()

    nonisolated(unsafe) static let offsets: UnsafeBufferPointer<UInt64> = {
        let offsets = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 4)
        _ = offsets.initialize(from: [0, 3, 5, 7])
        return UnsafeBufferPointer(offsets)
    }()
}
