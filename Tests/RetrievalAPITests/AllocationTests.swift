import CAllocationCount
import Identifiers
import JSON
import Memory
import Retrieval
import RetrievalAPI
import Synchronization
import Testing
import Towers

#if DEBUG
    private let isOptimised = false
#else
    private let isOptimised = true
#endif

/// Decoding and encoding are on the hot path and must not allocate once a worker has seen its largest request. Code
/// that is not optimised allocates for reasons of its own: `swift test -c release` runs these.
@Suite(.enabled(if: belfry_counts_allocations() == 1 && isOptimised)) struct AllocationTests {
    /// How many allocations `body` makes, the third time it runs.
    func allocations(_ body: () throws -> Void) rethrows -> Int {
        try body()
        try body()
        let before = belfry_allocation_count()
        try body()
        return belfry_allocation_count() - before
    }

    @Test func theCounterCounts() {
        var kept: UnsafeMutableRawPointer?
        #expect(
            allocations {
                kept?.deallocate()
                kept = .allocate(byteCount: 100, alignment: 8)
            } == 1)
        kept?.deallocate()
        #expect(allocations {} == 0)
    }

    @Test func decodingRetrieveAllocatesNothing() throws {
        let decoder = try RequestDecoder(maximumBodyByteCount: 1 << 20)
        var query = RetrievalQuery()
        let names = (0..<40).map { "\"feature\($0)\":[\($0),\"v\($0)\",-1.5,true]" }.joined(separator: ",")
        let exclude = (0..<500).map { "\"item\($0)\"" }.joined(separator: ",")
        let body = Body(
            #"{"request_id":"r-7","model":"default","user":{"id":"u42","features":{\#(names)}},"context":{"hour":13},"#
                + #""k":100,"exclude":[\#(exclude)],"search":{"ef":200},"format":"binary","strict":true,"timeout_ms":12.5}"#
        )
        let count = try allocations {
            try body.lend { try decoder.decodeRetrieve($0, into: &query) }
        }
        #expect(count == 0)
        #expect(query.exclude.count == 500 && query.user.features.entries.count == 41)
    }

    @Test func decodingEmbedAndScoreAllocatesNothing() throws {
        let decoder = try RequestDecoder(maximumBodyByteCount: 1 << 20)
        var embedding = EmbedQuery()
        let users = (0..<64).map { #"{"user":{"id":\#($0),"features":{"a":[1,2]}},"context":{"h":1}}"# }
        let batch = Body(#"{"requests":[\#(users.joined(separator: ","))]}"#)
        #expect(try allocations { try batch.lend { try decoder.decodeEmbed($0, into: &embedding) } } == 0)
        #expect(embedding.userCount == 64)

        var score = ScoreQuery()
        let items = Body(#"{"user":{"id":"u"},"items":[\#((0..<200).map(String.init).joined(separator: ","))]}"#)
        #expect(try allocations { try items.lend { try decoder.decodeScore($0, into: &score) } } == 0)
        #expect(score.items.count == 200)
    }

    @Test func encodingAllocatesNothing() throws {
        let ids = try NumberedItems(count: 500)
        let encoder = ResponseEncoder(snapshotID: "s", spaceID: "t", itemIDs: ids.table)
        var query = RetrievalQuery()
        query.requestID = Text("r-7")
        var writer = ByteWriter(capacity: 64)
        let rows = UnsafeMutableBufferPointer<UInt32>.allocate(capacity: 500)
        let scores = UnsafeMutableBufferPointer<Float>.allocate(capacity: 500)
        defer {
            rows.deallocate()
            scores.deallocate()
        }
        for rank in 0..<500 {
            rows.initializeElement(at: rank, to: UInt32(rank))
            scores.initializeElement(at: rank, to: 1 / Float(rank + 1))
        }
        for format in [ReplyFormat.rows, .columns, .binary] {
            query.format = format
            let count = allocations {
                writer.removeAll()
                encoder.encodeRetrieve(
                    query, rows: UnsafeBufferPointer(rows), scores: UnsafeBufferPointer(scores), isColdStart: false,
                    explanation: nil, to: &writer)
            }
            #expect(count == 0)
        }
    }
}

/// The whole line from exchange to reply, on the worker's own thread.
@Suite(.enabled(if: belfry_counts_allocations() == 1 && isOptimised)) struct AnswerAllocationTests {
    @Test(
        arguments: ["cs3-one-cycle", "cs3-three-cycles", "cross-only", "cascade-only"],
        [
            #""k":100"#, #""k":500,"format":"columns","exclude":["1","2","3"]"#, #""search":{"exact":true}"#,
            #""k":100,"timeout_ms":60000"#,
        ])
    func answeringAllocatesNothing(fixture: String, more: String) throws {
        #expect(try allocations(fixture, more) == [0, 0])
    }

    /// Of those whose items have numbers for ids.
    @Test(arguments: ["cs3-one-cycle", "cross-only", "cascade-only"])
    func answeringInBinaryAllocatesNothing(fixture: String) throws {
        let more = #""k":500,"format":"binary","timeout_ms":60000,"exclude":["1",2,"nobody"]"#
        #expect(try allocations(fixture, more) == [0, 0])
    }

    /// Three of sixteen lists are read; of so many all would be compared.
    @Test func readingListsAllocatesNothing() throws {
        #expect(try allocations("cross-only", #""search":{"nprobe":3},"timeout_ms":60000"#) == [0, 0])
    }

    /// Once when it is set aside, once when it is answered.
    @Test(arguments: [#""search":{"exact":true}"#, #""k":500,"format":"binary","timeout_ms":60000"#])
    func requestsThatAreSetAsideAllocateNothing(more: String) throws {
        var everyOne = LongRequests(yieldNanoseconds: 1000)
        everyOne.searchNanosecondsMax = 0
        #expect(try allocations("cs3-one-cycle", more, longRequests: everyOne) == [0, 0, 0, 0])
    }

    /// How many allocations the fourth and the fifth of the same request make.
    private func allocations(_ fixture: String, _ more: String, longRequests: LongRequests? = nil) throws -> [Int] {
        let counts = Mutex<[Int]>([])
        let serving = try Serving(fixture, longRequests: longRequests) { handler in
            { exchange in
                let before = belfry_allocation_count()
                handler.handle(exchange)
                let count = belfry_allocation_count() - before
                counts.withLock { $0.append(count) }
            }
        }
        let body = try serving.warmup(more)
        // On one connection: a new one may take another exchange, which has memory to grow.
        #expect(try serving.post("/v1/retrieve", body, times: 5).allSatisfy { $0 == 200 })
        return counts.withLock { $0.suffix(longRequests == nil ? 2 : 4) }
    }
}

/// Items of a catalogue of numbers: row i has the id 1000 + i.
final class NumberedItems {
    let table: Identifiers
    private let ids: UnsafeMutableBufferPointer<UInt64>

    init(count: Int) throws {
        ids = .allocate(capacity: count)
        _ = ids.initialize(from: (0..<count).map { UInt64(1000 + $0) })
        table = .numbers(try NumberTable(ids: UnsafeBufferPointer(ids)))
    }

    deinit {
        ids.deallocate()
    }
}
