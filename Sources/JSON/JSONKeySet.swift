internal import Memory

/// Finds keys that stand twice in one object: the parser keeps them, and what a reader then takes is a matter of
/// luck. It keeps the memory it needed, so that a worker that has seen its largest object does not allocate again.
public struct JSONKeySet: ~Copyable {
    private struct Slot {
        var round: UInt64
        var hash: UInt64
        var key: Text
    }

    /// Up to so many keys every pair is compared, which is faster than hashing them.
    private static let pairwiseMaximum = 12

    /// Open addressing; a slot is taken if its round is the current one. (power of two)
    private var slots: [Slot] = []
    private var round: UInt64 = 0
    /// Chosen by chance, so that no request can be made to collide.
    private let seed: (UInt64, UInt64)

    /// Creates an empty set.
    public init() {
        var generator = SystemRandomNumberGenerator()
        seed = (generator.next() | 1, generator.next() | 1)
    }

    /// The first value in `document`, or anywhere inside it, whose key stands before it in the same object.
    /// Complexity: O(n).
    public mutating func firstDuplicate(in document: JSONValue) -> JSONValue? {
        // The tape is flat: every word that begins an object is visited without a stack.
        var index = document.index
        let end = document.end
        while index < end {
            let value = document.value(at: index)
            switch value.letter {
            case UInt8(ascii: "{"):
                if let duplicate = firstDuplicate(ofMembersOf: JSONObject(value: value)) {
                    return duplicate
                }
                index += 1
            case UInt8(ascii: "l"), UInt8(ascii: "u"), UInt8(ascii: "d"):
                index += 2
            default:
                index += 1
            }
        }
        return nil
    }

    private mutating func firstDuplicate(ofMembersOf object: JSONObject) -> JSONValue? {
        let count = object.count
        if count < 2 {
            return nil
        }
        if count <= JSONKeySet.pairwiseMaximum {
            for (position, member) in object.enumerated() {
                for earlier in object.prefix(position) where earlier.key == member.key {
                    return member.value
                }
            }
            return nil
        }
        round += 1
        if slots.count < 2 * count {
            var capacity = 64
            while capacity < 2 * count { capacity *= 2 }
            slots = Array(repeating: Slot(round: 0, hash: 0, key: Text("")), count: capacity)
        }
        let mask = slots.count - 1
        for (key, value) in object {
            let hash = hash(of: key)
            var slot = Int(truncatingIfNeeded: hash) & mask
            while slots[slot].round == round {
                if slots[slot].hash == hash && slots[slot].key == key {
                    return value
                }
                slot = (slot + 1) & mask
            }
            slots[slot] = Slot(round: round, hash: hash, key: key)
        }
        return nil
    }

    /// Folds the key eight bytes at a time with a full multiplication by the secret seed.
    private func hash(of key: Text) -> UInt64 {
        var state = seed.0 ^ UInt64(key.byteCount)
        var bytes = key.bytes[...]
        while !bytes.isEmpty {
            var word: UInt64 = 0
            for byte in bytes.prefix(8) {
                word = word << 8 | UInt64(byte)
            }
            let product = (state ^ word).multipliedFullWidth(by: seed.1)
            state = product.high ^ product.low ^ seed.0
            bytes = bytes.dropFirst(8)
        }
        return state
    }
}
