internal import DaemonState
internal import Identifiers
internal import Memory
internal import Retrieval
internal import RetrievalAPI
internal import Snapshots
internal import Synchronization

/// Which items are paused, in every generation there is. What is paused is written to disk first, then in force, and only then
/// acknowledged. Whoever waits for the lock here has a normal priority; workers never do.
final class Pauses: Sendable {
    private let journal: PauseJournal
    private let state = Mutex(State())

    private struct State {
        /// Generations whose rows follow the pauses.
        var generations: [Generation] = []
        /// Grows with each change.
        var version = 0
        /// Changes since a generation that is being loaded was told what is paused; nil if none is.
        var pending: [(id: String, isPaused: Bool)]?
    }

    init(journal: PauseJournal) {
        self.journal = journal
    }

    /// All ids that are paused.
    var ids: [String] { journal.ids }
    var count: Int { journal.count }

    /// Pauses items. Returns those that were not paused before.
    func pause(_ ids: [String]) throws(StateError) -> [String] {
        try change(ids, isPaused: true)
    }

    /// Resumes items. Returns those that were paused before.
    func resume(_ ids: [String]) throws(StateError) -> [String] {
        try change(ids, isPaused: false)
    }

    private func change(_ ids: [String], isPaused: Bool) throws(StateError) -> [String] {
        try state.withLock { state throws(StateError) in
            let changed = isPaused ? try journal.pause(ids) : try journal.resume(ids)
            guard !changed.isEmpty else { return changed }
            for generation in state.generations {
                generation.apply(changed.map { ($0, isPaused) })
            }
            state.pending?.append(contentsOf: changed.map { ($0, isPaused) })
            return changed
        }
    }

    /// What a generation that is about to be made has to begin with. Changes from here on are kept for `follow`.
    func beginGeneration() -> [String] {
        state.withLock { $0.pending = [] }
        // Not under the lock, for which a pause would wait. A change that comes in between is in both, and made twice.
        return journal.ids
    }

    /// From here on the generation follows every change; those since `beginGeneration` are made up for.
    func follow(_ generation: Generation) {
        state.withLock {
            generation.apply($0.pending ?? [])
            $0.pending = nil
            $0.generations.append(generation)
        }
    }

    /// The generation that was begun came to nothing.
    func abandonGeneration() {
        state.withLock { $0.pending = nil }
    }

    /// The generation is to be destroyed.
    func forget(_ generation: Generation) {
        state.withLock { $0.generations.removeAll { $0 === generation } }
    }

    /// Takes back pauses of items that no published snapshot has any more. Those of items that are in memory are kept: their
    /// snapshot's files may be gone, and it serves all the same. Returns how many.
    func drop(_ ids: [String]) throws(StateError) -> Int {
        try state.withLock { state throws(StateError) in
            let generations = state.generations
            return try journal.drop(
                ids.filter { id in !generations.contains { $0.snapshot.items.ids.row(ofText: id) != nil } }
            ).count
        }
    }
}

extension Generation {
    /// Makes changes to the rows of items; ids that the snapshot does not have are left out.
    func apply(_ changes: [(id: String, isPaused: Bool)]) {
        let rows = changes.compactMap { change in
            snapshot.items.ids.row(ofText: change.id).map { PausedRows.Change(row: $0, isPaused: change.isPaused) }
        }
        if !rows.isEmpty { paused.append(rows) }
    }
}

extension Identifiers {
    /// The row of an id that is given as a text.
    func row(ofText id: String) -> Int? {
        var id = id
        return id.withUTF8 { row(of: Text(UnsafeRawBufferPointer($0))) }
    }
}
