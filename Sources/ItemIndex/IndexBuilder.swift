import CFaiss

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Why an index was not built.
public enum IndexBuilderError: Error, CustomStringConvertible {
    /// k-means needs at least as many items as there are lists.
    case tooFewItems(count: Int, lists: Int)
    /// FAISS refused, or the file could not be written.
    case library(path: String, message: String)
    /// The system gave no thread.
    case thread(errno: Int32)

    /// One sentence.
    public var description: String {
        switch self {
        case .tooFewItems(let count, let lists): "\(count) items cannot be divided among \(lists) lists"
        case .library(let path, let message): "\(path): FAISS cannot build it: \(message)"
        case .thread(let errno): "cannot start a thread: \(String(cString: strerror(errno)))"
        }
    }
}

/// Builds index files as FAISS writes them: graphs with our walks, the rest with FAISS and our scans.
///
///     var builder = IndexBuilder(factory: .hnsw(links: 24))
///     builder.threads = 8
///     try builder.build(items: VectorFile(path: "items.fbin"), to: "index.faiss") { done, total in
///         print("\(done) of \(total)")
///     }
///
/// With one thread the same items give the same file; with more, a graph's links depend on who came first.
public struct IndexBuilder: Sendable {
    /// What is built.
    public var factory: IndexFactory
    /// The inner product by default (FAISS's own default is the squared distance).
    public var metric = Metric.innerProduct
    /// For graphs: how many candidates each item's links are chosen from. More builds slower and finds better.
    public var efConstruction = 120
    /// How many threads build.
    public var threads = 1

    /// Builds what `factory` says, by default with the inner product, efConstruction 120 and one thread.
    public init(factory: IndexFactory) {
        self.factory = factory
    }

    /// Builds an index over all items and writes it to `path`, by way of a new file beside it: written, synchronised,
    /// renamed.
    ///
    /// Of a graph, the items that FAISS leaves out of a walk's reach are linked before it is written; what was done is
    /// returned, nil for the other kinds.
    ///
    /// - progress: called with the items that are in the index and the items there are, after each of at most 64 slices
    ///   of 16,384 items or more.
    @discardableResult
    public func build(
        items: VectorFile, to path: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) throws(IndexBuilderError) -> GraphRepair? {
        precondition(efConstruction >= 1 && efConstruction <= 1 << 20, "efConstruction \(efConstruction)")
        precondition(threads >= 1 && threads <= 1024, "\(threads) threads")
        if case .ivfFlat(let lists) = factory, items.count < lists {
            throw .tooFewItems(count: items.count, lists: lists)
        }
        let built = try index(items, path, progress)
        let repair = try repair(built, items, path)
        guard belfry_faiss_write(built.handle, path) == 0 else {
            throw .library(path: path, message: FaissIndex.message)
        }
        return repair
    }

    private func index(_ items: VectorFile, _ path: String, _ progress: (Int, Int) -> Void) throws(IndexBuilderError)
        -> FaissIndex
    {
        if case .hnsw(let links) = factory {
            let builder = try GraphBuilder(
                items: items, metric: metric, links: links, efConstruction: efConstruction, threads: threads)
            return try builder.build(step: max(items.count / 64, 16_384)) { progress($0, items.count) }
        }
        let built = withoutActuallyEscaping(progress) { progress in
            var handle: OpaquePointer?
            // C hands this pointer back to the callback; both live until the call returns.
            let code = withUnsafePointer(to: Progress(report: progress)) { context in
                belfry_faiss_build(
                    factory.description, metric.faissNumber, items.values, items.count, items.dimension,
                    Int32(efConstruction), Int32(threads),
                    { context, done, total in
                        context?.assumingMemoryBound(to: Progress.self).pointee.report(done, total)
                        return 0
                    }, UnsafeMutableRawPointer(mutating: context), &handle)
            }
            return code == 0 ? handle.map(FaissIndex.init(owning:)) : nil
        }
        guard let built else { throw .library(path: path, message: FaissIndex.message) }
        return built
    }

    private func repair(_ built: FaissIndex, _ items: VectorFile, _ path: String) throws(IndexBuilderError)
        -> GraphRepair?
    {
        guard case .hnsw = factory else { return nil }
        do throws(ItemIndexError) {
            return try GraphMender.mend(built, items: items, metric: metric, path: path)
        } catch {
            throw .library(path: path, message: FaissIndex.message)
        }
    }

    private struct Progress {
        let report: (Int, Int) -> Void
    }
}
