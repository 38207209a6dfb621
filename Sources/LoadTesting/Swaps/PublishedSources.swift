/// What a run publishes, with everything that can be known before it starts: the ids, and which source each id comes from.
final class PublishedSources: Sendable {
    /// Recomputes replies, or nil where nothing is expected of them.
    let belonging: Belonging?
    private let wish: LoadTestOptions.Publishing
    private let ids: [String]
    private let sources: [SnapshotSource]

    /// Reads the sources and asks the daemon what serves now: that is a source's too if its files are.
    init(_ wish: LoadTestOptions.Publishing) throws(LoadTestError) {
        guard wish.every > 0 else { throw .usage("swaps need a distance in time") }
        guard (2...26).contains(wish.sources.count) else {
            throw .usage("swaps alternate between 2 to 26 sources: give --swap-publish several times")
        }
        guard (1...LoadTestOptions.Publishing.countMax).contains(wish.count) else {
            throw .usage("a run has 1 to \(LoadTestOptions.Publishing.countMax) swaps, not \(wish.count)")
        }
        guard wish.expectations.isEmpty || wish.expectations.count == wish.sources.count else {
            throw .usage(
                "\(wish.expectations.count) --swap-expect for \(wish.sources.count) --swap-publish: one for each, in the "
                    + "same order")
        }
        self.wish = wish
        ids = SnapshotPublishing.Plan.ids(
            wish.count, sources: wish.sources.count, tag: String(UInt64(unixSeconds() * 1000), radix: 36))
        let status = try SnapshotStatus(ControlClient(wish.admin))
        var sources: [SnapshotSource] = []
        for (directory, expectations) in zip(wish.sources, wish.expectations) {
            sources.append(try SnapshotSource(directory: directory, expectations: expectations))
        }
        self.sources = sources
        guard !sources.isEmpty else {
            for directory in wish.sources { _ = try SnapshotSchema(directory: directory) }
            belonging = nil
            return
        }
        var sourceByID: [String: Int] = [:]
        for (turn, id) in ids.enumerated() { sourceByID[id] = turn % sources.count }
        for id in [status.serving, status.previous].compactMap(\.self) {
            sourceByID[id] = sources.firstIndex { $0.isSame(as: "\(wish.directory)/\(id)") }
        }
        belonging = Belonging(sources: sources, sourceByID: sourceByID)
    }

    /// Refuses requests of which a source expects nothing: their replies could not be recomputed.
    func requireExpected(_ requests: [LoadRequest]) throws(LoadTestError) {
        for (source, path) in zip(sources, wish.expectations) {
            for request in requests {
                guard let body = try? BodyValue(parsing: request.body) else { continue }
                guard source.expected(Expectations.key(body)) != nil else {
                    throw .usage("\(path) has no answer to the request \(request.body.prefix(200))")
                }
            }
        }
    }

    /// The publishing of one run.
    func disturbance(_ options: LoadTestOptions, until end: UInt64, progress: LoadProgress) -> SnapshotPublishing {
        var plan = SnapshotPublishing.Plan(
            sources: wish.sources, directory: wish.directory, ids: ids, every: wish.every,
            first: options.warmup + wish.every / 2, until: end)
        plan.settle = wish.settle
        plan.isBackToBack = wish.isBackToBack
        plan.timeout = wish.timeout
        plan.command = wish.command
        return SnapshotPublishing(plan, admin: wish.admin, metrics: options.target, progress: progress)
    }
}
