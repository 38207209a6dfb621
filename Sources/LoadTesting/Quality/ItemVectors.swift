internal import Memory
internal import Safetensors

/// The vectors of a snapshot's items by row, read from the files themselves: `vectors` of items.safetensors, or the floats in
/// index.faiss, whose format is read here once more, without the server's reader.
struct ItemVectors: Sendable {
    let dimension: Int
    let count: Int
    // Keep the mapping that `base` points into.
    private let owners: [any Sendable & AnyObject]
    private nonisolated(unsafe) let base: UnsafeRawPointer
    /// Where each row's floats begin, in bytes from `base`; nil where rows lie end to end. (count)
    private let places: [Int]?

    /// Opens the vectors of a snapshot.
    init(_ schema: SnapshotSchema) throws(LoadTestError) {
        dimension = schema.dimension
        count = schema.itemCount
        let items = try schema.tensors("items.safetensors")
        if items.has("vectors") {
            do {
                base = UnsafeRawPointer(try items.floats("vectors", shape: [count, dimension]))
            } catch {
                throw .failed("\(schema.directory): \(error)")
            }
            owners = [items]
            places = nil
            return
        }
        let file: MappedFile
        do {
            file = try MappedFile(path: "\(schema.directory)/index.faiss")
        } catch {
            throw .failed(error.description)
        }
        guard let start = file.bytes.baseAddress,
            let places = FaissVectors(file.bytes, count: count, dimension: dimension).places
        else {
            throw .failed("\(file.path): holds no \(count) vectors of \(dimension) floats where such a file has them")
        }
        base = start
        owners = [file]
        self.places = places
    }

    /// A component of a row.
    @inline(__always)
    private func component(_ start: Int, _ index: Int) -> Double {
        Double(base.loadUnaligned(fromByteOffset: start + 4 * index, as: Float.self))
    }

    /// The inner product of a row and a vector, and the squared lengths of both.
    ///
    /// - vector: (dimension)
    func product(_ row: Int, _ vector: UnsafeBufferPointer<Double>) -> (product: Double, rowSquared: Double) {
        let start = places?[row] ?? row * dimension * 4
        var product = 0.0
        var squared = 0.0
        for index in 0..<dimension {
            let value = component(start, index)
            product += value * vector[index]
            squared += value * value
        }
        return (product, squared)
    }
}

/// Where a FAISS file keeps the floats of each row. What is damaged or of another kind has none.
///
/// The formats are those of `faiss/impl/index_write.cpp`, of which only what leads to the vectors is read: a flat index and a
/// graph over one end with all floats; an inverted file has them list by list, each followed by its rows.
struct FaissVectors {
    /// In bytes from the start of the file; nil if the file holds no such vectors. (count)
    let places: [Int]?

    init(_ bytes: UnsafeRawBufferPointer, count: Int, dimension: Int) {
        var reader = FaissReader(bytes: bytes)
        switch reader.word() {
        case "IxFI", "IxF2", "IxFl", "IHNf": places = Self.tail(bytes, count: count, dimension: dimension)
        case "IwFl": places = Self.lists(&reader, count: count, dimension: dimension)
        default: places = nil
        }
    }

    /// The floats are the last in the file, and their number stands before them.
    private static func tail(_ bytes: UnsafeRawBufferPointer, count: Int, dimension: Int) -> [Int]? {
        let start = bytes.count - 4 * count * dimension
        guard start >= 8, bytes.loadUnaligned(fromByteOffset: start - 8, as: UInt64.self) == UInt64(count * dimension)
        else { return nil }
        return (0..<count).map { start + 4 * $0 * dimension }
    }

    private static func lists(_ reader: inout FaissReader, count: Int, dimension: Int) -> [Int]? {
        guard reader.header(dimension: dimension) == count, let listCount = reader.number(), reader.number() != nil,
            ["IxFI", "IxF2"].contains(reader.word()), reader.header(dimension: dimension) == listCount,
            reader.skipVector(elementByteCount: 4), reader.byte() != nil, reader.skipVector(elementByteCount: 8),
            reader.word() == "ilar", reader.number() == listCount, reader.number() == 4 * dimension,
            let sizes = reader.listSizes(listCount)
        else { return nil }
        var places = [Int](repeating: -1, count: count)
        for size in sizes {
            let start = reader.position
            guard reader.skip(size, of: 4 * dimension) else { return nil }
            for entry in 0..<size {
                guard let row = reader.number(), row < count, places[row] < 0 else { return nil }
                places[row] = start + 4 * dimension * entry
            }
        }
        return places.contains(-1) ? nil : places
    }
}

/// Little-endian numbers one after the other; nil behind the end.
private struct FaissReader {
    let bytes: UnsafeRawBufferPointer
    var position = 0

    mutating func skip(_ count: Int, of byteCount: Int) -> Bool {
        let (product, overflow) = count.multipliedReportingOverflow(by: byteCount)
        guard count >= 0, !overflow, product <= bytes.count - position else { return false }
        position += product
        return true
    }

    private mutating func load<Value: BitwiseCopyable>(_ type: Value.Type) -> Value? {
        let start = position
        guard skip(1, of: MemoryLayout<Value>.size) else { return nil }
        return bytes.loadUnaligned(fromByteOffset: start, as: type)
    }

    /// Four letters.
    mutating func word() -> String {
        let start = position
        return skip(1, of: 4) ? String(decoding: bytes[start..<start + 4], as: UTF8.self) : ""
    }

    mutating func byte() -> UInt8? { load(UInt8.self) }

    /// A count of 64 bits.
    mutating func number() -> Int? { load(UInt64.self).flatMap { Int(exactly: $0) } }

    /// What every index begins with; how many vectors it says it has, or nil if they are of another dimension.
    mutating func header(dimension: Int) -> Int? {
        guard let stated = load(Int32.self), stated == Int32(dimension), let count = number(), skip(2, of: 8),
            byte() != nil, let metric = load(Int32.self), metric == 0 || metric == 1
        else { return nil }
        return count
    }

    mutating func skipVector(elementByteCount: Int) -> Bool {
        guard let count = number() else { return false }
        return skip(count, of: elementByteCount)
    }

    /// Either all sizes, or pairs of a list and its size for those that are not empty.
    mutating func listSizes(_ listCount: Int) -> [Int]? {
        let kind = word()
        guard let length = number(), length <= bytes.count / 8 else { return nil }
        var numbers: [Int] = []
        for _ in 0..<length {
            guard let value = number() else { return nil }
            numbers.append(value)
        }
        switch kind {
        case "full": return length == listCount ? numbers : nil
        case "sprs":
            guard length % 2 == 0, listCount <= bytes.count else { return nil }
            var sizes = [Int](repeating: 0, count: listCount)
            for place in stride(from: 0, to: length, by: 2) {
                guard numbers[place] < listCount else { return nil }
                sizes[numbers[place]] = numbers[place + 1]
            }
            return sizes
        default: return nil
        }
    }
}
