internal import Safetensors

/// Draws requests that a snapshot understands, from its files alone: known users by popularity, feature values by the
/// schema. The same seed gives the same bytes, and more requests of a seed begin with the fewer.
///
///     let requests = try SnapshotRequests(directory: "models/demo", options: .init(zipfExponent: 1.1))
///     let plan = requests.draw(10_000, seed: 1)
public struct SnapshotRequests: Sendable {
    /// What is drawn how often.
    public struct Options: Sendable, Equatable {
        /// How many different users ask; nil for all of the snapshot, or 100,000 if it has none.
        public var userCountMax: Int?
        /// The r-th most frequent user asks in proportion to r^-exponent; 0 for all alike.
        public var zipfExponent: Double
        /// The share of requests by users that the snapshot does not know, 0 ... 1.
        public var unknownUserShare: Double
        /// The share of features without a value, 0 ... 1.
        public var missingShare: Double
        /// The share of values that are no word of their vocabulary, 0 ... 1.
        public var outOfVocabularyShare: Double
        /// The share of requests that exclude 1 to 20 items of the catalogue, 0 ... 1.
        public var excludingShare: Double
        /// How many items are asked for.
        public var k: KMix

        /// Creates options.
        public init(
            userCountMax: Int? = nil, zipfExponent: Double = 1.1, unknownUserShare: Double = 0.01,
            missingShare: Double = 0.05, outOfVocabularyShare: Double = 0.02, excludingShare: Double = 0,
            k: KMix = KMix(k: 100)
        ) {
            self.userCountMax = userCountMax
            self.zipfExponent = zipfExponent
            self.unknownUserShare = unknownUserShare
            self.missingShare = missingShare
            self.outOfVocabularyShare = outOfVocabularyShare
            self.excludingShare = excludingShare
            self.k = k
        }

        func check() throws(LoadTestError) {
            if let userCountMax, userCountMax < 1 { throw .usage("\(userCountMax) users ask nothing") }
            guard zipfExponent >= 0, zipfExponent <= 100 else {
                throw .usage("the Zipf exponent is \(zipfExponent), expected 0 ... 100")
            }
            let shares = [
                ("unknown users", unknownUserShare), ("missing values", missingShare),
                ("out-of-vocabulary values", outOfVocabularyShare), ("excluding requests", excludingShare),
            ]
            for (name, share) in shares where !(0...1).contains(share) {
                throw .usage("the share of \(name) is \(share), expected 0 ... 1")
            }
        }
    }

    /// What the daemon documents in its OpenAPI description: features of a request, values of one list and of all.
    private static let featureCountMax = 256
    private static let listCountMax = 4096
    private static let valueCountMax = 16_384
    private static let excludedCountMax = 20
    private static let drawnUserCount = 100_000

    /// The snapshot's id.
    public let snapshotID: String
    private let options: Options
    private let items: IdentifierColumn
    private let users: UserDraws
    private let features: [FeatureDraws]

    /// Where user ids come from, and in what form.
    private enum UserDraws: Sendable {
        case rows(IdentifierColumn, asNumber: Bool)
        /// The words of the `user_id` feature, where there are no other ids.
        case words([BodyValue])
        case invented(asNumber: Bool)
    }

    /// Reads what requests are drawn from.
    ///
    /// Throws `LoadTestError.failed` for a snapshot that is missing or damaged, `.usage` for options out of range.
    public init(directory: String, options: Options) throws(LoadTestError) {
        try options.check()
        let schema = try SnapshotSchema(directory: directory)
        let items = try schema.itemIDs()
        let tower = try schema.tensors(schema.userTowerFile)
        let listCount = schema.features.count { $0.maximumValues != nil }
        let listCountMax = min(
            Self.listCountMax,
            (Self.valueCountMax - Self.featureCountMax) / max(min(listCount, Self.featureCountMax), 1))
        var features: [FeatureDraws] = []
        do throws(SafetensorsError) {
            for feature in schema.features {
                features.append(try FeatureDraws(feature, tower: tower, items: items, listCountMax: listCountMax))
            }
        } catch {
            throw .failed("\(directory): \(error)")
        }
        snapshotID = schema.id
        self.options = options
        self.items = items
        self.features = features.filter { $0.feature.source != .userID }

        // The feature's type decides the form that the daemon takes an id in.
        let userID = features.first { $0.feature.source == .userID }
        let asNumber = userID.map { $0.feature.type == .integer } ?? false
        let ids = try schema.userIDs()
        if let userID, asNumber, let ids, !ids.isNumber {
            throw .failed(
                "\(directory): user ids are strings, and the feature '\(userID.feature.name)' takes only integers")
        }
        let words = userID?.words.filter(Self.isUserID) ?? []
        if let ids, ids.count > 0 {
            users = .rows(ids, asNumber: ids.isNumber && userID?.feature.type != .string)
        } else if !words.isEmpty {
            users = .words(words)
        } else {
            users = .invented(asNumber: asNumber)
        }
    }

