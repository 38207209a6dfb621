public import HTTPServer
internal import Identifiers
internal import ItemIndex
internal import JSON
internal import Memory
internal import Retrieval
public import Snapshots
internal import Towers

/// Answers one worker's requests from one snapshot: decode, enrich, embed, search, encode, in this order and on the
/// worker's thread. It owns what a request changes, so it is not for two threads at once.
///
///     let readiness = Readiness()
///     let server = HTTPServer(configuration: configuration) { _ in
///         let handler = RetrievalHandler(snapshot: snapshot, readiness: readiness)
///         return { exchange in handler.handle(exchange) }
///     }
public final class RetrievalHandler {
    private let snapshot: Snapshot
    private let readiness: Readiness
    private let retriever: Retriever
    private let decoder: RequestDecoder
    private let encoder: ResponseEncoder
    private let description: [UInt8]
    // Reused from request to request.
    private var retrieval = RetrievalQuery()
    private var embedding = EmbedQuery()
    private var coldStarts: [Bool] = []
    private var scoring = ScoreQuery()
    private var scores: [Float?] = []

    /// Allocates what one worker needs for this snapshot and for bodies of up to so many bytes; traps if there is no
    /// memory for that.
    public init(
        snapshot: Snapshot, readiness: Readiness, maximumBodyByteCount: Int = HTTPLimits().bodyBytesMax
    ) {
        self.snapshot = snapshot
        self.readiness = readiness
        retriever = Retriever(snapshot: snapshot)
        do throws(JSONSyntaxError) {
            decoder = try RequestDecoder(maximumBodyByteCount: maximumBodyByteCount)
        } catch {
            fatalError("a worker's decoder: \(error)")
        }
        encoder = ResponseEncoder(
            snapshotID: snapshot.manifest.id, spaceID: snapshot.manifest.spaceID, itemIDs: snapshot.items.ids)
        description = Array(OpenAPI.document.utf8)
    }

    /// Answers one request.
    public func handle(_ exchange: Exchange) {
        do throws(Problem) {
            try answer(exchange)
        } catch {
            exchange.answer(error)
        }
    }

    private func answer(_ exchange: Exchange) throws(Problem) {
        guard let route = Route(path: exchange.path) else {
            throw Problem(.unknownPath, exchange.path.string)
        }
        try exchange.requireMethod(route.methods)
        try exchange.requireAccepts(route.replyType)
        if route.methods == .post { try exchange.requireJSONBody() }
        switch route {
        case .retrieve: try retrieve(exchange)
        case .embed: try embed(exchange)
        case .score: try score(exchange)
        case .item(let encodedID): try describeItem(encodedID, exchange)
        case .live: exchange.reply.append("{\"status\":\"live\"}")
        case .ready:
            guard readiness.isReady else { throw Problem(.notReady, "the server is starting or draining") }
            encoder.encodeReady(to: &exchange.reply)
        case .description: description.withUnsafeBytes { exchange.reply.append($0) }
        }
    }

    private func retrieve(_ exchange: Exchange) throws(Problem) {
        let start = Instant.now
        do throws(RequestError) {
            try decoder.decodeRetrieve(exchange.body, into: &retrieval)
        } catch {
            throw Problem(error)
        }
        try requireReplyType(exchange)
        let decoded = Instant.now
        let deadline = retrieval.timeoutMillis.map { Instant(nanoseconds: exchange.arrivedBy()).advanced(byMillis: $0) }
        do throws(RetrievalError) {
            try retriever.requireSpace(retrieval.requiredSpaceID)
            // Nobody waits for this answer any more; those behind it wait for the worker.
            if let deadline, decoded >= deadline { throw RetrievalError.deadlineExceeded }
            let context = try retriever.enrich(retrieval.user)
            let enriched = Instant.now
            let embedding = try retriever.embed(retrieval.user, context, strict: retrieval.strict)
            let embedded = Instant.now
            let hits = try retriever.search(embedding, retrieval, deadline: deadline?.nanoseconds)
            let searched = Instant.now
            guard hits.scores.allSatisfy(\.isFinite) else { throw RetrievalError.embeddingNotFinite }

            var explanation: ResponseEncoder.Explanation?
            if retrieval.explain {
                var explained = explain(context, hits)
                explained.decodeMicros = decoded.micros(since: start)
                explained.enrichMicros = enriched.micros(since: decoded)
                explained.embedMicros = embedded.micros(since: enriched)
                explained.searchMicros = searched.micros(since: embedded)
                explanation = explained
            }
            let headByteCount = encoder.encodeRetrieve(
                retrieval, rows: hits.rows, scores: hits.scores, isColdStart: context.isColdStart,
                isComplete: hits.isComplete, explanation: explanation, to: &exchange.reply)
            if let headByteCount {
                exchange.contentType = "application/octet-stream"
                exchange.setHeader("Inference-Header-Content-Length", headByteCount)
            }
        } catch {
            throw Problem(error, user: retrieval.user, snapshot: snapshot)
        }
    }

