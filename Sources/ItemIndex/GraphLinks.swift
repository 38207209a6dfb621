import CFaiss
import CKernels

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A graph's links in arrays of our own. In FAISS's one array a row's links begin where those of all rows before it end, on
/// whichever levels they are, so a walk must fetch an offset before it can ask for links; and no row begins at a cache line.
/// Here level 0 is a table.
final class GraphLinks: @unchecked Sendable {
    // Both written only while a graph is read or built.
    private let links: LargeArray<Int32>
    private let upperLinks: LargeArray<Int32>
    private let arrays: belfry_faiss_graph
    private let count: Int

    /// Room for the links of FAISS's graph, whose other arrays must outlive this.
    private init(_ arrays: belfry_faiss_graph, count: Int) {
        self.arrays = arrays
        self.count = count
        links = LargeArray(count: count * Int(arrays.level_ends[1]))
        upperLinks = LargeArray(count: arrays.neighbour_count - links.count)
    }

    /// Takes the links over from FAISS, whose array is empty after: its memory goes back to the system piece by piece, so that
    /// links never stand twice.
    convenience init(takingOver arrays: belfry_faiss_graph, count: Int) {
        self.init(arrays, count: count)
        let pieceSize = 1 << 16
        for first in stride(from: 0, to: count, by: pieceSize) {
            let end = min(first + pieceSize, count)
            withUnsafePointer(to: kernel) { belfry_copy_links_from(arrays.neighbours, $0, first, end) }
            let bytes = UnsafeRawPointer(arrays.neighbours + arrays.offsets[first])
            discard(bytes, byteCount: (arrays.offsets[end] - arrays.offsets[first]) * MemoryLayout<Int32>.stride)
        }
    }

    /// No links yet.
    convenience init(emptyFor arrays: belfry_faiss_graph, count: Int) {
        self.init(arrays, count: count)
        links.base.update(repeating: -1, count: links.count)
        upperLinks.base.update(repeating: -1, count: upperLinks.count)
    }

    /// Writes them to FAISS's array.
    func write(to neighbours: UnsafeMutablePointer<Int32>) {
        withUnsafePointer(to: kernel) { belfry_copy_links_to(neighbours, $0, count) }
    }

    /// The graph with these links; valid while this lives and FAISS's index does.
    var kernel: belfry_graph {
        belfry_graph(
            links: links.base, upper_links: upperLinks.base, offsets: arrays.offsets, level_ends: arrays.level_ends,
            entry_point: arrays.entry_point, maximum_level: arrays.maximum_level)
    }

    /// A row's links of level 0.
    func neighbours(_ row: Int) -> [UInt32] {
        let room = Int(arrays.level_ends[1])
        return UnsafeBufferPointer(start: links.base + row * room, count: room).prefix { $0 >= 0 }.map(UInt32.init)
    }

    /// How much memory they take, in bytes.
    var byteCount: Int { (links.count + upperLinks.count) * MemoryLayout<Int32>.stride }
}

/// Gives the whole pages within memory that is not read again back to the system.
private func discard(_ start: UnsafeRawPointer, byteCount: Int) {
    let pageSize = UInt(4096)
    let first = (UInt(bitPattern: start) + pageSize - 1) & ~(pageSize - 1)
    let end = (UInt(bitPattern: start) + UInt(byteCount)) & ~(pageSize - 1)
    guard end > first, let address = UnsafeMutableRawPointer(bitPattern: first) else { return }
    _ = madvise(address, Int(end - first), MADV_DONTNEED)
}
