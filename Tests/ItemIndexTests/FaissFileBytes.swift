import Foundation

/// An index file's bytes and where its fields stand, so that tests can damage one field at a time. It follows the format
/// on its own, and not through the code under test.
struct FaissFileBytes {
    var bytes: [UInt8]
    /// Where the fields begin, by name.
    private(set) var places: [String: Int] = [:]

    init(path: String) throws {
        bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        var offset = 0
        func mark(_ name: String, _ size: Int) {
            places[name] = offset
            offset += size
        }
        func header(_ prefix: String) {
            mark(prefix + "fourcc", 4)
            mark(prefix + "dimension", 4)
            mark(prefix + "count", 8)
            mark(prefix + "unused", 16)
            mark(prefix + "trained", 1)
            mark(prefix + "metric", 4)
        }
        func array(_ name: String, _ size: Int) {
            let count = Int(integer(at: offset, as: Int64.self))
            mark(name + " count", 8)
            mark(name, count * size)
        }
        header("")
        switch String(decoding: bytes[0..<4], as: UTF8.self) {
        case "IHNf":
            array("probabilities", 8)
            array("level ends", 4)
            array("levels", 4)
            array("offsets", 8)
            array("links", 4)
            for name in ["entry point", "maximum level", "ef construction", "ef search", "upper beam"] { mark(name, 4) }
            header("storage ")
            array("storage floats", 4)
        case "IwFl":
            mark("lists", 8)
            mark("nprobe", 8)
            header("centroids ")
            array("centroid floats", 4)
            mark("direct map type", 1)
            array("direct map", 8)
            mark("lists fourcc", 4)
            mark("lists again", 8)
            mark("code size", 8)
            mark("sizes form", 4)
            array("sizes", 8)
            places["list data"] = offset
        default:
            array("floats", 4)
        }
    }

    func integer<Number: FixedWidthInteger>(at offset: Int, as: Number.Type) -> Number {
        bytes.withUnsafeBytes { Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Number.self)) }
    }

    func integer<Number: FixedWidthInteger>(_ name: String, as: Number.Type) -> Number {
        integer(at: place(name), as: Number.self)
    }

    /// Where a field begins.
    func place(_ name: String) -> Int {
        guard let place = places[name] else { fatalError("no field \(name)") }
        return place
    }

    /// Overwrites a field, or an element of an array.
    mutating func put<Number: FixedWidthInteger>(_ value: Number, _ name: String, element: Int = 0) {
        let begin = place(name) + element * MemoryLayout<Number>.size
        withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(begin..<begin + $0.count, with: $0) }
    }

    /// Leaves every row of a graph without links.
    mutating func cutAllLinks() {
        for link in 0..<Int(integer("links count", as: Int64.self)) {
            put(Int32(-1), "links", element: link)
        }
    }

    func write(to path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }
}
