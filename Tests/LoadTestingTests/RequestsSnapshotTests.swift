import Foundation
import LoadTesting
import Safetensors
import TestSupport
import Testing

@Suite struct RequestsSnapshotTests {
    private static let demo = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("models/demo").path

    private func json(_ request: LoadRequest) throws -> [String: Any] {
        try JSONSerialization.jsonObject(with: Data(request.body.utf8)) as! [String: Any]
    }

    private func userID(_ request: LoadRequest) throws -> String {
        (try json(request)["user"] as! [String: Any])["id"] as! String
    }

    /// The texts of a column, read with the tests' own arithmetic.
    private func texts(_ file: String, _ name: String) throws -> [String] {
        let file = try SafetensorsFile(path: file)
        let count = file.tensors["\(name).offsets"]!.shape[0] - 1
        let (bytes, offsets) = try file.texts(name, count: count)
        return withExtendedLifetime(file) {
            (0..<count).map { String(decoding: bytes[Int(offsets[$0])..<Int(offsets[$0 + 1])], as: UTF8.self) }
        }
    }

    @Test func theSameSeedGivesTheSameBytes() throws {
        let one = try SnapshotRequests(directory: Self.demo, options: .init(excludingShare: 0.5))
        let two = try SnapshotRequests(directory: Self.demo, options: .init(excludingShare: 0.5))
        #expect(one.snapshotID == "demo")
        #expect(one.draw(500, seed: 3) == two.draw(500, seed: 3))
        #expect(one.draw(500, seed: 3) != one.draw(500, seed: 4))
        #expect(Array(one.draw(500, seed: 3).prefix(100)) == one.draw(100, seed: 3))
    }

    /// With exponent 1 over 1500 users the most frequent asks 1 / H(1500) = 0.1266 of the time and the second half as often;
    /// four deviations of 20,000 draws are 0.0094 and 0.0069.
    @Test func usersAskByZipf() throws {
        let options = SnapshotRequests.Options(zipfExponent: 1, unknownUserShare: 0)
        let users = try SnapshotRequests(directory: Self.demo, options: options).draw(20_000, seed: 1).map(userID)
        let known = Set(try texts("\(Self.demo)/users.safetensors", "ids"))
        #expect(known.count == 1500)
        #expect(Set(users).isSubset(of: known))
        let counts = Dictionary(users.map { ($0, 1) }, uniquingKeysWith: +).values.sorted(by: >)
        #expect(abs(Double(counts[0]) / 20_000 - 0.1266) < 0.0094)
        #expect(abs(Double(counts[1]) / 20_000 - 0.0633) < 0.0069)
    }

    /// 40 users, 500 times each: four deviations are 88.
    @Test func exponentZeroIsUniformAndUsersLimits() throws {
        let options = SnapshotRequests.Options(userCountMax: 40, zipfExponent: 0, unknownUserShare: 0)
        let users = try SnapshotRequests(directory: Self.demo, options: options).draw(20_000, seed: 1).map(userID)
        let counts = Dictionary(users.map { ($0, 1) }, uniquingKeysWith: +)
        #expect(counts.count == 40)
        #expect(counts.values.allSatisfy { abs($0 - 500) < 88 })
    }

    /// Of 4000 requests 0.1 by strangers are 400, and 0.25 with exclusions 1000: four deviations are 76 and 110.
    @Test func sharesAreKept() throws {
        let options = SnapshotRequests.Options(
            unknownUserShare: 0.1, missingShare: 0, outOfVocabularyShare: 0.1, excludingShare: 0.25,
            k: try KMix("10:0.8,500:0.2"))
        let requests = try SnapshotRequests(directory: Self.demo, options: options).draw(4000, seed: 9)
        let known = Set(try texts("\(Self.demo)/users.safetensors", "ids"))
        let items = Set(try texts("\(Self.demo)/items.safetensors", "ids"))
        let countries = Set(try texts("\(Self.demo)/user_tower.safetensors", "vocabulary.country"))
        #expect(abs(try requests.count { try !known.contains(userID($0)) } - 400) < 76)
        #expect(abs(requests.count { !$0.excluded.isEmpty } - 1000) < 110)
        #expect(requests.allSatisfy { $0.excluded.isSubset(of: items) && $0.excluded.count <= 20 })
        #expect(abs(requests.count { $0.k == 500 } - 800) < 102)
        var strange = 0
        for request in requests {
            let body = try json(request)
            #expect(body["k"] as? Int == request.k)
            #expect(Set(body["exclude"] as? [String] ?? []) == request.excluded)
            let features = (body["user"] as! [String: Any])["features"] as! [String: Any]
            #expect(Set(features.keys) == ["age", "country", "segment", "balance"])
            if !countries.contains(features["country"] as! String) { strange += 1 }
        }
        #expect(abs(strange - 400) < 76)
    }

