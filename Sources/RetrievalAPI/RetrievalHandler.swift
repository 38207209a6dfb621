public import HTTPServer
internal import Identifiers
internal import JSON
public import Memory
internal import Metrics
internal import Retrieval
internal import Snapshots
internal import Towers

/// Answers one worker's requests from the snapshot that serves: decode, enrich, embed, search, encode, in this order and on
/// the worker's thread. It owns what a request changes, so it is not for two threads at once. A request is answered from one
/// generation from its first byte to its last, whatever takes that one's place meanwhile.
///
/// Requests that may take long it sets aside, if told how long one goes on before others are served. Those are for a second handler,
/// because the first is called while the second is in the middle of one:
///
///     return { exchange in (exchange.isSetAside ? forLongOnes : handler).handle(exchange) }
///
///     let serving = Swappable<Generation>(readerCount: 2 * workers)
///     let readiness = Readiness()
///     let server = HTTPServer(configuration: configuration) { worker in
///         let handler = RetrievalHandler(serving: serving, reader: worker, readiness: readiness)
///         return { exchange in handler.handle(exchange) }
///     }
public final class RetrievalHandler {
    private let serving: Swappable<Generation>
    private let reader: Int
    private let longRequests: LongRequests?
    private let others: OtherConnections
    private let readiness: Readiness
    private let decoder: RequestDecoder
    private let description: [UInt8]
    private let metrics: RequestMetrics
    private let sample: RequestSample?
    private let writeMetrics: (inout ByteWriter) -> Void
    private var endpoint = RequestMetrics.Endpoint.other
    private var isSettingAside = false
    // Reused from request to request.
    private var retrieval = RetrievalQuery()
    private var embedding = EmbedQuery()
    private var coldStarts: [Bool] = []
    private var scoring = ScoreQuery()
    private var scores: [Float?] = []

    /// Allocates what one worker needs for bodies of up to so many bytes; traps if there is no memory for that.
    ///
    /// - serving: what answers; nothing at first, maybe, and then requests are refused with 503.
    /// - reader: its number, which is that of its session in each generation.
    /// - metrics: what it counts in.
    /// - longRequests: which requests are set aside; nil for none.
    /// - sample: where some of its requests are kept.
    /// - writeMetrics: writes what `/metrics` answers.
    public init(
        serving: Swappable<Generation>, reader: Int, readiness: Readiness,
        maximumBodyByteCount: Int = HTTPLimits().bodyBytesMax, longRequests: LongRequests? = nil,
        metrics: RequestMetrics = RequestMetrics(),
        sample: RequestSample? = nil, writeMetrics: @escaping (inout ByteWriter) -> Void = { _ in }
    ) {
        self.metrics = metrics
        self.sample = sample
        self.writeMetrics = writeMetrics
        self.serving = serving
        self.reader = reader
        self.longRequests = longRequests
        others = OtherConnections(yieldNanoseconds: longRequests?.yieldNanoseconds ?? 0)
        self.readiness = readiness
        do throws(JSONSyntaxError) {
            decoder = try RequestDecoder(maximumBodyByteCount: maximumBodyByteCount)
        } catch {
            fatalError("a worker's decoder: \(error)")
        }
        description = Array(OpenAPI.document.utf8)
    }

    /// Answers one request, or sets it aside.
    public func handle(_ exchange: Exchange) {
        endpoint = .other
        isSettingAside = false
        do throws(Problem) {
            try answer(exchange)
        } catch {
            metrics.refusals(error.kind).increment()
            exchange.answer(error)
        }
        if isSettingAside { return exchange.setAside() }
        metrics.count(
            endpoint, status: exchange.status, nanoseconds: Instant.now.nanoseconds - exchange.receivedAt)
    }

