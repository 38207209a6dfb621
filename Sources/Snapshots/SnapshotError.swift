/// Why a snapshot is refused: which file, and what is wrong with it.
public struct SnapshotError: Error, Equatable, CustomStringConvertible {
    /// The stage that refused it, in the order of verification.
    public enum Stage: String, Sendable, CaseIterable {
        /// It is not there, or not complete.
        case directory
        /// The manifest says something impossible or unknown.
        case manifest
        /// A file's size or sha256 is not the manifest's.
        case integrity
        /// A file's contents do not fit the manifest: names, types, shapes, numbers, spaces.
        case contents
        /// The item vectors' index.
        case index
        /// Golden answers differ.
        case golden
        /// The index finds too little of what exact search finds.
        case recall
        /// There is not enough memory for it.
        case memory
        /// It drops or retypes a feature of the one that serves.
        case schema
        /// It has far fewer or far more items than the one that serves.
        case itemCount = "item_count"
        /// It does not answer its own warm-up requests.
        case warmup
        /// Its answers or its speed differ too much from those of the one that serves.
        case skew
    }

    /// The stage.
    public let stage: Stage
    /// The file's name within the snapshot, or the directory's path.
    public let file: String
    /// The fault, with names and numbers.
    public let fault: String

    /// Names a fault.
    public init(_ stage: Stage, file: String, _ fault: String) {
        self.stage = stage
        self.file = file
        self.fault = fault
    }

    /// One line.
    public var description: String { "\(file): \(fault)" }
}
