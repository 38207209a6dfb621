/// What `IndexBuilder` builds, written as FAISS writes it.
public enum IndexFactory: Sendable, Equatable, CustomStringConvertible {
    /// `Flat`: every item is compared.
    case flat
    /// `HNSW24` or `HNSW24,Flat`: a graph with that many links a row, twice as many on level 0. 2...256.
    case hnsw(links: Int)
    /// `IVF1024,Flat`: an inverted file with that many lists. 1...1,000,000.
    case ivfFlat(lists: Int)

    /// Reads a description; nil if it is none of the three.
    public init?(_ text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        func number(_ prefix: String, _ allowed: ClosedRange<Int>) -> Int? {
            guard let first = parts.first, first.hasPrefix(prefix) else { return nil }
            let digits = first.dropFirst(prefix.count)
            // Int() would take a sign as well.
            guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let value = Int(digits) else { return nil }
            return allowed.contains(value) ? value : nil
        }
        if text == "Flat" {
            self = .flat
        } else if let links = number("HNSW", 2...256), parts.count == 1 || (parts.count == 2 && parts[1] == "Flat") {
            self = .hnsw(links: links)
        } else if let lists = number("IVF", 1...1_000_000), parts.count == 2 && parts[1] == "Flat" {
            self = .ivfFlat(lists: lists)
        } else {
            return nil
        }
    }

    /// FAISS's words.
    public var description: String {
        switch self {
        case .flat: "Flat"
        case .hnsw(let links): "HNSW\(links),Flat"
        case .ivfFlat(let lists): "IVF\(lists),Flat"
        }
    }
}
