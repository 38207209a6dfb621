internal import CProcess
internal import Identifiers
internal import JSON
internal import Memory
internal import Retrieval
internal import RetrievalAPI
internal import SnapshotCheck
internal import Snapshots

/// Requests that are answered off the data plane, decoded anew each time as a worker would.
struct Rehearsal: ~Copyable {
    private let decoder: RequestDecoder
    private var query = RetrievalQuery()
    private var reply = ByteWriter(capacity: 64 << 10)

    init() throws(SnapshotError) {
        do throws(JSONSyntaxError) {
            decoder = try RequestDecoder(maximumBodyByteCount: Limits.bodyByteCount)
        } catch {
            throw SnapshotError(.warmup, file: RequestLines.warmup, "a decoder: \(error)")
        }
    }

    // MARK: Warm-up

    private static let warmupLineCountMax = 2000
    /// How many of them the other sessions answer, which share all but their buffers with the first.
    private static let otherSessionsLineCountMax = 200
    private static let roundCountMax = 12
    /// Two rounds whose p99 differ by less than this share count as settled.
    private static let settled = 0.1

    /// Answers the snapshot's warm-up requests with every reader's session, the first one's until the 99th percentile of the
    /// processor time settles; on a processor that others use too, time itself would never.
    ///
    /// Returns how many rounds that took.
    mutating func warm(_ generation: Generation, _ path: String, until cpuDeadlineSeconds: Double) throws(SnapshotError)
        -> Int
    {
        let lines = try RequestLines(
            of: "\(path)/\(RequestLines.warmup)", named: RequestLines.warmup, stage: .warmup,
            limit: Self.warmupLineCountMax)
        guard lines.count > 0 else { return 0 }
        let limit = belfry_thread_cpu_time() + UInt64(cpuDeadlineSeconds * 1e9)
        var before: Double?
        var roundCount = 0
        let readers = 0..<2 * generation.workerCount
        for reader in readers { generation.session(reader).touchBuffers() }
        while roundCount < Self.roundCountMax {
            var times: [Double] = []
            for index in 0..<lines.count { times.append(try answer(index, of: lines, generation.session(0))) }
            roundCount += 1
            let p99 = times.sorted()[(times.count * 99 + 99) / 100 - 1]
            if let before, abs(p99 - before) <= Self.settled * before { break }
            if belfry_thread_cpu_time() > limit { break }
            before = p99
        }
        for reader in readers.dropFirst() {
            for index in 0..<min(lines.count, Self.otherSessionsLineCountMax) {
                _ = try answer(index, of: lines, generation.session(reader))
            }
        }
        return roundCount
    }

    /// Answers one request; processor time in seconds.
    private mutating func answer(_ index: Int, of lines: RequestLines, _ session: Session) throws(SnapshotError)
        -> Double
    {
        let began = belfry_thread_cpu_time()
        try lines.decode(index, decoder, into: &query) { query throws(RetrievalError) in
            try session.warm(query, to: &reply)
        }
        return Double(belfry_thread_cpu_time() - began) / 1e9
    }

    // MARK: Skew

    /// Answers the same requests from two generations, through the session of either that no worker uses. Requests that one of
    /// them refuses are counted and compared no further.
    mutating func compare(_ candidate: Generation, with serving: Generation, _ bodies: [[UInt8]]) -> SkewReport? {
        var cosines: [Double] = []
        var overlaps: [Double] = []
        var ratios: [Double] = []
        var refusedCount = 0
        let haveSameSpace = candidate.snapshot.manifest.spaceID == serving.snapshot.manifest.spaceID
        for body in bodies {
            guard let old = rehearse(body, serving) else { continue }
            guard let new = rehearse(body, candidate) else {
                refusedCount += 1
                continue
            }
            if haveSameSpace { cosines.append(cosine(old.embedding, new.embedding)) }
            let wanted = Set(old.ids)
            if !wanted.isEmpty { overlaps.append(Double(new.ids.count { wanted.contains($0) }) / Double(wanted.count)) }
            ratios.append(new.seconds / max(old.seconds, 1e-9))
        }
        guard !ratios.isEmpty || refusedCount > 0 else { return nil }
        return SkewReport(
            requestCount: ratios.count + refusedCount, refusedCount: refusedCount, cosines: cosines, overlaps: overlaps,
            latencyRatios: ratios)
    }

    private struct Answer {
        let embedding: [Float]
        let ids: [String]
        let seconds: Double
    }

    private mutating func rehearse(_ body: [UInt8], _ generation: Generation) -> Answer? {
        let session = generation.rehearsalSession
        guard let document = try? JSONDocument(body) else { return nil }
        defer { withExtendedLifetime(document) {} }
        guard (try? decoder.decodeRetrieve(document.root.value, into: &query)) != nil else { return nil }
        // The first time fetches what the second finds.
        guard (try? session.rehearse(query)) != nil else { return nil }
        let began = belfry_thread_cpu_time()
        guard let found = try? session.rehearse(query) else { return nil }
        let seconds = Double(belfry_thread_cpu_time() - began) / 1e9
        return Answer(
            embedding: found.embedding, ids: found.rows.map { generation.snapshot.items.ids.text(of: Int($0)) },
            seconds: seconds)
    }

    private func cosine(_ left: [Float], _ right: [Float]) -> Double {
        guard left.count == right.count else { return 0 }
        var product = 0.0
        var squares = (0.0, 0.0)
        for (a, b) in zip(left, right) {
            product += Double(a) * Double(b)
            squares.0 += Double(a) * Double(a)
            squares.1 += Double(b) * Double(b)
        }
        let norms = (squares.0 * squares.1).squareRoot()
        return norms > 0 ? product / norms : 1
    }
}

extension Identifiers {
    /// An id as a text.
    func text(of row: Int) -> String {
        switch self {
        case .numbers(let table): "\(table.id(of: row))"
        case .texts(let table): table.text(of: row).string
        }
    }
}
