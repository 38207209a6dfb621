public import Snapshots
public import TestSupport

/// One way to damage a snapshot, and how it has to be refused.
public struct Damage: Sendable {
    /// What is done about checksums.
    public enum Seal: Sendable {
        /// Only the files that the damage names change: checksums have to find it.
        case broken
        /// All checksums are made to fit: the deeper checks have to find it.
        case renewed
    }

    /// What is done.
    public let name: String
    /// What is done about checksums.
    public let seal: Seal
    /// What is damaged.
    public let fixture: String
    /// The file that the refusal names; nil for the snapshot's directory.
    public let file: String?
    /// The check that refuses it.
    public let stage: SnapshotError.Stage
    /// What the refusal has to say.
    public let words: [String]
    /// Does it, up to the seal.
    public let apply: @Sendable (SnapshotCopy) throws -> Void

    /// Checksums catch it.
    public static func unsealed(
        _ name: String, _ stage: SnapshotError.Stage, _ file: String?, _ words: String...,
        in fixture: String = "cross-only", _ apply: @escaping @Sendable (SnapshotCopy) throws -> Void
    ) -> Damage {
        Damage(
            name: name, seal: .broken, fixture: fixture, file: file, stage: stage, words: words, apply: apply)
    }

    /// Checksums fit, and `file` does not.
    public static func sealed(
        _ name: String, _ stage: SnapshotError.Stage, _ file: String, _ words: String...,
        in fixture: String = "cs3-three-cycles", _ apply: @escaping @Sendable (SnapshotCopy) throws -> Void
    ) -> Damage {
        Damage(
            name: name, seal: .renewed, fixture: fixture, file: file, stage: stage, words: words, apply: apply)
    }

    /// A value of the manifest that it refuses.
    public static func manifest(
        _ name: String, _ path: String, _ literal: String, _ words: String..., in fixture: String = "cs3-three-cycles"
    ) -> Damage {
        Damage(
            name: name, seal: .renewed, fixture: fixture, file: "manifest.json", stage: .manifest, words: words
        ) { copy in copy.set(path, literal) }
    }

    /// Damages a copy and seals it anew if that belongs to the damage.
    public func damage(_ copy: SnapshotCopy) throws {
        try apply(copy)
        if seal == .renewed { try copy.seal() }
    }
}