    private func answer(_ exchange: Exchange) throws(Problem) {
        guard let route = Route(path: exchange.path) else {
            throw Problem(.unknownPath, exchange.path.string)
        }
        switch route {
        case .retrieve: endpoint = .retrieve
        case .embed: endpoint = .embed
        case .score: endpoint = .score
        case .item: endpoint = .item
        case .live, .ready, .metrics, .description: break
        }
        try exchange.requireMethod(route.methods)
        try exchange.requireAccepts(route.replyType)
        if route.methods == .post { try exchange.requireJSONBody() }
        switch route {
        case .live: return exchange.reply.append("{\"status\":\"live\"}")
        case .metrics:
            exchange.contentType = MetricsText.contentType
            return writeMetrics(&exchange.reply)
        case .description: return description.withUnsafeBytes { exchange.reply.append($0) }
        case .ready where !readiness.isReady: throw Problem(.notReady, "the server is starting or draining")
        default: break
        }
        let reader = reader
        try serving.withPinned(by: reader, taking: { $0.session(reader) }) { (session: Session?) throws(Problem) in
            guard let session else { throw Problem(.notReady, "no snapshot serves yet") }
            switch route {
            case .retrieve: try retrieve(exchange, session)
            case .embed: try embed(exchange, session)
            case .score: try score(exchange, session)
            case .item(let encodedID): try describeItem(encodedID, exchange, session)
            case .ready: session.encoder.encodeReady(to: &exchange.reply)
            case .live, .description, .metrics: break
            }
        }
    }

    private func retrieve(_ exchange: Exchange, _ session: Session) throws(Problem) {
        let began = Instant.now
        do throws(RequestError) {
            try decoder.decodeRetrieve(exchange.body, into: &retrieval)
        } catch {
            throw Problem(error)
        }
        try requireReplyType(exchange, session)
        let decoded = Instant.now
        let deadline = retrieval.timeoutMillis.map { Instant(nanoseconds: exchange.arrivedBy()).advanced(byMillis: $0) }
        if let longRequests {
            if exchange.isSetAside {
                others.exchange = exchange
                session.retriever.yield(to: others)
            } else {
                // One that is late already is refused at once.
                isSettingAside =
                    deadline.map { decoded < $0 } ?? true
                    && session.retriever.mayTake(longerThan: longRequests.searchNanosecondsMax, retrieval)
                if isSettingAside { return }
            }
        }
        defer {
            if exchange.isSetAside {
                session.retriever.yield(to: nil)
                others.exchange = nil
            }
        }
        let outcome: Session.Outcome
        do throws(RetrievalError) {
            outcome = try session.retrieve(
                retrieval, began: began, decoded: decoded, deadline: deadline, to: &exchange.reply)
        } catch {
            throw Problem(error, user: retrieval.user, snapshot: session.snapshot)
        }
        metrics.count(outcome.steps, encoded: Instant.now)
        if !outcome.isComplete { metrics.degraded.increment() }
        if outcome.isColdStart { metrics.coldStarts.increment() }
        sample?.offer(exchange.body)
        if let headByteCount = outcome.headByteCount {
            exchange.contentType = "application/octet-stream"
            exchange.setHeader("Inference-Header-Content-Length", headByteCount)
        }
    }

    /// What `format` asks for must be what Accept allows and the snapshot's ids fit.
    private func requireReplyType(_ exchange: Exchange, _ session: Session) throws(Problem) {
        guard retrieval.format == .binary else { return try exchange.requireAccepts(.json) }
        try exchange.requireAccepts(.octets)
        if case .texts = session.encoder.itemIDs {
            throw Problem(
                .textIDs, "format \"binary\" needs a catalogue whose ids are numbers; take rows or columns",
                field: "/format")
        }
    }

