import CFaiss
import CKernels

/// Builds a graph over vectors by our walks, with 8-bit codes where these tell neighbours apart, and hands it to FAISS.
final class GraphBuilder {
    private let index: FaissIndex
    private let vectors: belfry_vectors
    private let graph: belfry_faiss_graph
    private let links: GraphLinks
    private let efConstruction: Int
    private let codes: RowCodes?
    private let scratches: [SearchScratch]

    /// How many rows, spread over all, are looked at to see whether codes tell neighbours apart.
    private static let trialCount = 64

    /// Begins a graph with `links` a row, for building with so many threads.
    init(
        items: VectorFile, metric: Metric, links: Int, efConstruction: Int, threads: Int
    ) throws(IndexBuilderError) {
        var handle: OpaquePointer?
        let code = belfry_faiss_begin_graph(
            Int32(links), metric.faissNumber, items.values, items.count, items.dimension, Int32(efConstruction), &handle
        )
        var graph = belfry_faiss_graph()
        guard code == 0, let handle, belfry_faiss_get_graph(handle, &graph) == 0 else {
            throw .library(path: items.path, message: FaissIndex.message)
        }
        index = FaissIndex(owning: handle)
        self.graph = graph
        self.links = GraphLinks(emptyFor: graph, count: items.count)
        self.efConstruction = efConstruction
        vectors = belfry_vectors(
            values: belfry_faiss_vectors(handle), count: items.count, dimension: items.dimension,
            scorer: belfry_scorer_for(metric.kernelNumber, InstructionSet.best.kernelNumber),
            metric: metric.kernelNumber)
        let linkCount = 2 * links
        scratches = (0..<threads).map { _ in
            // One more, for the link that finds no room.
            SearchScratch(
                count: items.count, dimension: items.dimension, linkCount: linkCount + 1, listCount: 1,
                capacity: max(efConstruction, linkCount + 1))
        }
        codes = items.count > linkCount ? GraphBuilder.codes(vectors, linkCount, scratches[0]) : nil
    }

    /// Inserts all rows and returns the graph.
    ///
    /// - progress: called with how many are in, after every `step`.
    func build(step: Int, progress: (Int) -> Void) throws(IndexBuilderError) -> FaissIndex {
        guard vectors.count > 0 else { return index }
        let order = insertionOrder()
        let locks = LargeArray<UInt8>(count: vectors.count)
        let states = scratches.map { scratch in
            let state = UnsafeMutablePointer<belfry_search_scratch>.allocate(capacity: 1)
            state.initialize(to: scratch.state)
            return Optional(state)
        }
        defer {
            for (scratch, state) in zip(scratches, states) {
                if let state { scratch.state = state.move() }
                state?.deallocate()
            }
        }
        let status = withUnsafePointer(to: vectors) { vectors in
            var growing = belfry_growing_graph()
            growing.vectors = vectors
            growing.codes = codes.map(\.kernel)
            growing.graph = links.kernel
            growing.levels = graph.levels
            growing.ef_construction = efConstruction
            growing.locks = locks.base
            return withoutActuallyEscaping(progress) { progress in
                // C hands this pointer back to the callback; both live until the call returns.
                withUnsafePointer(to: Progress(report: progress)) { context in
                    belfry_grow_graph(
                        &growing, order, order.count, states, states.count, step,
                        { context, inserted in
                            // The entry point was in from the start.
                            context?.assumingMemoryBound(to: Progress.self).pointee.report(inserted + 1)
                            return 0
                        }, UnsafeMutableRawPointer(mutating: context))
                }
            }
        }
        guard status == 0 else { throw .thread(errno: status) }
        links.write(to: belfry_faiss_links(index.handle))
        return index
    }

    /// All rows but the entry point: those of higher levels first, else spread evenly over the file. Neighbours in a file tend to
    /// be neighbours in space, and a graph grown in their order has few long links.
    private func insertionOrder() -> [UInt32] {
        let rows = (0..<UInt32(vectors.count)).filter { $0 != UInt32(bitPattern: graph.entry_point) }
        let places = rows.map { row in
            // Lower levels have higher numbers; an odd factor gives every row a place of its own.
            (UInt64(graph.maximum_level + 1 - graph.levels[Int(row)]) << 32 | UInt64(row &* 0x9E37_79B1), row)
        }
        return places.sorted { $0.0 < $1.0 }.map(\.1)
    }

    /// Codes of the vectors, if they tell the nearest of a row apart.
    private static func codes(_ vectors: belfry_vectors, _ linkCount: Int, _ scratch: SearchScratch) -> RowCodes? {
        let codes = RowCodes(vectors: vectors, instructionSet: .best)
        let tellApart = codes.tellApart(
            neighbours: { row in
                withUnsafePointer(to: vectors) { vectors in
                    let found = belfry_search_all_rows(
                        vectors, nil, vectors.pointee.values + row * vectors.pointee.dimension, linkCount + 1, nil, 0,
                        &scratch.state)
                    return (0..<found).map { scratch.state.rows[$0] }.filter { $0 != UInt32(row) }
                }
            }, vectors: vectors)
        return tellApart ? codes : nil
    }

    private struct Progress {
        let report: (Int) -> Void
    }
}
