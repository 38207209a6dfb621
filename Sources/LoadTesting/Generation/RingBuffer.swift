/// The free connections, longest free first, so that all of them take turns.
struct RingBuffer {
    private var elements: [Int]
    private var head = 0
    private var count = 0

    init(capacity: Int) {
        elements = [Int](repeating: 0, count: max(1, capacity))
    }

    @inline(__always)
    mutating func append(_ element: Int) {
        var tail = head + count
        if tail >= elements.count { tail -= elements.count }
        elements[tail] = element
        count += 1
    }

    @inline(__always)
    mutating func popFirst() -> Int? {
        guard count > 0 else { return nil }
        let element = elements[head]
        head += 1
        if head == elements.count { head = 0 }
        count -= 1
        return element
    }

    /// Takes one out of the middle. Complexity: O(n).
    mutating func remove(_ element: Int) {
        for _ in 0..<count {
            let first = popFirst()!
            if first != element { append(first) }
        }
    }
}
