import Foundation
import SnapshotCheck
public import SnapshotDamage
import Snapshots
import TestSupport
public import Testing

extension Damage: CustomTestStringConvertible {
    /// What is done.
    public var testDescription: String { name }

    /// Damages a copy, checks it, and compares the refusal.
    func run() throws {
        let copy = try SnapshotCopy(of: fixture)
        try damage(copy)
        try expectRefusal(of: copy.path, stage, file ?? copy.path, words)
    }
}

/// Checks a snapshot that has to be refused.
func expectRefusal(
    of path: String, _ stage: SnapshotError.Stage, _ file: String, _ words: [String],
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    var lines: [String] = []
    let error = #expect(throws: SnapshotError.self, sourceLocation: sourceLocation) {
        try SnapshotCheck(path: path).run { lines.append($0) }
    }
    guard let error else {
        Issue.record("accepted: \(lines.joined(separator: "\n"))", sourceLocation: sourceLocation)
        return
    }
    #expect(error.stage == stage, "\(error)", sourceLocation: sourceLocation)
    #expect(error.file == file, "\(error)", sourceLocation: sourceLocation)
    for word in words {
        #expect(
            error.fault.contains(word), "the refusal does not say '\(word)': \(error)", sourceLocation: sourceLocation)
    }
    #expect(error.description.utf8.count < 2000, "a refusal is one line", sourceLocation: sourceLocation)
}
