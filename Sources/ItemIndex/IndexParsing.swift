/// Parsing alone, for a process that may be lost.
public enum IndexParsing {
    /// Has FAISS read a file that the check has passed, and frees what it read.
    public static func parse(path: String) throws(ItemIndexError) {
        let summary = try IndexFileCheck.check(path: path)
        _ = try FaissIndex(reading: path, holdsVectors: summary.holdsVectors)
    }
}
