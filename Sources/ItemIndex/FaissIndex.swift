import CFaiss
import CKernels

/// Owns an index of FAISS.
final class FaissIndex: Sendable {
    /// The index; valid while the object lives.
    // Unsafe to share only if somebody wrote: nothing changes an index once it is read or built.
    nonisolated(unsafe) let handle: OpaquePointer

    /// Takes over a handle.
    init(owning handle: OpaquePointer) {
        self.handle = handle
    }

    /// Reads a file that `IndexFileCheck` has passed, and says whether it holds vectors.
    convenience init(reading path: String, holdsVectors: Bool) throws(ItemIndexError) {
        var handle: OpaquePointer?
        let code =
            holdsVectors
            ? belfry_faiss_read(path, &handle) : belfry_faiss_read_graph_without_vectors(path, &handle)
        guard code == 0, let handle else {
            throw .library(path: path, message: FaissIndex.message)
        }
        self.init(owning: handle)
    }

    deinit {
        belfry_faiss_free(handle)
    }

    /// Why the last call of FAISS on this thread failed.
    static var message: String {
        String(cString: belfry_faiss_last_error())
    }

    /// The graph's arrays, alive as long as the index.
    func graph(path: String) throws(ItemIndexError) -> belfry_faiss_graph {
        var graph = belfry_faiss_graph()
        guard belfry_faiss_get_graph(handle, &graph) == 0 else {
            throw .library(path: path, message: FaissIndex.message)
        }
        return graph
    }
}
