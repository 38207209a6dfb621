import Foundation
import SnapshotCheck
import Snapshots
import TestSupport
import Testing

/// One way to damage a snapshot, and how it has to be refused.
struct Damage: Sendable, CustomTestStringConvertible {
    enum Seal {
        /// Only the files that the damage names change: checksums have to find it.
        case broken
        /// All checksums are made to fit: the deeper checks have to find it.
        case renewed
    }

    let name: String
    let seal: Seal
    let fixture: String
    /// The file that the refusal names; nil for the snapshot's directory.
    let file: String?
    let stage: SnapshotError.Stage
    /// What the refusal has to say.
    let words: [String]
    let apply: @Sendable (SnapshotCopy) throws -> Void

    var testDescription: String { name }

    /// Checksums catch it.
    static func unsealed(
        _ name: String, _ stage: SnapshotError.Stage, _ file: String?, _ words: String...,
        in fixture: String = "cross-only", _ apply: @escaping @Sendable (SnapshotCopy) throws -> Void
    ) -> Damage {
        Damage(
            name: name, seal: .broken, fixture: fixture, file: file, stage: stage, words: words, apply: apply)
    }

    /// Checksums fit, and `file` does not.
    static func sealed(
        _ name: String, _ stage: SnapshotError.Stage, _ file: String, _ words: String...,
        in fixture: String = "cs3-three-cycles", _ apply: @escaping @Sendable (SnapshotCopy) throws -> Void
    ) -> Damage {
        Damage(
            name: name, seal: .renewed, fixture: fixture, file: file, stage: stage, words: words, apply: apply)
    }

    /// A value of the manifest that it refuses.
    static func manifest(
        _ name: String, _ path: String, _ literal: String, _ words: String..., in fixture: String = "cs3-three-cycles"
    ) -> Damage {
        Damage(
            name: name, seal: .renewed, fixture: fixture, file: "manifest.json", stage: .manifest, words: words
        ) { copy in copy.set(path, literal) }
    }

    /// Damages a copy, checks it, and compares the refusal.
    func run() throws {
        let copy = try SnapshotCopy(of: fixture)
        try apply(copy)
        if seal == .renewed { try copy.seal() }
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
