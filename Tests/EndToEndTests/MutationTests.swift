import Foundation
import TestSupport
import Testing

/// Valid requests, damaged at random from a seed, over connections that stay open.
@Suite struct MutationTests {
    private static let paths = ["/v1/retrieve", "/v1/embed", "/v1/score"]
    private static let statuses: Set = [200, 400, 404, 409, 413, 415, 422, 501, 504]
    private static let fragments = [
        "null", "true", "-1", "0", "1e999", "18446744073709551615", "\"\"", "[]", "{}", "[[[[", "\"\\ud800\"", "\u{0}",
        "\"user\":{},", "\"k\":1,", "\"exclude\":[1,\"2\"],", "\"strict\":true,", "\"explain\":true,",
        "\"format\":\"columns\",", "\"search\":{\"exact\":true},", "\"timeout_ms\":1,", ",", ":", "}", "]", "\"",
    ]

    private static func seeds(_ fixture: String) throws -> [(path: String, body: [UInt8])] {
        let golden = try GoldenReplies(snapshot: Fixtures.path(fixture))
        var seeds: [(String, [UInt8])] = []
        for line in golden.lines.prefix(12) {
            var request = line.request
            request["k"] = 5
            request["exclude"] = Array(line.ids.prefix(3))
            request["search"] = ["exact": true]
            request["request_id"] = "r-1"
            seeds.append((paths[0], try bytes(request)))
            let user: [String: Any] = ["user": request["user"]!, "context": line.request["context"] ?? [:]]
            seeds.append((paths[1], try bytes(user)))
            seeds.append((paths[1], try bytes(["requests": [user, user]])))
            seeds.append((paths[2], try bytes(user.merging(["items": Array(line.ids.prefix(5))]) { a, _ in a })))
        }
        return seeds
    }

    private static func bytes(_ object: [String: Any]) throws -> [UInt8] {
        Array(try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys]))
    }

    private static func mutate(_ body: inout [UInt8], with other: [UInt8], _ random: inout SeededRandom) {
        for _ in 0...random.below(3) {
            guard !body.isEmpty else { return }
            let place = random.below(body.count)
            switch random.below(8) {
            case 0: body[place] ^= 1 << UInt8(random.below(8))
            case 1: body[place] = UInt8(random.below(256))
            case 2: body.removeSubrange(place..<min(body.count, place + 1 + random.below(20)))
            case 3: body = Array(body[..<place])
            case 4: body.insert(contentsOf: Array(random.element(fragments).utf8), at: place)
            case 5:
                let start = random.below(other.count)
                body.insert(contentsOf: other[start..<min(other.count, start + random.below(60))], at: place)
            case 6:
                // A value in place of another: after a colon, up to what ends it.
                guard let colon = body[place...].firstIndex(of: UInt8(ascii: ":")) else { continue }
                let end = body[(colon + 1)...].firstIndex { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "}") }
                body.replaceSubrange((colon + 1)..<(end ?? body.count), with: Array(random.element(fragments).utf8))
            default:
                let length = 1 + random.below(30)
                let end = min(body.count, place + length)
                body.insert(contentsOf: body[place..<end], at: random.below(body.count))
            }
        }
    }

    @Test(arguments: ["cs3-one-cycle", "cs3-three-cycles"])
    func answersDamagedRequestsWithAStatusOfTheContract(_ fixture: String) throws {
        let count = Repetitions.count(2000, long: 100_000)
        let seeds = try Self.seeds(fixture)
        let daemon = try Daemon(snapshot: Fixtures.path(fixture))
        let before = try daemon.post(seeds[0].path, String(decoding: seeds[0].body, as: UTF8.self))
        #expect(before.status == 200)
        var random = SeededRandom(seed: 20_261_121)
        var connections = try (0..<4).map { _ in try daemon.connect() }
        var seen: [Int: Int] = [:]
        for round in 0..<count {
            let seed = random.element(seeds)
            var body = seed.body
            Self.mutate(&body, with: random.element(seeds).body, &random)
            let path = random.below(20) == 0 ? random.element(Self.paths) : seed.path
            let type = random.below(40) == 0 ? "text/json" : "application/json"
            let head =
                "POST \(path) HTTP/1.1\r\nHost: belfry\r\nContent-Type: \(type)\r\nContent-Length: \(body.count)\r\n\r\n"
            let index = random.below(connections.count)
            connections[index].write(Data(head.utf8) + Data(body))
            let reply: Daemon.Reply
            do {
                reply = try connections[index].readReply()
            } catch {
                Issue.record("round \(round): \(error) for \(path) \(String(decoding: body, as: UTF8.self))")
                guard daemon.isRunning else { return }
                connections[index] = try daemon.connect()
                continue
            }
            seen[reply.status, default: 0] += 1
            let isWellFormed =
                reply.status == 200
                ? reply.isJSON : reply.problem != nil && reply.json["status"] as? Int == reply.status
            #expect(
                Self.statuses.contains(reply.status) && isWellFormed,
                "round \(round): \(reply.status) for \(path) \(String(decoding: body, as: UTF8.self))")
            if reply.headers["connection"] == "close" { connections[index] = try daemon.connect() }
        }
        #expect(seen[200, default: 0] > count / 50 && seen[400, default: 0] > count / 50 && seen[422, default: 0] > 0)
        let after = try daemon.post(seeds[0].path, String(decoding: seeds[0].body, as: UTF8.self))
        #expect(after.body == before.body)
        #expect(daemon.terminate() == 0)
    }
}