    /// Whether the daemon takes it as an id at all.
    private static func isUserID(_ value: BodyValue) -> Bool {
        switch value {
        case .string(let text): (1...256).contains(text.utf8.count)
        case .signed(let number): number >= 0
        default: true
        }
    }

    /// Draws requests.
    public func draw(_ count: Int, seed: UInt64) -> [LoadRequest] {
        let population: Int
        switch users {
        case .rows(let ids, _): population = ids.count
        case .words(let words): population = words.count
        case .invented: population = options.userCountMax ?? Self.drawnUserCount
        }
        var draws = SeededDraws(seed: seed)
        let order = draws.permutation(population)
        let ranks = ZipfRanks(
            count: min(population, options.userCountMax ?? population), exponent: options.zipfExponent)
        // Each request has a sequence of its own, so that none depends on those before it.
        let base = draws.bits()
        return (0..<count).map { index in
            var draws = SeededDraws(seed: SplitMix64.mix(base &+ UInt64(index)))
            return request(order: order, ranks: ranks, &draws)
        }
    }

    private func request(order: [UInt32], ranks: ZipfRanks, _ draws: inout SeededDraws) -> LoadRequest {
        var user: [BodyValue.Member] = []
        let row = Int(order[ranks.draw(&draws)])
        user.append(
            .init(name: "id", value: draws.chance(options.unknownUserShare) ? unknownUser(&draws) : self.user(row)))
        var ofUser: [BodyValue.Member] = []
        var ofContext: [BodyValue.Member] = []
        for feature in features {
            guard ofUser.count + ofContext.count < Self.featureCountMax,
                let value = feature.draw(
                    &draws, missing: options.missingShare, outOfVocabulary: options.outOfVocabularyShare)
            else { continue }
            let member = BodyValue.Member(name: feature.feature.name, value: value)
            if feature.feature.source == .user { ofUser.append(member) } else { ofContext.append(member) }
        }
        if !ofUser.isEmpty { user.append(.init(name: "features", value: .object(ofUser))) }
        var body: [BodyValue.Member] = [.init(name: "user", value: .object(user))]
        if !ofContext.isEmpty { body.append(.init(name: "context", value: .object(ofContext))) }
        let k = options.k.k(at: draws.unit())
        body.append(.init(name: "k", value: .signed(Int64(k))))
        var excluded: Set<String> = []
        if draws.chance(options.excludingShare), items.count > 1 {
            var ids: [BodyValue] = []
            // At most half of a small catalogue, so that something is left.
            for _ in 0..<1 + draws.below(min(Self.excludedCountMax, items.count / 2)) {
                let id = items.text(draws.below(items.count))
                if excluded.insert(id).inserted { ids.append(.string(id)) }
            }
            body.append(.init(name: "exclude", value: .list(ids)))
        }
        return LoadRequest(body: BodyValue.object(body).text(), k: k, excluded: excluded)
    }

    private func user(_ row: Int) -> BodyValue {
        switch users {
        case .rows(let ids, let asNumber): asNumber ? BodyValue(ids.number(row)) : .string(ids.text(row))
        case .words(let words): words[row]
        case .invented(let asNumber): asNumber ? .signed(Int64(row)) : .string("user-\(row)")
        }
    }

    private func unknownUser(_ draws: inout SeededDraws) -> BodyValue {
        while true {
            let number = draws.bits() >> 1
            let text = isNumber ? String(number) : "unknown-\(number)"
            if case .rows(let ids, _) = users, ids.contains(text) { continue }
            return isNumber ? .signed(Int64(number)) : .string(text)
        }
    }

    private var isNumber: Bool {
        switch users {
        case .rows(_, let asNumber), .invented(let asNumber): asNumber
        case .words(let words): if case .string? = words.first { false } else { true }
        }
    }
}
