internal import JSON

/// What PyTorch and exact search answer to requests: the output of `belfry_models expect`, or a `golden.jsonl`.
///
///     let expectations = try Expectations([.init("demo=expected.jsonl")])
public struct Expectations: Sendable {
    /// A file of answers, and the snapshot that they are of.
    public struct Source: Sendable, Equatable {
        /// The snapshot's id; nil: of whichever answers.
        public let snapshotID: String?
        /// The file.
        public let path: String

        /// Reads `FILE` or `ID=FILE`. A file whose path looks like the latter is written as `./ID=FILE`.
        public init(_ text: String) {
            let halves = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if halves.count == 2, Source.isID(halves[0]) {
                snapshotID = String(halves[0])
                path = String(halves[1])
            } else {
                snapshotID = nil
                path = text
            }
        }

        private static func isID(_ text: Substring) -> Bool {
            (1...64).contains(text.utf8.count)
                && text.unicodeScalars.allSatisfy {
                    ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0) || $0 == "-"
                        || $0 == "_"
                }
        }
    }

    /// The exact answer to one request.
    struct Answer: Sendable {
        let ids: [ByteText]
        /// Descending. (ids.count)
        let scores: [Double]
        /// Scores by id.
        let score: [ByteText: Double]
        /// Whether every eligible item is in it.
        let isWhole: Bool
    }

    /// What a score may differ from PyTorch's. Both sum the products of float32 numbers in orders of their own, which moves a
    /// score of length-one vectors by about 1e-6; ten times the 1e-5 that embeddings are held to leaves room for longer ones.
    public static let defaultTolerance = 1e-4

    /// How much a score may differ.
    public let tolerance: Double
    // By snapshot ("" for any), then by what changes the answer to a request.
    private var answers: [String: [String: Answer]] = [:]

    /// How many requests have an answer, of all files together.
    public var count: Int { answers.values.reduce(0) { $0 + $1.count } }

    /// Reads files. The same request may stand in several lines if its answers agree; the longest is kept.
    ///
    /// Throws `LoadTestError.failed` with file, line and fault.
    public init(_ sources: [Source], tolerance: Double = Expectations.defaultTolerance) throws(LoadTestError) {
        self.tolerance = tolerance
        var answers: [String: [String: Answer]] = [:]
        for source in sources {
            let snapshot = source.snapshotID ?? ""
            var read = 0
            try JSONLines.read(source.path) { line throws(JSONLines.Fault) in
                read += 1
                guard let request = line.value["request"] else {
                    throw JSONLines.Fault(text: "the key \"request\" is missing; expected the output of `expect`")
                }
                let answer = try Answer(line.value, request)
                let key = Expectations.key(request)
                if let earlier = answers[snapshot]?[key] {
                    guard zip(earlier.scores, answer.scores).allSatisfy({ abs($0 - $1) <= tolerance }) else {
                        throw JSONLines.Fault(text: "the request has had another answer before")
                    }
                    if earlier.isWhole || earlier.ids.count >= answer.ids.count && !answer.isWhole { return }
                }
                answers[snapshot, default: [:]][key] = answer
            }
            guard read > 0 else { throw .failed("\(source.path): holds no answer") }
        }
        self.answers = answers
    }

    /// The answer of that snapshot to a request, or of any snapshot if none is named.
    func answer(snapshotID: String, key: String) -> Answer? {
        answers[snapshotID]?[key] ?? answers[""]?[key]
    }

    /// What changes the answer to a request, in one form however it is written. Only how far the answer goes depends on k, so
    /// a request is held against the answer for any other k.
    static func key(_ request: BodyValue) -> String {
        guard case .object(let members) = request else { return "" }
        let relevant: Set<String> = ["user", "context", "filter"]
        var kept = BodyValue.object(members.filter { relevant.contains($0.name) })
        if let facts = try? RequestFacts(request), !facts.excluded.isEmpty {
            let sorted = facts.excluded.map(\.string).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            kept.set("exclude", .list(sorted.map { .string($0) }))
        }
        return kept.text(sortsKeys: true)
    }
}

extension Expectations.Answer {
    fileprivate init(_ line: BodyValue, _ request: BodyValue) throws(JSONLines.Fault) {
        let facts: RequestFacts
        do {
            facts = try RequestFacts(request)
        } catch {
            throw JSONLines.Fault(text: "/request\(error.text.hasPrefix("/") ? "" : ": ")\(error.text)")
        }
        guard case .list(let ids)? = line["top"]?["ids"], case .list(let scores)? = line["top"]?["scores"] else {
            throw JSONLines.Fault(text: "/top: expected an object with the lists ids and scores")
        }
        guard ids.count == scores.count, ids.count <= facts.k else {
            throw JSONLines.Fault(text: "/top: \(ids.count) ids and \(scores.count) scores for a k of \(facts.k)")
        }
        var plainIDs: [ByteText] = []
        var plainScores: [Double] = []
        var byID: [ByteText: Double] = [:]
        for (rank, (id, score)) in zip(ids, scores).enumerated() {
            guard case .string(let text) = id, let number = score.asDouble else {
                throw JSONLines.Fault(text: "/top: rank \(rank) is not a string and a number")
            }
            guard byID.updateValue(number, forKey: ByteText(text)) == nil else {
                throw JSONLines.Fault(text: "/top/ids/\(rank): '\(text)' stands twice")
            }
            if let last = plainScores.last, number > last {
                throw JSONLines.Fault(text: "/top/scores/\(rank): \(number) is more than the one before it")
            }
            plainIDs.append(ByteText(text))
            plainScores.append(number)
        }
        self.init(ids: plainIDs, scores: plainScores, score: byID, isWhole: plainIDs.count < facts.k)
    }
}

extension BodyValue {
    /// The nearest double of a number.
    var asDouble: Double? {
        switch self {
        case .number(let value): value
        case .signed(let value): Double(value)
        case .unsigned(let value): Double(value)
        default: nil
        }
    }
}
