import CKernels

/// What a long search lets through while it lasts.
public protocol SearchYielding: AnyObject {
    /// Called by the thread that searches.
    func letOthers()
}

/// The memory of one worker's searches in one index: visited marks, heaps, and the hits of the last search. Not for two
/// threads at once.
///
/// It is allocated lazily by the system: of the marks (2 bytes an item), the frontier (8 bytes an item) and the candidates (8 bytes
/// for each fourth item) only those pages use memory that a search has reached.
public final class SearchScratch {
    var state: belfry_search_scratch
    private let count: Int
    private let listCount: Int
    private let dimension: Int
    private unowned(unsafe) var others: (any SearchYielding)?

    /// Allocates for an index, for at first `capacity` as the largest of k, ef and nprobe; it grows when a search wants more.
    public convenience init(for index: ItemIndex, capacity: Int = 1024) {
        self.init(
            count: index.count, dimension: index.dimension, linkCount: index.maximumLinkCount,
            listCount: index.listCount,
            capacity: capacity)
    }

    /// Allocates for searches among `count` vectors, with up to `linkCount` links a row on one level, or in `listCount` lists.
    init(count: Int, dimension: Int, linkCount: Int, listCount: Int, capacity: Int) {
        self.count = count
        self.dimension = dimension
        self.listCount = listCount
        // A walk lists the links of two rows while it has those of two others.
        let linkCapacity = max(4 * linkCount, Int(BELFRY_SCAN_BLOCK))
        state = belfry_search_scratch()
        // calloc and not malloc with a loop: large blocks come as zero pages that nobody has touched.
        state.marks = SearchScratch.zeros(count)
        state.frontier = SearchScratch.zeros(count + 1)
        state.links = SearchScratch.zeros(linkCapacity)
        state.link_scores = SearchScratch.zeros(linkCapacity)
        state.link_capacity = linkCapacity
        state.probes = SearchScratch.zeros(listCount)
        state.probe_scores = SearchScratch.zeros(listCount)
        guard let weights = aligned_alloc(64, (dimension + 63) / 64 * 64) else {
            fatalError("no memory for a query of \(dimension) components")
        }
        state.weights = weights.assumingMemoryBound(to: Int8.self)
        state.is_complete = 1
        reserve(min(capacity, count))
    }

    deinit {
        free(state.marks)
        free(state.frontier)
        free(state.links)
        free(state.link_scores)
        free(state.probes)
        free(state.probe_scores)
        free(state.weights)
        freeKept()
    }

    /// Has the marks in memory, so that the first walks need not wait for zero pages. Before the first search.
    public func touch() {
        memset(state.marks, 0, count * MemoryLayout.size(ofValue: state.marks[0]))
    }

    /// Makes room for searches whose k, ef and nprobe are at most `kept`, so that they do not allocate.
    public func reserve(_ kept: Int) {
        let capacity = 2 * kept + 64
        guard state.collected == nil || capacity > state.capacity else { return }
        freeKept()
        // Of the candidates, the pages beyond the usual are touched by exact searches only.
        state.candidate_capacity = belfry_search_candidates(kept, max(count, listCount))
        state.candidate_scores = SearchScratch.zeros(state.candidate_capacity)
        state.candidate_positions = SearchScratch.zeros(state.candidate_capacity)
        state.collected = SearchScratch.zeros(capacity)
        state.spare = SearchScratch.zeros(capacity)
        state.rows = SearchScratch.zeros(capacity)
        state.scores = SearchScratch.zeros(capacity)
        state.capacity = capacity
    }

    /// Has searches call `others` every 20 us or so and go on when it returns, until told otherwise. Nothing is retained: who sets it
    /// takes it back.
    ///
    /// - others: must not search with this scratch; nil for no more calls.
    public func yield(to others: (any SearchYielding)?) {
        self.others = others
        state.yield_context = Unmanaged.passUnretained(self).toOpaque()
        state.yield =
            others == nil
            ? nil
            : { context in
                // Of a scratch that searches, so it is alive.
                Unmanaged<SearchScratch>.fromOpaque(context!).takeUnretainedValue().others?.letOthers()
            }
    }

    private func freeKept() {
        free(state.candidate_scores)
        free(state.candidate_positions)
        free(state.collected)
        free(state.spare)
        free(state.rows)
        free(state.scores)
    }

    /// Whether every array is as long as a search in this index needs it. The size of the catalogue alone is not enough:
    /// the next version of a model may have as many items and longer lists of links.
    func fits(_ index: ItemIndex) -> Bool {
        count == index.count && dimension == index.dimension && listCount >= index.listCount
            && state.link_capacity >= 4 * index.maximumLinkCount
    }

    private static func zeros<Element: BitwiseCopyable>(_ count: Int) -> UnsafeMutablePointer<Element> {
        guard let base = calloc(max(count, 1), MemoryLayout<Element>.stride) else {
            fatalError("no memory for \(count) x \(MemoryLayout<Element>.stride) bytes of search scratch")
        }
        return base.bindMemory(to: Element.self, capacity: max(count, 1))
    }
}

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif
