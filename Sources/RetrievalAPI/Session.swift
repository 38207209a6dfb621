internal import Identifiers
internal import ItemIndex
public import Memory
public import Retrieval
public import Snapshots
internal import Towers

/// One worker's way through one snapshot: enrich, embed, search, encode. It owns what a request changes of that, so it is not
/// for two threads at once.
public final class Session {
    /// What answers.
    public let snapshot: Snapshot
    let retriever: Retriever
    let encoder: ResponseEncoder

    init(snapshot: Snapshot, paused: PausedRows) {
        self.snapshot = snapshot
        retriever = Retriever(snapshot: snapshot, paused: paused)
        encoder = ResponseEncoder(
            snapshotID: snapshot.manifest.id, spaceID: snapshot.manifest.spaceID, itemIDs: snapshot.items.ids)
    }

    /// How long the steps of one retrieval took.
    struct Steps {
        /// When the request's decoding began, and when each step ended; nanoseconds of CLOCK_MONOTONIC.
        var began: Instant
        var decoded: Instant
        var enriched: Instant
        var embedded: Instant
        var searched: Instant
    }

    /// What a retrieval gave besides the reply.
    struct Outcome {
        /// Of a binary reply, how many bytes its JSON head has.
        let headByteCount: Int?
        /// When the steps ended.
        let steps: Steps
        /// Whether the search ran to its end.
        let isComplete: Bool
        /// Whether the user is unknown to the snapshot's caches.
        let isColdStart: Bool
    }

    /// Answers a decoded `/v1/retrieve`: enrich, embed, search, encode.
    ///
    /// - deadline: when the answer is of no more use, in nanoseconds of CLOCK_MONOTONIC.
    /// - began, decoded: when decoding began and ended.
    @inline(__always)
    func retrieve(
        _ query: borrowing RetrievalQuery, began: Instant, decoded: Instant, deadline: Instant?,
        to reply: inout ByteWriter
    ) throws(RetrievalError) -> Outcome {
        try retriever.requireSpace(query.requiredSpaceID)
        // Nobody waits for this answer any more; those behind it wait for the worker.
        if let deadline, decoded >= deadline { throw RetrievalError.deadlineExceeded }
        let context = try retriever.enrich(query.user)
        let enriched = Instant.now
        let embedding = try retriever.embed(query.user, context, strict: query.strict)
        let embedded = Instant.now
        let hits = try retriever.search(embedding, query, deadline: deadline?.nanoseconds)
        let steps = Steps(
            began: began, decoded: decoded, enriched: enriched, embedded: embedded, searched: Instant.now)
        guard hits.scores.allSatisfy(\.isFinite) else { throw RetrievalError.embeddingNotFinite }
        let headByteCount = encoder.encodeRetrieve(
            query, rows: hits.rows, scores: hits.scores, isColdStart: context.isColdStart,
            isComplete: hits.isComplete, explanation: query.explain ? explain(context, hits, steps) : nil,
            to: &reply)
        return Outcome(
            headByteCount: headByteCount, steps: steps, isComplete: hits.isComplete, isColdStart: context.isColdStart)
    }

    /// What one request gave when it was rehearsed.
    public struct Rehearsal {
        /// The user's embedding.
        public let embedding: [Float]
        /// The rows of the items found, best first.
        public let rows: [UInt32]
    }

    /// Answers a decoded `/v1/retrieve` as for a client, and says what it found; for those who compare snapshots. It allocates.
    public func rehearse(_ query: borrowing RetrievalQuery) throws(RetrievalError) -> Rehearsal {
        let context = try retriever.enrich(query.user)
        let embedding = try retriever.embed(query.user, context, strict: false)
        let values = Array(embedding.values)
        let hits = try retriever.search(embedding, query)
        return Rehearsal(embedding: values, rows: Array(hits.rows))
    }

    /// Answers a decoded `/v1/retrieve` as it would for a client, to have everything touched that a request touches.
    public func warm(_ query: borrowing RetrievalQuery, to reply: inout ByteWriter) throws(RetrievalError) {
        reply.removeAll()
        let now = Instant.now
        _ = try retrieve(query, began: now, decoded: now, deadline: nil, to: &reply)
    }

    /// Has the buffers of searches in memory. Before the first request.
    public func touchBuffers() {
        retriever.touchBuffers()
    }

    private func explain(
        _ context: UserContext, _ hits: Hits, _ steps: Steps
    ) -> ResponseEncoder.Explanation {
        var explanation = ResponseEncoder.Explanation()
        explanation.decodeMicros = steps.decoded.micros(since: steps.began)
        explanation.enrichMicros = steps.enriched.micros(since: steps.decoded)
        explanation.embedMicros = steps.embedded.micros(since: steps.enriched)
        explanation.searchMicros = steps.searched.micros(since: steps.embedded)
        explanation.hasCrossVector = context.cached.cross != nil
        explanation.hasCascadeVector = context.cached.cascade != nil
        explanation.scoredItemCount = hits.scoredCount
        explanation.ignoredFeatures = retriever.ignoredFeatures
        explanation.ef = hits.ef
        explanation.nprobe = hits.nprobe
        return explanation
    }
}
