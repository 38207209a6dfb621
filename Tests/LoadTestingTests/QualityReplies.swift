import Foundation
import TestSupport

@testable import LoadTesting

/// A reply in rows, written by hand.
func rows(_ items: [(String, Double)], snapshot: String = "s1", more: String = "\"degraded\":[]") -> String {
    let list = items.map { #"{"id":"\#($0.0)","score":\#($0.1)}"# }.joined(separator: ",")
    return
        #"{"snapshot":{"model":"default","id":"\#(snapshot)","space_id":"x"},"items":[\#(list)],"cold_start":false,\#(more)}"#
}

/// The same in columns.
func columns(_ items: [(String, Double)], snapshot: String = "s1") -> String {
    let ids = items.map { #""\#($0.0)""# }.joined(separator: ",")
    let scores = items.map { "\($0.1)" }.joined(separator: ",")
    return #"{"snapshot":{"id":"\#(snapshot)"},"ids":[\#(ids)],"scores":[\#(scores)],"cold_start":true,"degraded":[]}"#
}

func kept(_ bodies: [String], requests: [Int]? = nil) -> [RunResult.KeptReply] {
    bodies.indices.map { .init(outcome: $0, request: requests?[$0] ?? $0, body: Array(bodies[$0].utf8)) }
}

/// Writes lines to a file, hands its path over, and removes it.
func withLines<Result>(_ text: String, _ body: (String) throws -> Result) throws -> Result {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).jsonl").path
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
}