    private func embed(_ exchange: Exchange, _ session: Session) throws(Problem) {
        do throws(RequestError) {
            try decoder.decodeEmbed(exchange.body, into: &embedding)
        } catch {
            throw Problem(error)
        }
        do throws(RetrievalError) {
            try session.retriever.requireSpace(embedding.requiredSpaceID)
        } catch {
            throw Problem(error, user: UserQuery(), snapshot: session.snapshot)
        }
        if let longRequests, !exchange.isSetAside, embedding.userCount > longRequests.batchUserCountMax {
            isSettingAside = true
            return
        }
        session.encoder.beginEmbed(embedding, to: &exchange.reply)
        // Several users are embedded together: the tower's weights are then read once for all of them.
        for first in stride(from: 0, to: embedding.userCount, by: Retriever.placeCount) {
            try embedUsers(first..<min(first + Retriever.placeCount, embedding.userCount), exchange, session)
            if exchange.isSetAside, let longRequests, first + Retriever.placeCount < embedding.userCount {
                exchange.serveOthers(every: longRequests.yieldNanoseconds)
            }
        }
        session.encoder.endEmbed(embedding, to: &exchange.reply)
    }

    /// Embeds up to `Retriever.placeCount` users and writes their embeddings. The first user at fault, in the request's
    /// order, is the one reported.
    private func embedUsers(_ users: Range<Int>, _ exchange: Exchange, _ session: Session) throws(Problem) {
        let retriever = session.retriever
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
                session.encoder.appendEmbedding(
                    result.values, isColdStart: isColdStart, index: index, isBatch: embedding.isBatch,
                    to: &exchange.reply)
            } catch {
                throw embedProblem(error, index, session)
            }
        }
        if let refused { throw embedProblem(refused, users.lowerBound + coldStarts.count, session) }
    }

    private func embedProblem(_ error: RetrievalError, _ index: Int, _ session: Session) -> Problem {
        Problem(
            error, user: embedding.users[index], snapshot: session.snapshot,
            at: embedding.isBatch ? "/requests/\(index)" : "")
    }

    private func score(_ exchange: Exchange, _ session: Session) throws(Problem) {
        do throws(RequestError) {
            try decoder.decodeScore(exchange.body, into: &scoring)
        } catch {
            throw Problem(error)
        }
        do throws(RetrievalError) {
            try session.retriever.requireSpace(scoring.requiredSpaceID)
            let context = try session.retriever.enrich(scoring.user)
            let embedding = try session.retriever.embed(scoring.user, context, strict: scoring.strict)
            scores.removeAll(keepingCapacity: true)
            for index in scoring.items.indices {
                let row = try session.retriever.itemRow(of: scoring.items[index], field: .items(index))
                let score = row.map { session.retriever.score(embedding, itemRow: $0) }
                guard score?.isFinite ?? true else { throw RetrievalError.embeddingNotFinite }
                scores.append(score)
            }
            session.encoder.encodeScore(scoring, scores: scores, isColdStart: context.isColdStart, to: &exchange.reply)
        } catch {
            throw Problem(error, user: scoring.user, snapshot: session.snapshot)
        }
    }

    private func describeItem(_ encodedID: Text, _ exchange: Exchange, _ session: Session) throws(Problem) {
        guard let id = exchange.percentDecoded(encodedID), String(validating: id.bytes, as: UTF8.self) != nil else {
            throw Problem(.malformedPath, encodedID.string)
        }
        guard let row = session.snapshot.items.ids.row(of: id) else {
            throw Problem(.unknownItem, id.string)
        }
        session.encoder.encodeItem(row, of: session.snapshot, to: &exchange.reply)
    }
}

extension Exchange {
    package func requireMethod(_ methods: Route.Methods) throws(Problem) {
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
            case .metrics: true
            }
        guard isAccepted else { throw Problem(.notAcceptable, "Accept excludes \(type.rawValue)") }
    }

    /// A body without a Content-Type is taken for JSON.
    package func requireJSONBody() throws(Problem) {
        if let encoding = header("Content-Encoding"), !MediaType.isIdentity(encoding) {
            throw Problem(.unsupportedContentEncoding, "Content-Encoding must be absent or identity")
        }
        if let type = header("Content-Type"), !MediaType.isJSON(type) {
            throw Problem(.unsupportedMediaType, "Content-Type must be absent or application/json in UTF-8")
        }
    }

    /// Makes a problem the reply, in place of what was written so far.
    package func answer(_ problem: Problem) {
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
