/// Makes answers to `POST /v1/retrieve`: each user has a list of items that follows from the user's id alone.
///
/// Item number r of a user has the score 0.999 - r * 0.000005. Excluded items are left out. Unless the search is exact, of
/// each ten items that are left the last `missedOfTen` are missed, as an approximate search would.
struct RetrievalAnswer {
    private struct Item {
        var number: Int
        var scoreMillionths: Int
    }

    /// How many items there are.
    static let catalogueCount = 1_000_003
    private var items: [Item] = []
    private var excluded: [Range<Int>] = []

    init() {
        items.reserveCapacity(10_000)
    }

    /// Appends the JSON; whether the fault was put in.
    mutating func append(
        to output: inout ByteQueue, request: UnsafeBufferPointer<UInt8>, snapshot: String, missedOfTen: Int,
        fault: Behaviour.RetrievalFault?
    ) -> Bool {
        let k =
            RetrievalAnswer.value(of: "\"k\"", in: request).map { RetrievalAnswer.number(in: request, at: $0) } ?? 100
        let exact =
            RetrievalAnswer.value(of: "\"exact\"", in: request).map { request[$0] == UInt8(ascii: "t") } ?? false
        var user: UInt64 = 0xCBF2_9CE4_8422_2325
        if let member = request.position(of: "\"user\""),
            let id = RetrievalAnswer.string(of: "\"id\"", in: request, from: member)
        {
            for byte in request.slice(id) { user = (user ^ UInt64(byte)) &* 0x100_0000_01B3 }
        }
        readExcluded(request)
        collect(
            k: k, user: Int(user % UInt64(RetrievalAnswer.catalogueCount)), request, missed: exact ? 0 : missedOfTen)

        var isFaulty = fault != nil
        var substitute: Range<Int>?
        switch fault {
        case .unsorted where items.count > 1: items.append(items.removeFirst())
        case .duplicate where items.count > 1: items[1] = items[0]
        case .excluded where !items.isEmpty && !excluded.isEmpty: substitute = excluded[0]
        case .count where !items.isEmpty: items.removeLast()
        case .score where !items.isEmpty: items[0].scoreMillionths += 10_000
        case .snapshot: break
        default: isFaulty = false
        }

        output.append("{")
        if let id = RetrievalAnswer.string(of: "\"request_id\"", in: request, from: 0) {
            output.append("\"request_id\":\"")
            output.append(request.slice(id))
            output.append("\",")
        }
        if fault == .snapshot {
            output.append("\"snapshot\":{\"model\":\"default\",\"id\":\"another\",\"space_id\":\"s\"},")
        }
        output.append("\"snapshot\":{\"model\":\"default\",\"id\":\"")
        output.append(snapshot)
        output.append("\",\"space_id\":\"s\"},\"items\":[")
        for index in items.indices {
            output.append(index == 0 ? "{\"id\":\"" : ",{\"id\":\"")
            if index == 0, let substitute {
                output.append(request.slice(substitute))
            } else {
                output.append("i")
                output.append(items[index].number)
            }
            output.append("\",\"score\":")
            output.append(items[index].scoreMillionths / 1_000_000)
            output.append(".")
            output.append(items[index].scoreMillionths % 1_000_000, digits: 6)
            output.append("}")
        }
        output.append("],\"cold_start\":false,\"degraded\":[]}")
        return isFaulty
    }

    private mutating func collect(k: Int, user: Int, _ request: UnsafeBufferPointer<UInt8>, missed: Int) {
        items.removeAll(keepingCapacity: true)
        var rank = 0
        var eligible = 0
        while items.count < min(k, 10_000), rank < 199_000 {
            let item = Item(
                number: (user + rank * 7919) % RetrievalAnswer.catalogueCount, scoreMillionths: 999_000 - 5 * rank)
            rank += 1
            if !excluded.isEmpty, isExcluded(item.number, request) { continue }
            if eligible % 10 < 10 - missed { items.append(item) }
            eligible += 1
        }
    }

    private func isExcluded(_ number: Int, _ request: UnsafeBufferPointer<UInt8>) -> Bool {
        excluded.contains { range in
            guard request[range.lowerBound] == UInt8(ascii: "i") else { return false }
            var value = 0
            for byte in request.slice((range.lowerBound + 1)..<range.upperBound) {
                guard byte &- 48 < 10, value < 1 << 40 else { return false }
                value = value * 10 + Int(byte &- 48)
            }
            return value == number
        }
    }

    private mutating func readExcluded(_ request: UnsafeBufferPointer<UInt8>) {
        excluded.removeAll(keepingCapacity: true)
        guard let list = RetrievalAnswer.value(of: "\"exclude\"", in: request), request[list] == UInt8(ascii: "["),
            let end = request.position(of: "]", from: list)
        else { return }
        var position = list
        while let open = request.position(of: "\"", from: position), open < end,
            let shut = request.position(of: "\"", from: open + 1), shut < end
        {
            if shut > open + 1 { excluded.append((open + 1)..<shut) }
            position = shut + 1
        }
    }

    /// Where the value of a member starts.
    private static func value(of key: StaticString, in request: UnsafeBufferPointer<UInt8>, from: Int = 0) -> Int? {
        var from = from
        while let found = request.position(of: key, from: from) {
            var position = found + key.utf8CodeUnitCount
            while position < request.count, request[position] == 32 { position += 1 }
            if position < request.count, request[position] == UInt8(ascii: ":") {
                position += 1
                while position < request.count, request[position] == 32 { position += 1 }
                return position < request.count ? position : nil
            }
            from = found + 1
        }
        return nil
    }

    private static func string(of key: StaticString, in request: UnsafeBufferPointer<UInt8>, from: Int) -> Range<Int>? {
        guard let start = value(of: key, in: request, from: from), request[start] == UInt8(ascii: "\""),
            let end = request.position(of: "\"", from: start + 1)
        else { return nil }
        return (start + 1)..<end
    }

    private static func number(in request: UnsafeBufferPointer<UInt8>, at start: Int) -> Int {
        var value = 0
        for byte in request[start...] {
            guard byte &- 48 < 10, value < 1 << 40 else { break }
            value = value * 10 + Int(byte &- 48)
        }
        return value
    }
}
