internal import Synchronization

/// What is known of each snapshot, for whoever asks from whatever thread.
final class SnapshotRecords: Sendable {
    private let records = Mutex<[String: SnapshotRecord]>([:])

    subscript(id: String) -> SnapshotRecord? { records.withLock { $0[id] } }

    /// By id.
    var sorted: [SnapshotRecord] { records.withLock { $0.values.sorted { $0.id < $1.id } } }

    func update(_ id: String, _ change: (inout SnapshotRecord) -> Void) {
        records.withLock { records in
            change(&records[id, default: SnapshotRecord(id: id)])
        }
    }

    /// Notes snapshots that have been published, and forgets those that have been removed and are not in use.
    ///
    /// - published: all there are in the directory.
    /// - others: ids that are kept as well.
    /// - followed: what `current` names, which is kept if it was refused.
    /// - Returns: which are new.
    func note(_ published: [String], others: [String], followed: String?) -> [String] {
        records.withLock { records in
            let new = published.filter { records[$0] == nil }
            for id in new { records[id] = SnapshotRecord(id: id) }
            let there = Set(published + others)
            records = records.filter { id, record in
                there.contains(id) || ![.found, .retired, .failed].contains(record.state)
                    || id == followed && record.state == .failed
            }
            return new
        }
    }

    /// A snapshot serves. Returns what its steps took; of one that was kept in memory, and not loaded again, the swap alone.
    func serves(_ id: String, swap cost: SnapshotRecord.Cost) -> [SnapshotRecord.Step: SnapshotRecord.Cost] {
        records.withLock { records in
            var record = records[id] ?? SnapshotRecord(id: id)
            let isBack = record.costs[.swap] != nil
            record.enter(.serving)
            record.costs[.swap] = cost
            records[id] = record
            return isBack ? [.swap: cost] : record.costs
        }
    }

    /// A snapshot's generation is no longer in memory.
    func destroyed(_ id: String, _ cost: SnapshotRecord.Cost) {
        records.withLock { records in
            // It may have been removed from the directory, or begun another life.
            guard let state = records[id]?.state, [.found, .retired, .failed].contains(state) else { return }
            records[id]?.costs[.destroy] = cost
            records[id]?.mark("destroyed")
        }
    }

    /// How many snapshots are in each state, and since when one of them serves, as far as that can be known without waiting:
    /// whoever asks may be a worker, and the loader thread, which has no time of its own, may hold the lock.
    func figures(serving id: String?) -> (counts: [SnapshotRecord.State: Int], servingSince: Int64?)? {
        records.withLockIfAvailable { records in
            (
                records.values.reduce(into: [:]) { $0[$1.state, default: 0] += 1 },
                id.flatMap { records[$0]?.times.first { $0.event == "serving" }?.unixMillis }
            )
        }
    }
}
