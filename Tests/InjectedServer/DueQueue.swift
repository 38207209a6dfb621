/// Replies that wait for their instant: a binary heap, the earliest on top. O(log n) each.
struct DueQueue: ~Copyable {
    struct Entry {
        var due: UInt64
        var descriptor: Int32
        /// The connection's use of the descriptor; an entry of an earlier one is void.
        var generation: UInt32
    }

    private var entries: [Entry] = []

    init() {
        entries.reserveCapacity(4096)
    }

    /// When the earliest is due; `UInt64.max` if there is none.
    var earliest: UInt64 { entries.first?.due ?? .max }

    mutating func insert(_ entry: Entry) {
        entries.append(entry)
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if entries[parent].due <= entries[child].due { break }
            entries.swapAt(parent, child)
            child = parent
        }
    }

    mutating func removeEarliest() -> Entry {
        let top = entries[0]
        let last = entries.removeLast()
        guard !entries.isEmpty else { return top }
        entries[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            if child >= entries.count { break }
            if child + 1 < entries.count, entries[child + 1].due < entries[child].due { child += 1 }
            if entries[parent].due <= entries[child].due { break }
            entries.swapAt(parent, child)
            parent = child
        }
        return top
    }
}
