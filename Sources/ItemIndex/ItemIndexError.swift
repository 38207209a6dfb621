public import Memory

/// Why an index was not loaded.
public enum ItemIndexError: Error, CustomStringConvertible {
    /// The file cannot be opened or mapped.
    case unreadable(FileError)
    /// The file's bytes do not make an index, or one of a kind that is not searched here.
    case refused(path: String, IndexFileFault)
    /// A component of a stored vector is NaN or infinite.
    case notFinite(path: String, row: Int, component: Int)
    /// A component of an inverted list's centroid is NaN or infinite.
    case centroidNotFinite(path: String, list: Int, component: Int)
    /// The file is a graph without vectors, and none were given.
    case vectorsMissing(path: String)
    /// The file holds vectors, and others were given as well.
    case vectorsTwice(path: String)
    /// FAISS refused a file that passed our check.
    case library(path: String, message: String)

    /// What is wrong, for those who name the file themselves.
    public var fault: String {
        switch self {
        case .unreadable(let error): "cannot \(error.operation): \(error.reason)"
        case .refused(_, let fault): "\(fault)"
        case .notFinite(_, let row, let component): "component \(component) of row \(row) is not finite"
        case .centroidNotFinite(_, let list, let component):
            "component \(component) of the centroid of list \(list) is not finite"
        case .vectorsMissing: "the graph was written without vectors, and none were given with it"
        case .vectorsTwice: "the index holds vectors, and others were given with it"
        case .library(_, let message): "FAISS cannot read it: \(message)"
        }
    }

    /// The file with its path, and what is wrong.
    public var description: String {
        switch self {
        case .unreadable(let error): error.description
        case .refused(let path, _), .notFinite(let path, _, _), .centroidNotFinite(let path, _, _),
            .vectorsMissing(let path), .vectorsTwice(let path), .library(let path, _):
            "\(path): \(fault)"
        }
    }
}
