/// How much of the exact answer timed replies had, found by repeating some of them with exact search after the run.
public enum Recall {
    /// Depths that are always looked at, as far as k reaches.
    static let depths = [10, 100]
    /// Of a mix with more different k only the largest is a depth of its own.
    static let distinctKMax = 8
    /// Repetitions that fail in a row before the rest is given up.
    static let failuresMax = 10
    /// Reasons that are told apart.
    static let reasonCountMax = 20
    /// Bootstrap resamples: the 2.5th percentile of so many is the 50th smallest.
    static let resampleCount = 2000

    /// Repeats up to `limit` distinct requests, picked by the seed, and compares.
    ///
    /// An item counts as found if its exact score reaches that of the exact n-th, so that which of several equal items is
    /// returned makes no difference. Degraded replies count as they are. The interval is over requests, which are what was sampled: hits within one reply are not
    /// independent.
    ///
    /// - repeatExactly: sends `request.repeatingExactly()` and hands over the reply of a success and the snapshot it names.
    public static func measure(
        kept: [RunResult.KeptReply], requests: [LoadRequest], limit: Int, seed: UInt64,
        repeatExactly: (LoadRequest) throws -> (snapshotID: String, body: [UInt8])
    ) -> RecallReport {
        var draws = SeededDraws(seed: seed)
        var pairs: [Pair] = []
        var skipped: [String: Int] = [:]
        var tried: Set<ByteText> = []
        var serving: String?
        var failuresInARow = 0
        for place in draws.permutation(kept.count) where tried.count < limit {
            let reply = kept[Int(place)]
            let request = requests[reply.request]
            let body = ByteText(request.body)
            if tried.contains(body) { continue }
            guard let timed = try? RetrieveReply(reply) else {
                skipped["the timed reply is malformed", default: 0] += 1
                continue
            }
            if let serving, serving != timed.snapshotID {
                // Of a run with a swap, which would else spend its repetitions on the snapshot before.
                skipped["another snapshot serves", default: 0] += 1
                continue
            }
            tried.insert(body)
            guard failuresInARow < failuresMax else {
                skipped["given up after \(failuresMax) failures in a row", default: 0] += 1
                continue
            }
            let repetition: (snapshotID: String, body: [UInt8])
            do {
                repetition = try repeatExactly(request)
                failuresInARow = 0
            } catch {
                let reason = "the repetition failed: \(error)"
                let isKnown = skipped[reason] != nil || skipped.count < reasonCountMax
                skipped[isKnown ? reason : "the repetition failed", default: 0] += 1
                failuresInARow += 1
                continue
            }
            if let reason = fault(of: repetition, timed) {
                skipped[reason, default: 0] += 1
                if !repetition.snapshotID.isEmpty { serving = repetition.snapshotID }
                continue
            }
            serving = timed.snapshotID
            if let exact = try? RetrieveReply(repetition.body) {
                pairs.append(Pair(k: request.k, timed: timed, exact: exact))
            }
        }
        return RecallReport(requests: pairs.count, skipped: skipped, estimates: estimates(pairs, &draws))
    }

    /// Why a repetition is no measure of the timed reply; nil if it is.
    private static func fault(of repetition: (snapshotID: String, body: [UInt8]), _ timed: RetrieveReply) -> String? {
        guard let exact = try? RetrieveReply(repetition.body) else { return "the repetition's reply is malformed" }
        guard timed.snapshotID == exact.snapshotID, repetition.snapshotID == exact.snapshotID else {
            return "another snapshot serves"
        }
        guard exact.degraded.isEmpty else { return "the repetition is degraded" }
        guard !exact.ids.isEmpty, zip(exact.scores, exact.scores.dropFirst()).allSatisfy({ $0 >= $1 }) else {
            return "the repetition is empty or unsorted"
        }
        return nil
    }

    struct Pair {
        let k: Int
        let timed: RetrieveReply
        let exact: RetrieveReply
    }

    /// The share of the exact first n that is among the timed first n; nil if there is nothing to find.
    static func recall(timed: RetrieveReply, exact: RetrieveReply, at n: Int) -> Double? {
        let depth = min(n, exact.ids.count)
        guard depth > 0 else { return nil }
        let threshold = exact.scores[depth - 1]
        let last = exact.scores[exact.scores.count - 1]
        // Two machines' sums may differ in the last bit; a score that says more than that is no tie.
        let tolerance = 1e-6 * max(1, abs(last))
        var exactScores: [ByteText: Double] = [:]
        for (id, score) in zip(exact.ids, exact.scores) { exactScores[id] = score }
        var hits: Set<ByteText> = []
        for (id, score) in zip(timed.ids, timed.scores).prefix(n) {
            if let score = exactScores[id] {
                if score >= threshold { hits.insert(id) }
            } else if score >= threshold, score <= last + tolerance {
                // The exact reply ends within a row of equal scores, and this item is of the same row.
                hits.insert(id)
            }
        }
        return Double(min(hits.count, depth)) / Double(depth)
    }

    private static func estimates(_ pairs: [Pair], _ draws: inout SeededDraws) -> [RecallReport.Estimate] {
        let asked = Set(pairs.map(\.k))
        guard let largest = asked.max() else { return [] }
        let own = asked.count <= distinctKMax ? asked : [largest]
        return own.union(depths).filter { $0 <= largest }.sorted().compactMap { depth in
            let recalls = pairs.compactMap { pair in
                pair.k >= depth ? recall(timed: pair.timed, exact: pair.exact, at: depth) : nil
            }
            guard !recalls.isEmpty else { return nil }
            let interval = interval(recalls, depth: depth, &draws)
            return RecallReport.Estimate(
                at: depth, mean: recalls.reduce(0, +) / Double(recalls.count), low: interval.low, high: interval.high)
        }
    }

    /// The 95 % percentile bootstrap over requests (Efron, 1979), its lower end with one request more than was seen.
    ///
    /// A normal interval leaves 0 ... 1, and Wilson's takes each item for a coin of its own, although a hard request loses many
    /// at once; the bootstrap assumes neither. But resamples of replies that were all perfect are all perfect, and an interval
    /// of 1 ... 1 claims what no sample shows. So the lower end imagines one request that missed one item more than the worst
    /// seen: with all of N perfect it comes to about 3 misses in N requests, the rule of three.
    static func interval(_ recalls: [Double], depth: Int, _ draws: inout SeededDraws) -> (low: Double, high: Double) {
        let worse = max(0, recalls.min()! - 1 / Double(depth))
        let lows = means(recalls + [worse], &draws)
        let highs = means(recalls, &draws)
        let mean = recalls.reduce(0, +) / Double(recalls.count)
        return (min(lows[resampleCount / 40], mean), max(highs[resampleCount - 1 - resampleCount / 40], mean))
    }

    /// The means of resamples, ascending.
    private static func means(_ values: [Double], _ draws: inout SeededDraws) -> [Double] {
        var means: [Double] = []
        means.reserveCapacity(resampleCount)
        for _ in 0..<resampleCount {
            var sum = 0.0
            for _ in values.indices { sum += values[draws.below(values.count)] }
            means.append(sum / Double(values.count))
        }
        means.sort()
        return means
    }
}