    /// The demo's balance is log1p with mean 3.083 and deviation 0.938: the logarithms of what is drawn have these, within four
    /// deviations of a mean (0.059) and of a deviation (0.042) of 4000 draws.
    @Test func numbersFollowTheTransforms() throws {
        let options = SnapshotRequests.Options(missingShare: 0)
        let requests = try SnapshotRequests(directory: Self.demo, options: options).draw(4000, seed: 2)
        var logarithms: [Double] = []
        var buckets = [Int](repeating: 0, count: 6)
        for request in requests {
            let features = (try json(request)["user"] as! [String: Any])["features"] as! [String: Any]
            let balance = features["balance"] as! Double
            logarithms.append(balance < 0 ? -log1p(-balance) : log1p(balance))
            let age = features["age"] as! Int
            buckets[[25, 32, 40, 48, 56].count { $0 <= age }] += 1
        }
        let mean = logarithms.reduce(0, +) / 4000
        let deviation = (logarithms.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 3999).squareRoot()
        #expect(abs(mean - 3.082976) < 0.059)
        #expect(abs(deviation - 0.937716) < 0.042)
        #expect(buckets.allSatisfy { $0 > 400 })
    }

    @Test func withoutUsersTheyAreInvented() throws {
        let snapshot = try Fixtures.path("plain")
        let options = SnapshotRequests.Options(userCountMax: 30, unknownUserShare: 0)
        let users = try SnapshotRequests(directory: snapshot, options: options).draw(2000, seed: 1).map(userID)
        #expect(Set(users).isSubset(of: Set((0..<30).map { "user-\($0)" })))
        #expect(Set(users).count > 20)
    }

    @Test func listsAreAsLongAsTheSchemaSays() throws {
        let snapshot = try Fixtures.path("cs3-two-cycles")
        let requests = try SnapshotRequests(directory: snapshot, options: .init()).draw(1000, seed: 1)
        var longest: [String: Int] = [:]
        for request in requests {
            let body = try json(request)
            let features = (body["user"] as! [String: Any])["features"] as? [String: Any] ?? [:]
            for (name, value) in features.merging(body["context"] as? [String: Any] ?? [:], uniquingKeysWith: { $1 }) {
                if let list = value as? [Any] { longest[name] = max(longest[name] ?? 0, list.count) }
            }
        }
        #expect(longest == ["recent_items": 20, "interests": 8, "shops": 12, "query_terms": 6])
    }

    @Test func refusesOptionsOutOfRange() {
        for options in [
            SnapshotRequests.Options(userCountMax: 0), .init(zipfExponent: -1), .init(zipfExponent: .nan),
            .init(unknownUserShare: 1.1), .init(missingShare: -0.1), .init(outOfVocabularyShare: .nan),
            .init(excludingShare: 2),
        ] {
            let error = #expect(throws: LoadTestError.self) {
                try SnapshotRequests(directory: Self.demo, options: options)
            }
            guard case .usage? = error else {
                Issue.record("not a usage error: \(String(describing: error))")
                continue
            }
        }
    }

    @Test func namesWhatIsWrongWithASnapshot() throws {
        func fault(_ directory: String) -> String {
            do throws(LoadTestError) {
                _ = try SnapshotRequests(directory: directory, options: .init())
                return "none"
            } catch {
                return error.description
            }
        }
        #expect(fault("/nowhere").contains("/nowhere is no published snapshot"))
        let copy = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
        try FileManager.default.copyItem(atPath: Self.demo, toPath: copy)
        defer { try? FileManager.default.removeItem(atPath: copy) }
        let manifest = try String(contentsOfFile: "\(copy)/manifest.json", encoding: .utf8)
        func edit(_ text: String, _ other: String) throws {
            #expect(manifest.contains(text))
            try manifest.replacingOccurrences(of: text, with: other).write(
                toFile: "\(copy)/manifest.json", atomically: true, encoding: .utf8)
        }
        try edit("belfry-snapshot/1", "belfry-snapshot/2")
        #expect(fault(copy).contains("manifest.json: /format: is 'belfry-snapshot/2'"))
        try edit("\"bucketise\"", "\"binarise\"")
        #expect(fault(copy).contains("is 'binarise', an encoding that is not known here"))
        try manifest.dropLast(20).description.write(
            toFile: "\(copy)/manifest.json", atomically: true, encoding: .utf8)
        #expect(fault(copy).contains("manifest.json: malformed JSON"))
        try manifest.write(toFile: "\(copy)/manifest.json", atomically: true, encoding: .utf8)
        #expect(fault(copy) == "none")
        let users = try Data(contentsOf: URL(fileURLWithPath: "\(copy)/users.safetensors"))
        try users.dropLast(1).write(to: URL(fileURLWithPath: "\(copy)/users.safetensors"))
        #expect(fault(copy).contains("users.safetensors: "))
    }
}
