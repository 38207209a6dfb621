import Foundation
import TestSupport
import Testing

@testable import LoadTesting

/// What the daemon says about its snapshots, as it is read.
@Suite struct SwapStatusTests {
    @Test func instantsAreThoseOfFoundation() throws {
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        var random = SeededRandom(seed: 3)
        for _ in 0..<2000 {
            // Up to the year 2100, with leap years and without.
            let millis = random.next() % 4_102_444_800_000
            let text = formatter.string(from: Date(timeIntervalSince1970: Double(millis) / 1000))
            #expect(WallClock.nanoseconds(text) == millis * 1_000_000, "\(text)")
        }
        #expect(WallClock.nanoseconds("1970-01-01T00:00:00Z") == 0)
        #expect(WallClock.nanoseconds("2000-02-29T23:59:59.5Z") == 951_868_799_500_000_000)
        #expect(WallClock.nanoseconds("2026-11-21T19:00:00.123456789Z") == 1_795_287_600_123_456_789)
        for none in [
            "", "2026-11-21", "2026-11-21T19:00:00", "2026-11-21T19:00:00+00:00", "2026-13-21T19:00:00Z",
            "2026-11-21T24:00:00Z", "2026-11-21 19:00:00Z", "2026-11-21T19:00:00.Z", "2026-11-21T19:00:0a.1Z",
            "1969-12-31T23:59:59Z", "2026-11-21T19:00:00.1234567890Z",
        ] {
            #expect(WallClock.nanoseconds(none) == nil, "\(none)")
        }
    }

    @Test func everythingIsRead() throws {
        let status = try SnapshotStatus(
            Array(
                """
                {"serving": "b", "previous": "a", "directory": "/snapshots", "snapshots": [
                 {"id": "a", "state": "retired", "reason": null, "stage": null, "bytes": 10, "items": 4, "space_id": "x",
                  "created_at": "2026-11-21T18:00:00Z",
                  "times": {"found": "2026-11-21T19:00:00.123Z", "destroyed": "2026-11-21T19:00:01.000Z", "ready": null},
                  "durations_ms": {"verify": 12.5, "load": 3, "destroy": 7}, "cpu_ms": {"load": 2.5}, "skew": null},
                 {"id": "b", "state": "serving"},
                 {"id": "c", "state": "failed", "reason": "index.faiss: sha256 differs"}]}
                """.utf8))
        #expect(status.serving == "b" && status.previous == "a")
        let first = try #require(status.entry("a"))
        #expect(first.spaceID == "x" && first.state == "retired" && first.reason == nil)
        #expect(first.times["destroyed"]! - first.times["found"]! == 877_000_000)
        #expect(first.times.count == 2)
        #expect(first.durations == ["verify": 12.5, "load": 3, "destroy": 7])
        #expect(first.cpu == ["load": 2.5])
        #expect(status.entry("c")?.reason == "index.faiss: sha256 differs")
        #expect(status.entry("d") == nil)
        // Of a daemon that says no more than the states.
        let bare = try SnapshotStatus(
            Array(#"{"snapshots":[{"id":"s","state":"serving"},{"id":"t","state":"ready"}]}"#.utf8))
        #expect(bare.serving == "s" && bare.previous == nil)
        for broken in [
            "{}", #"{"snapshots":[{"id":"s"}]}"#,
            #"{"snapshots":[{"id":"s","state":"ready","times":{"found":"now"}}]}"#,
            #"{"serving":7,"snapshots":[]}"#,
        ] {
            #expect(throws: (any Error).self) { try SnapshotStatus(Array(broken.utf8)) }
        }
    }

    @Test func memoryIsFoundInMetrics() {
        let text = """
            # HELP process_resident_memory_bytes Resident memory.
            # TYPE process_resident_memory_bytes gauge
            process_resident_memory_bytes_total 7
            process_resident_memory_bytes 2.5e+08
            """
        #expect(ResidentMemory.bytes(inMetrics: text) == 250_000_000)
        #expect(ResidentMemory.bytes(inMetrics: "up 1\n") == nil)
    }

    @Test func idsSayTheirTurnAndTheirSource() {
        let ids = SnapshotPublishing.Plan.ids(12, sources: 2, tag: "x1")
        #expect(ids.prefix(3) == ["swap-0001-a-x1", "swap-0002-b-x1", "swap-0003-a-x1"])
        #expect(ids.last == "swap-0012-b-x1")
        #expect(Set(ids).count == 12)
    }
}
