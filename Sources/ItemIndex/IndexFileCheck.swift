import Memory

/// What a file turned out to hold.
struct IndexFileSummary {
    let kind: IndexKind
    let metric: Metric
    let count: Int
    let dimension: Int
    /// False for a graph whose storage was left out when it was written.
    let holdsVectors: Bool
    /// Where an inverted file's parts stand; nil for other kinds.
    var lists: InvertedFileLayout?
}

/// Where an inverted file's parts stand in its bytes, which need not be aligned.
struct InvertedFileLayout {
    /// The index's own nprobe.
    let probeCount: Int
    /// Where the centroids begin: (lists, dimension) float32, row-major.
    let centroidsOffset: Int
    /// How many entries each list has.
    let sizes: [Int]
    /// Where each list begins: (entries, dimension) float32, then as many int64 rows.
    let offsets: [Int]
}

/// Walks through a FAISS file before FAISS does, because FAISS 1.7.3 trusts what it reads: it allocates what a damaged
/// count says, follows links out of its arrays, and aborts on some contradictions. What passes here is read safely:
/// every count fits the file, every link leads to a row of its level, every row is in exactly one list.
enum IndexFileCheck {
    private static let rowRange: ClosedRange<Int64> = 0...Int64(Int32.max - 1)
    private static let dimensionRange: ClosedRange<Int64> = 1...4096

    /// Checks a file of one of the supported kinds.
    static func check(path: String) throws(ItemIndexError) -> IndexFileSummary {
        try check(open(path: path))
    }

    /// Checks a file of one of the supported kinds, which the caller goes on to read.
    static func check(_ file: MappedFile) throws(ItemIndexError) -> IndexFileSummary {
        defer { withExtendedLifetime(file) {} }
        do {
            return try check(file.bytes)
        } catch {
            throw .refused(path: file.path, error)
        }
    }

    /// Maps a file to be checked.
    static func open(path: String) throws(ItemIndexError) -> MappedFile {
        do {
            return try MappedFile(path: path)
        } catch {
            throw .unreadable(error)
        }
    }

    /// Checks a file's bytes.
    static func check(_ bytes: UnsafeRawBufferPointer) throws(IndexFileFault) -> IndexFileSummary {
        var reader = IndexFileReader(bytes)
        let fourcc = try fourcc(&reader, "the index kind")
        let summary: IndexFileSummary
        switch fourcc {
        case "IxF2", "IxFI", "IxFl": summary = try flat(&reader, fourcc)
        case "IHNf": summary = try hnsw(&reader)
        case "IwFl": summary = try ivfFlat(&reader)
        default: throw .unsupportedKind(fourcc)
        }
        try reader.requireEnd()
        return summary
    }

    private static func fourcc(
        _ reader: inout IndexFileReader, _ field: String
    ) throws(IndexFileFault) -> String {
        let letters = try reader.elements(field, of: UInt8.self, count: 4)
        // Damaged bytes must not reach a terminal or a log as they are.
        return (0..<4).map { index in
            let letter = letters[index]
            return letter >= 0x21 && letter <= 0x7E ? String(UnicodeScalar(letter)) : "?"
        }.joined()
    }

    private struct Header {
        let count: Int
        let dimension: Int
        let metric: Metric
    }

    /// The fields that every index begins with.
    private static func header(
        _ reader: inout IndexFileReader, _ name: String, counts: ClosedRange<Int64> = rowRange,
        dimensions: ClosedRange<Int64> = dimensionRange
    ) throws(IndexFileFault) -> Header {
        let dimension = try reader.read("\(name)'s dimension", as: Int32.self, in: dimensions)
        let count = try reader.read("\(name)'s row count", as: Int64.self, in: counts)
        // Two fields that FAISS no longer reads.
        _ = try reader.read("\(name)'s header", as: Int64.self)
        _ = try reader.read("\(name)'s header", as: Int64.self)
        try reader.read("\(name)'s trained flag", as: UInt8.self, in: 1...1)
        let number = try reader.read("\(name)'s metric", as: Int32.self)
        guard let metric = Metric(faissNumber: number) else {
            throw .value(field: "\(name)'s metric", got: Int64(number), allowed: 0...1)
        }
        return Header(count: count, dimension: dimension, metric: metric)
    }

