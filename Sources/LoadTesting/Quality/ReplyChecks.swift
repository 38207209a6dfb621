/// Holds the replies of a run to what the contract promises and, where something is known of the snapshot, to that.
///
///     let checks = ReplyChecks(expectations: expectations, catalogues: [try ItemCatalogue(directory: "models/demo")])
///     let report = checks.check(result.kept, requests: plan.requests, share: result.keptShare)
public struct ReplyChecks: Sendable {
    private static let exampleCountMax = 10
    private static let examplesPerKindMax = 3

    private let expectations: Expectations?
    private let catalogues: [String: ItemCatalogue]
    private let belonging: Belonging?

    /// Creates checks.
    ///
    /// - belonging: recomputes replies from what was published, or nil.
    /// - catalogues: of the snapshots that may answer. Replies of others are held to nothing that depends on the items.
    init(
        expectations: Expectations? = nil, catalogues: [ItemCatalogue] = [], belonging: Belonging? = nil
    ) {
        self.expectations = expectations
        self.belonging = belonging
        self.catalogues = Dictionary(catalogues.map { ($0.snapshotID, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// Checks every kept reply. Kinds of fault beyond those that `ValidationReport.faults` names: `unknown`, an id that is no
    /// item; `format`, another one than was asked for; `request_id`, another request's id or none; `mixed`, ids, scores and
    /// snapshot that do not belong together.
    ///
    /// - share: the share of all replies that was kept.
    public func check(_ kept: [RunResult.KeptReply], requests: [LoadRequest], share: Double) -> ValidationReport {
        var report = ValidationReport(
            share: share, checked: kept.count, invalid: 0, faults: [:], examples: [], compared: 0,
            worstScoreDifference: nil)
        if belonging != nil { report.belonging = BelongingReport() }
        var asked: [Int: Asked] = [:]
        for reply in kept {
            let question = asked[reply.request] ?? Asked(requests[reply.request])
            asked[reply.request] = question
            var faults = Faults()
            check(reply, question, &faults, &report)
            if faults.first.isEmpty { continue }
            report.invalid += 1
            for (kind, text) in faults.first {
                report.faults[kind, default: 0] += 1
                if report.faults[kind]! <= Self.examplesPerKindMax, report.examples.count < Self.exampleCountMax {
                    report.examples.append("\(kind): request \(reply.request): \(text)")
                }
            }
        }
        return report
    }

    /// What a request asks for, read from its body once for all its replies.
    private final class Asked {
        let facts: RequestFacts?
        let k: Int
        let excluded: Set<ByteText>
        let key: String
        /// The last reply to it that was right.
        var right: Right?

        init(_ request: LoadRequest) {
            let body = try? BodyValue(parsing: request.body)
            facts = body.flatMap { try? RequestFacts($0) }
            k = facts?.k ?? request.k
            excluded = facts?.excluded ?? Set(request.excluded.map(ByteText.init))
            key = body.map(Expectations.key) ?? ""
        }
    }

    /// A binary reply without a fault. One to the same request whose bytes of ids and scores equal its own, from the same
    /// snapshot, is right for the same reasons: a long run asks the same few requests again and again.
    private struct Right {
        let kept: RunResult.KeptReply
        let reply: RetrieveReply
        let isCompared: Bool
        let belonging: Belonging.Verdict?
    }

    /// The first fault of each kind, in the order they were found.
    private struct Faults {
        var first: [(kind: String, text: String)] = []

        mutating func add(_ kind: String, _ text: @autoclosure () -> String) {
            if !first.contains(where: { $0.kind == kind }) { first.append((kind, text())) }
        }
    }

    private func check(
        _ kept: RunResult.KeptReply, _ asked: Asked, _ faults: inout Faults, _ report: inout ValidationReport
    ) {
        let reply: RetrieveReply
        let twin = asked.right.flatMap { kept.hasSameLists(as: $0.kept) ? $0 : nil }
        do {
            reply = try RetrieveReply(kept, twin: twin?.reply)
        } catch {
            return faults.add(error.kind, error.text)
        }
        checkHead(reply, asked, &faults)
        if let twin, reply.snapshotID == twin.reply.snapshotID, reply.spaceID == twin.reply.spaceID,
            reply.degraded == twin.reply.degraded
        {
            if twin.isCompared { report.compared += 1 }
            if let verdict = twin.belonging { add(verdict, &faults, &report) }
            return
        }
        let catalogue = catalogues[reply.snapshotID]
        checkItems(reply, asked, catalogue, &faults)
        let answer = expectations?.answer(snapshotID: reply.snapshotID, key: asked.key)
        checkCount(reply, asked, catalogue, answer, &faults)
        if let answer { compare(reply, answer, &faults, &report) }
        let verdict = belonging?.check(reply, key: asked.key)
        if let verdict { add(verdict, &faults, &report) }
        if faults.first.isEmpty, reply.format == .binary {
            asked.right = Right(kept: kept, reply: reply, isCompared: answer != nil, belonging: verdict)
        }
    }

    private func checkHead(_ reply: RetrieveReply, _ asked: Asked, _ faults: inout Faults) {
        guard let facts = asked.facts else { return }
        if facts.format != reply.format {
            faults.add("format", "asked for \(facts.format.rawValue), got \(reply.format.rawValue)")
        }
        if let id = facts.requestID, id != reply.requestID {
            faults.add("request_id", "asked as '\(id)', got \(reply.requestID.map { "'\($0)'" } ?? "none")")
        }
    }

    private func checkItems(
        _ reply: RetrieveReply, _ asked: Asked, _ catalogue: ItemCatalogue?, _ faults: inout Faults
    ) {
        for rank in reply.scores.indices {
            guard reply.scores[rank].isFinite else {
                faults.add("score", "rank \(rank) has a score that is not finite")
                continue
            }
            if rank > 0, reply.scores[rank] > reply.scores[rank - 1] {
                faults.add(
                    "unsorted", "rank \(rank) has \(reply.scores[rank]) after \(reply.scores[rank - 1])")
            }
        }
        var seen: Set<ByteText> = []
        for (rank, id) in reply.ids.enumerated() {
            if !seen.insert(id).inserted { faults.add("duplicate", "'\(id.string)' again at rank \(rank)") }
            if asked.excluded.contains(id) { faults.add("excluded", "'\(id.string)' at rank \(rank) was excluded") }
            if let catalogue, !catalogue.contains(id.string) {
                faults.add("unknown", "'\(id.string)' at rank \(rank) is no item of '\(reply.snapshotID)'")
            }
        }
    }

    private func add(_ verdict: Belonging.Verdict, _ faults: inout Faults, _ report: inout ValidationReport) {
        switch verdict {
        case .belongs(let source, let scoreCount, let worst, let found, let wanted):
            report.belonging?.add(source: source, scoreCount: scoreCount, worst: worst, found: found, wanted: wanted)
        case .mixed(let text):
            report.belonging?.recomputed += 1
            report.belonging?.mixed += 1
            faults.add("mixed", text)
        case .unknownRequest:
            report.belonging?.unknownRequests += 1
            faults.add("mixed", "nothing is expected of the request: it is not among those that PyTorch answered")
        }
    }

    private func checkCount(
        _ reply: RetrieveReply, _ asked: Asked, _ catalogue: ItemCatalogue?, _ answer: Expectations.Answer?,
        _ faults: inout Faults
    ) {
        let count = reply.ids.count
        var expected: Int?
        if asked.facts?.hasFilter == true {
            // How many items pass a filter is known only if PyTorch's answer says so.
            if let answer, answer.isWhole { expected = min(asked.k, answer.ids.count) }
        } else if let catalogue {
            let excluded = asked.excluded.count { catalogue.contains($0.string) }
            expected = min(asked.k, catalogue.count - excluded)
        } else if let answer, answer.isWhole || answer.ids.count >= asked.k {
            expected = min(asked.k, answer.ids.count)
        }
        if count > expected ?? asked.k {
            faults.add("count", "expected \(expected.map(String.init) ?? "at most \(asked.k)") items, got \(count)")
        } else if reply.degraded.isEmpty {
            if let expected, count < expected { faults.add("count", "expected \(expected) items, got \(count)") }
            if expected == nil, count == 0, asked.facts?.hasFilter != true {
                faults.add("count", "expected up to \(asked.k) items, got none")
            }
        }
    }

    /// A reply may lack items that exact search finds; what it has must be scored as PyTorch scores it.
    private func compare(
        _ reply: RetrieveReply, _ answer: Expectations.Answer, _ faults: inout Faults, _ report: inout ValidationReport
    ) {
        let tolerance = expectations?.tolerance ?? Expectations.defaultTolerance
        report.compared += 1
        for (rank, (id, score)) in zip(reply.ids, reply.scores).enumerated() where score.isFinite {
            if let expected = answer.score[id] {
                let difference = abs(score - expected)
                report.worstScoreDifference = max(report.worstScoreDifference ?? 0, difference)
                if difference > tolerance {
                    faults.add("score", "'\(id.string)' at rank \(rank): PyTorch has \(expected), got \(score)")
                }
            } else if answer.isWhole {
                faults.add("unknown", "'\(id.string)' at rank \(rank) is not among all that PyTorch finds")
            } else if let last = answer.scores.last, score > last + tolerance {
                faults.add(
                    "score",
                    "'\(id.string)' at rank \(rank) has \(score) and is not among PyTorch's \(answer.ids.count), whose last has \(last)"
                )
            }
        }
        if let first = reply.scores.first, let best = answer.scores.first, first > best + tolerance {
            faults.add("score", "the first has \(first), more than PyTorch's best of \(best)")
        }
    }
}
