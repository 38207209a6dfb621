#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Zeros to begin with, in pages of 2 MB where the system has them; begins at a page. Written while it is built and only
/// read after.
final class LargeArray<Element: BitwiseCopyable>: @unchecked Sendable {
    let base: UnsafeMutablePointer<Element>
    let count: Int
    private let byteCount: Int

    /// Traps if there is no memory for it.
    init(count: Int) {
        self.count = count
        // Room for a vector load behind the last element.
        byteCount = (count * MemoryLayout<Element>.stride + 64 + 4095) & ~4095
        let mapping = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let mapping, mapping != MAP_FAILED else {
            fatalError("no memory for \(byteCount) bytes of an index")
        }
        // Before the first write, so that large pages are there from the start.
        _ = madvise(mapping, byteCount, MADV_HUGEPAGE)
        base = mapping.bindMemory(to: Element.self, capacity: max(count, 1))
    }

    deinit {
        releaseGradually(base, byteCount: byteCount)
        munmap(base, byteCount)
    }
}

extension LargeArray<Float> {
    /// The greatest magnitude among the elements; 0 if there are none.
    var largestMagnitude: Float { UnsafeBufferPointer(start: base, count: count).reduce(0) { max($0, abs($1)) } }
}
