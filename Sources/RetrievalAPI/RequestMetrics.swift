public import Metrics

/// What one worker counts of its requests. Written by its thread, read by whoever reports.
public final class RequestMetrics: Sendable {
    /// Requests by where they go; `other` is everything that is not retrieval.
    public enum Endpoint: String, Sendable, CaseIterable {
        case retrieve, embed, score, item, other
    }

    /// The steps of a retrieval.
    public enum Step: String, Sendable, CaseIterable {
        case decode, enrich, embed, search, encode
    }

    /// The statuses that are counted each by itself.
    public static let statuses = [200, 400, 404, 405, 406, 409, 413, 415, 422, 500, 501, 503, 504]

    private let durations = Endpoint.allCases.map { _ in LatencyHistogram() }
    private let steps = Step.allCases.map { _ in LatencyHistogram() }
    private let replies = Endpoint.allCases.map { _ in RequestMetrics.statuses.map { _ in Counter() } }
    private let refusals = Problem.Kind.allCases.map { _ in Counter() }
    /// Retrievals that the deadline cut short and that were answered with what was found by then.
    public let degraded = Counter()
    /// Requests of users whose cached vectors the snapshot does not have.
    public let coldStarts = Counter()

    /// Nothing counted yet.
    public init() {}

    /// From the request's first byte seen to its reply written.
    public func durations(_ endpoint: Endpoint) -> LatencyHistogram { durations[Self.index(endpoint)] }

    /// Of retrievals.
    public func durations(_ step: Step) -> LatencyHistogram {
        switch step {
        case .decode: steps[0]
        case .enrich: steps[1]
        case .embed: steps[2]
        case .search: steps[3]
        case .encode: steps[4]
        }
    }

    /// Replies with a status, which is one of `statuses`.
    public func replies(_ endpoint: Endpoint, status: Int) -> Counter {
        replies[Self.index(endpoint)][Self.statuses.firstIndex(of: status) ?? 9]
    }

    /// Requests refused for a reason.
    public func refusals(_ kind: Problem.Kind) -> Counter {
        refusals[Problem.Kind.allCases.firstIndex(of: kind)!]
    }

    private static func index(_ endpoint: Endpoint) -> Int {
        switch endpoint {
        case .retrieve: 0
        case .embed: 1
        case .score: 2
        case .item: 3
        case .other: 4
        }
    }

    func count(_ endpoint: Endpoint, status: Int, nanoseconds: UInt64) {
        durations(endpoint).record(nanoseconds: nanoseconds)
        replies(endpoint, status: status).increment()
    }

    func count(_ steps: Session.Steps, encoded: Instant) {
        self.steps[0].record(nanoseconds: steps.decoded.nanoseconds - steps.began.nanoseconds)
        self.steps[1].record(nanoseconds: steps.enriched.nanoseconds - steps.decoded.nanoseconds)
        self.steps[2].record(nanoseconds: steps.embedded.nanoseconds - steps.enriched.nanoseconds)
        self.steps[3].record(nanoseconds: steps.searched.nanoseconds - steps.embedded.nanoseconds)
        self.steps[4].record(nanoseconds: encoded.nanoseconds - steps.searched.nanoseconds)
    }
}