    /// IndexFlat: a header, the number of floats, the floats.
    private static func flat(
        _ reader: inout IndexFileReader, _ fourcc: String, _ name: String = "the index",
        like outer: Header? = nil
    ) throws(IndexFileFault) -> IndexFileSummary {
        let exactly = { (value: Int) in Int64(value)...Int64(value) }
        let header = try header(
            &reader, name, counts: outer.map { exactly($0.count) } ?? rowRange,
            dimensions: outer.map { exactly($0.dimension) } ?? dimensionRange)
        // The two common metrics have their own fourcc, and FAISS lets the header overrule it.
        let implied: Metric? = fourcc == "IxFI" ? .innerProduct : fourcc == "IxF2" ? .squaredL2 : nil
        if let expected = outer?.metric ?? implied, header.metric != expected {
            throw .value(
                field: "\(name)'s metric", got: Int64(header.metric.faissNumber),
                allowed: exactly(Int(expected.faissNumber)))
        }
        if let implied, header.metric != implied {
            throw .value(
                field: "\(name)'s metric", got: Int64(header.metric.faissNumber),
                allowed: exactly(Int(implied.faissNumber)))
        }
        _ = try reader.array("\(name)'s floats", of: UInt32.self, count: exactly(header.count * header.dimension))
        return IndexFileSummary(
            kind: .flat, metric: header.metric, count: header.count, dimension: header.dimension, holdsVectors: true)
    }

    /// IndexHNSWFlat: a header, the graph's arrays and five numbers, the storage.
    private static func hnsw(_ reader: inout IndexFileReader) throws(IndexFileFault) -> IndexFileSummary {
        let header = try header(&reader, "the graph")
        let count = Int64(header.count)
        _ = try reader.array("level probabilities", of: UInt64.self, count: 0...256)
        let ends = try reader.array("links per level", of: Int32.self, count: 2...257)
        let levels = try reader.array("levels", of: Int32.self, count: count...count)
        let offsets = try reader.array("offsets", of: UInt64.self, count: count + 1...count + 1)
        let total = offsets[offsets.count - 1]
        let links = try reader.array(
            "links", of: Int32.self, count: Int64(clamping: total)...Int64(clamping: total))
        let entry = try reader.read(
            "the entry point", as: Int32.self, in: count == 0 ? -1 ... -1 : 0...count - 1)
        let top = try reader.read(
            "the maximum level", as: Int32.self, in: count == 0 ? -1 ... -1 : 0...Int64(ends.count - 2))
        try reader.read("ef construction", as: Int32.self, in: 1...Int64(Int32.max))
        try reader.read("ef search", as: Int32.self, in: 1...Int64(Int32.max))
        _ = try reader.read("the upper beam", as: Int32.self)

        try checkLinks(ends: ends, levels: levels, offsets: offsets, links: links)
        if header.count > 0 {
            _ = try levels.checked(entry, in: Int64(top + 1)...Int64(top + 1))
        }

        let storage = try fourcc(&reader, "the graph's storage kind")
        switch storage {
        case "IxF2", "IxFI", "IxFl": _ = try flat(&reader, storage, "the storage", like: header)
        case "null": break
        default: throw .unsupportedKind("IHNf over \(storage)")
        }
        return IndexFileSummary(
            kind: .hnsw, metric: header.metric, count: header.count, dimension: header.dimension,
            holdsVectors: storage != "null")
    }

    private static func checkLinks(
        ends: IndexFileArray<Int32>, levels: IndexFileArray<Int32>, offsets: IndexFileArray<UInt64>,
        links: IndexFileArray<Int32>
    ) throws(IndexFileFault) {
        // A level has at most 65,536 links a row, so that no sum below overflows.
        _ = try ends.checked(0, in: 0...0)
        for level in 1..<ends.count {
            let before = Int64(ends[level - 1])
            _ = try ends.checked(level, in: before...before + 65_536)
        }
        _ = try offsets.checked(0, in: 0...0)
        let count = levels.count
        for row in 0..<count {
            let levelCount = try levels.checked(row, in: 1...Int64(ends.count - 1))
            let begin = Int(truncatingIfNeeded: offsets[row])
            let end = Int64(begin) + Int64(ends[levelCount])
            _ = try offsets.checked(row + 1, in: end...end)
            // That every offset follows from the one before bounds them all by the number of links, once the last
            // is compared with it; until then each is held against it here.
            guard end <= Int64(links.count) else {
                throw .entry(field: offsets.name, index: row + 1, got: end, allowed: 0...Int64(links.count))
            }
            var level = 0
            for place in 0..<Int(ends[levelCount]) {
                while place >= Int(ends[level + 1]) { level += 1 }
                let link = links[begin + place]
                guard link >= -1 && link < count else {
                    throw .entry(
                        field: links.name, index: begin + place, got: Int64(link), allowed: -1...Int64(count - 1))
                }
                if level > 0 && link >= 0 && Int(levels[Int(link)]) <= level {
                    throw .link(row: row, level: level, to: Int(link))
                }
            }
        }
    }