    /// What `format` asks for must be what Accept allows and the snapshot's ids fit.
    private func requireReplyType(_ exchange: Exchange) throws(Problem) {
        guard retrieval.format == .binary else { return try exchange.requireAccepts(.json) }
        try exchange.requireAccepts(.octets)
        if case .texts = snapshot.items.ids {
            throw Problem(
                .textIDs, "format \"binary\" needs a catalogue whose ids are numbers; take rows or columns",
                field: "/format")
        }
    }

    private func explain(_ context: UserContext, _ hits: Hits) -> ResponseEncoder.Explanation {
        var explanation = ResponseEncoder.Explanation()
        explanation.hasCrossVector = context.cached.cross != nil
        explanation.hasCascadeVector = context.cached.cascade != nil
        explanation.scoredItemCount = hits.scoredCount
        explanation.ignoredFeatures = retriever.ignoredFeatures
        guard !retrieval.exact else { return explanation }
        switch snapshot.index.kind {
        case .flat: break
        case .hnsw:
            // As the index does: no narrower than k, and no walk that would see every item.
            let ef = max(
                retrieval.ef ?? snapshot.manifest.index.ef ?? snapshot.index.defaults.ef ?? 1,
                min(retrieval.k, snapshot.index.count))
            if ef < snapshot.index.count { explanation.ef = ef }
        case .ivfFlat:
            explanation.nprobe =
                retrieval.nprobe ?? snapshot.manifest.index.nprobe ?? snapshot.index.defaults.nprobe ?? 1
        }
        return explanation
    }

    private func embed(_ exchange: Exchange) throws(Problem) {
        do throws(RequestError) {
            try decoder.decodeEmbed(exchange.body, into: &embedding)
        } catch {
            throw Problem(error)
        }
        do throws(RetrievalError) {
            try retriever.requireSpace(embedding.requiredSpaceID)
        } catch {
            throw Problem(error, user: UserQuery(), snapshot: snapshot)
        }
        encoder.beginEmbed(embedding, to: &exchange.reply)
        // Several users are embedded together: the tower's weights are then read once for all of them.
        for first in stride(from: 0, to: embedding.userCount, by: Retriever.placeCount) {
            try embedUsers(first..<min(first + Retriever.placeCount, embedding.userCount), exchange)
        }
        encoder.endEmbed(embedding, to: &exchange.reply)
    }

    /// Embeds up to `Retriever.placeCount` users and writes their embeddings. The first user at fault, in the request's
    /// order, is the one reported.
    private func embedUsers(_ users: Range<Int>, _ exchange: Exchange) throws(Problem) {
        coldStarts.removeAll(keepingCapacity: true)
        var refused: RetrievalError?
        for index in users {
            do throws(RetrievalError) {
                let context = try retriever.enrich(embedding.users[index])
                try retriever.place(
                    embedding.users[index], context, strict: embedding.strict, at: index - users.lowerBound)
                coldStarts.append(context.isColdStart)
            } catch {
                // Those before it may still be at fault themselves, and then come first.
                refused = error
                break
            }
        }
        if !coldStarts.isEmpty { retriever.embedPlaced(count: coldStarts.count) }
        for (place, isColdStart) in coldStarts.enumerated() {
            let index = users.lowerBound + place
            do throws(RetrievalError) {
                let result = try retriever.embedding(at: place)
                encoder.appendEmbedding(
                    result.values, isColdStart: isColdStart, index: index, isBatch: embedding.isBatch,
                    to: &exchange.reply)
            } catch {
                throw embedProblem(error, index)
            }
        }
        if let refused { throw embedProblem(refused, users.lowerBound + coldStarts.count) }
    }

