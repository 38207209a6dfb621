public import Memory

/// Why an index was not loaded.
public enum ItemIndexError: Error, CustomStringConvertible {
    /// The file cannot be opened or mapped.
    case unreadable(FileError)
    /// The file's bytes do not make an index, or one of a kind that is not searched here.
    case refused(path: String, IndexFileFault)
    /// A component of a stored vector is NaN or infinite.
    case notFinite(path: String, row: Int, component: Int)
    /// The file is a graph without vectors, and none were given.
    case vectorsMissing(path: String)
    /// The file holds vectors, and others were given as well.
    case vectorsTwice(path: String)
    /// FAISS refused a file that passed our check.
    case library(path: String, message: String)

    /// One sentence.
    public var description: String {
        switch self {
        case .unreadable(let error): error.description
        case .refused(let path, let fault): "\(path): \(fault)"
        case .notFinite(let path, let row, let component):
            "\(path): component \(component) of row \(row) is not finite"
        case .vectorsMissing(let path): "\(path): the graph was written without vectors, and none were given with it"
        case .vectorsTwice(let path): "\(path): the index holds vectors, and others were given with it"
        case .library(let path, let message): "\(path): FAISS cannot read it: \(message)"
        }
    }
}