    /// IndexIVFFlat: a header, the number of lists and of probes, the centroids' index, the direct map, the lists.
    private static func ivfFlat(_ reader: inout IndexFileReader) throws(IndexFileFault) -> IndexFileSummary {
        let header = try header(&reader, "the inverted file")
        let listCount = try reader.read("the number of lists", as: UInt64.self, in: 1...rowRange.upperBound)
        let probeCount = try reader.read("nprobe", as: UInt64.self, in: 1...Int64.max)

        let quantizer = try fourcc(&reader, "the kind of the centroids' index")
        guard quantizer == "IxF2" || quantizer == "IxFI" || quantizer == "IxFl" else {
            throw .unsupportedKind("IwFl over \(quantizer)")
        }
        _ = try flat(
            &reader, quantizer, "the centroids' index",
            like: Header(count: listCount, dimension: header.dimension, metric: header.metric))
        let centroidsOffset = reader.offset - listCount * header.dimension * 4

        let map = try reader.read("the direct map's type", as: UInt8.self, in: 0...1)
        let mapCount = map == 0 ? 0 : Int64(header.count)
        _ = try reader.array("direct map entries", of: Int64.self, count: mapCount...mapCount)

        let storage = try fourcc(&reader, "the kind of the inverted lists")
        guard storage == "ilar" else { throw .unsupportedKind("IwFl with lists \(storage)") }
        try reader.read("the lists' count", as: UInt64.self, in: Int64(listCount)...Int64(listCount))
        let codeSize = Int64(header.dimension * 4)
        try reader.read("the lists' code size", as: UInt64.self, in: codeSize...codeSize)
        let sizes = try listSizes(&reader, listCount: listCount, rowCount: header.count)

        var seen = [Bool](repeating: false, count: header.count)
        var offsets: [Int] = []
        offsets.reserveCapacity(listCount)
        for list in 0..<listCount {
            offsets.append(reader.offset)
            guard sizes[list] > 0 else { continue }
            _ = try reader.elements(
                "the vectors of list \(list)", of: UInt32.self, count: sizes[list] * header.dimension)
            let rows = try reader.elements("the rows of list \(list)", of: Int64.self, count: sizes[list])
            for entry in 0..<rows.count {
                let row = try rows.checked(entry, in: 0...Int64(header.count - 1))
                guard !seen[row] else { throw .repeatedRow(row, list: list) }
                seen[row] = true
            }
        }
        return IndexFileSummary(
            kind: .ivfFlat, metric: header.metric, count: header.count, dimension: header.dimension,
            holdsVectors: true,
            lists: InvertedFileLayout(
                probeCount: probeCount, centroidsOffset: centroidsOffset, sizes: sizes, offsets: offsets))
    }

    /// Either all sizes ("full") or pairs of list and size ("sprs", if most lists are empty).
    private static func listSizes(
        _ reader: inout IndexFileReader, listCount: Int, rowCount: Int
    ) throws(IndexFileFault) -> [Int] {
        // `listCount` is no more than the centroids that the file holds, so that this cannot be absurd.
        var sizes = [Int](repeating: 0, count: listCount)
        let form = try fourcc(&reader, "the form of the list sizes")
        switch form {
        case "full":
            let all = try reader.array("list sizes", of: UInt64.self, count: Int64(listCount)...Int64(listCount))
            for list in 0..<listCount {
                sizes[list] = try all.checked(list, in: 0...Int64(rowCount))
            }
        case "sprs":
            let pairs = try reader.array("list sizes", of: UInt64.self, count: 0...2 * Int64(listCount))
            guard pairs.count % 2 == 0 else {
                let even = Int64(pairs.count - 1)
                throw .value(field: "the number of list sizes", got: even + 1, allowed: even...even)
            }
            for pair in stride(from: 0, to: pairs.count, by: 2) {
                let list = try pairs.checked(pair, in: 0...Int64(listCount - 1))
                sizes[list] = try pairs.checked(pair + 1, in: 0...Int64(rowCount))
            }
        default:
            throw .unsupportedKind("IwFl with list sizes \(form)")
        }
        let total = sizes.reduce(0, +)
        guard total == rowCount else {
            throw .value(
                field: "the sum of the list sizes", got: Int64(total), allowed: Int64(rowCount)...Int64(rowCount))
        }
        return sizes
    }
}