    private func embedProblem(_ error: RetrievalError, _ index: Int) -> Problem {
        Problem(
            error, user: embedding.users[index], snapshot: snapshot, at: embedding.isBatch ? "/requests/\(index)" : "")
    }

    private func score(_ exchange: Exchange) throws(Problem) {
        do throws(RequestError) {
            try decoder.decodeScore(exchange.body, into: &scoring)
        } catch {
            throw Problem(error)
        }
        do throws(RetrievalError) {
            try retriever.requireSpace(scoring.requiredSpaceID)
            let context = try retriever.enrich(scoring.user)
            let embedding = try retriever.embed(scoring.user, context, strict: scoring.strict)
            scores.removeAll(keepingCapacity: true)
            for index in scoring.items.indices {
                let row = try retriever.itemRow(of: scoring.items[index], field: .items(index))
                let score = row.map { retriever.score(embedding, itemRow: $0) }
                guard score?.isFinite ?? true else { throw RetrievalError.embeddingNotFinite }
                scores.append(score)
            }
            encoder.encodeScore(scoring, scores: scores, isColdStart: context.isColdStart, to: &exchange.reply)
        } catch {
            throw Problem(error, user: scoring.user, snapshot: snapshot)
        }
    }

    private func describeItem(_ encodedID: Text, _ exchange: Exchange) throws(Problem) {
        guard let id = exchange.percentDecoded(encodedID), String(validating: id.bytes, as: UTF8.self) != nil else {
            throw Problem(.malformedPath, encodedID.string)
        }
        guard let row = snapshot.items.ids.row(of: id) else {
            throw Problem(.unknownItem, id.string)
        }
        encoder.encodeItem(row, of: snapshot, to: &exchange.reply)
    }
}

extension Exchange {
    func requireMethod(_ methods: Route.Methods) throws(Problem) {
        let isTaken = methods == .post ? method == .post : method == .get || method == .head
        guard isTaken else {
            var problem = Problem(.methodNotAllowed, "\(path.string) takes \(methods.rawValue)")
            problem.allowed = methods
            throw problem
        }
    }

    func requireAccepts(_ type: Route.ReplyType) throws(Problem) {
        guard let accept = header("Accept") else { return }
        let isAccepted =
            switch type {
            case .json: MediaType.acceptsJSON(accept)
            case .octets: MediaType.acceptsOctets(accept)
            case .either: MediaType.acceptsJSON(accept) || MediaType.acceptsOctets(accept)
            }
        guard isAccepted else { throw Problem(.notAcceptable, "Accept excludes \(type.rawValue)") }
    }

    /// A body without a Content-Type is taken for JSON.
    func requireJSONBody() throws(Problem) {
        if let encoding = header("Content-Encoding"), !MediaType.isIdentity(encoding) {
            throw Problem(.unsupportedContentEncoding, "Content-Encoding must be absent or identity")
        }
        if let type = header("Content-Type"), !MediaType.isJSON(type) {
            throw Problem(.unsupportedMediaType, "Content-Type must be absent or application/json in UTF-8")
        }
    }

    /// Makes a problem the reply, in place of what was written so far.
    func answer(_ problem: Problem) {
        clearReply()
        status = problem.status
        contentType = "application/problem+json"
        problem.write(to: &reply)
        switch problem.allowed {
        case .get: setHeader("Allow", "GET, HEAD")
        case .post: setHeader("Allow", "POST")
        case nil: break
        }
        if problem.kind == .notReady { setHeader("Retry-After", 1) }
    }
}
