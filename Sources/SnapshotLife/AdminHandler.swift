public import HTTPServer
internal import JSON
public import Memory
internal import Metrics
public import RetrievalAPI
internal import Snapshots

/// Answers the admin plane: what snapshots there are, and commands on them and on paused items. One worker; a command that takes
/// long is waited for without holding up others.
///
///     GET  /v1/snapshots
///     POST /v1/snapshots/{id}:load, /v1/snapshots/{id}:activate[?wait=0], /v1/snapshots:rollback
///     POST /v1/items:pause, /v1/items:resume {"ids": [...]}, /v1/items:prune
///     GET  /v1/config, /livez, /readyz, /metrics
///
/// `/v1/models/default/snapshots...` is the same as `/v1/snapshots...`.
public final class AdminHandler {
    private let life: SnapshotLife
    private let readiness: Readiness
    private let configuration: [UInt8]
    private let writeMetrics: (inout ByteWriter) -> Void

    /// The longest body: a million ids.
    public static let bodyByteCountMax = 32 << 20
    /// Ids in one request.
    public static let idCountMax = 1_000_000

    /// - configuration: what `/v1/config` answers, a JSON object.
    /// - writeMetrics: writes what `/metrics` answers.
    public init(
        life: SnapshotLife, readiness: Readiness, configuration: String,
        writeMetrics: @escaping (inout ByteWriter) -> Void
    ) {
        self.life = life
        self.readiness = readiness
        self.configuration = Array(configuration.utf8)
        self.writeMetrics = writeMetrics
    }

    /// Answers one request, or postpones that until a command is carried out.
    public func handle(_ exchange: Exchange) {
        do throws(Problem) {
            if let ticket = exchange.postponed as? Ticket {
                try answer(ticket, exchange)
            } else {
                try answer(exchange)
            }
        } catch {
            exchange.answer(error)
        }
    }

    private enum Command {
        case load(String), activate(String), rollback, dropPauses
    }

    private func answer(_ exchange: Exchange) throws(Problem) {
        let path = try path(of: exchange)
        switch path {
        case "/v1/snapshots":
            try exchange.requireMethod(.get)
            life.write(to: &exchange.reply)
        case "/v1/config":
            try exchange.requireMethod(.get)
            configuration.withUnsafeBytes { exchange.reply.append($0) }
        case "/livez":
            try exchange.requireMethod(.get)
            exchange.reply.append("{\"status\":\"live\"}")
        case "/readyz":
            try exchange.requireMethod(.get)
            guard readiness.isReady else { throw Problem(.notReady, "the server is starting or draining") }
            exchange.reply.append("{\"status\":\"ready\"}")
        case "/metrics":
            try exchange.requireMethod(.get)
            exchange.contentType = MetricsText.contentType
            writeMetrics(&exchange.reply)
        case "/v1/snapshots:rollback": try begin(.rollback, exchange)
        case "/v1/items:pause": try pause(exchange, isPaused: true)
        case "/v1/items:resume": try pause(exchange, isPaused: false)
        case "/v1/items:prune": try begin(.dropPauses, exchange)
        default:
            guard path.hasPrefix("/v1/snapshots/") else { throw Problem(.unknownPath, path) }
            let rest = path.dropFirst("/v1/snapshots/".count)
            if rest.hasSuffix(":load") {
                try begin(.load(String(rest.dropLast(":load".count))), exchange)
            } else if rest.hasSuffix(":activate") {
                try begin(.activate(String(rest.dropLast(":activate".count))), exchange)
            } else {
                throw Problem(.unknownPath, path)
            }
        }
    }

    /// The path, of the default model in its short form.
    private func path(of exchange: Exchange) throws(Problem) -> String {
        guard let text = exchange.percentDecoded(exchange.path),
            let path = String(validating: text.bytes, as: UTF8.self)
        else { throw Problem(.malformedPath, exchange.path.string) }
        let models = "/v1/models/"
        guard path.hasPrefix(models) else { return path }
        let rest = path.dropFirst(models.count)
        guard let slash = rest.firstIndex(of: "/") else { throw Problem(.unknownPath, path) }
        guard rest[..<slash] == "default" else {
            throw Problem(.unknownModel, "only the model \"default\" is served")
        }
        return "/v1" + rest[slash...]
    }

    // MARK: - Commands

    private func begin(_ command: Command, _ exchange: Exchange) throws(Problem) {
        try exchange.requireMethod(.post)
        let waits = try self.waits(exchange.query)
        let ticket =
            switch command {
            case .load(let id): life.load(id)
            case .activate(let id): life.activate(id)
            case .rollback: life.rollback()
            case .dropPauses: life.dropPauses()
            }
        guard waits else {
            exchange.status = 202
            exchange.reply.append("{\"status\":\"accepted\"}")
            return
        }
        exchange.postponed = ticket
        exchange.postpone { ticket.isDone }
    }

    /// `?wait=0` does not wait; nothing else may be asked.
    private func waits(_ query: Text?) throws(Problem) -> Bool {
        switch query?.string {
        case nil, "", "wait=1": return true
        case "wait=0": return false
        case .some(let other): throw Problem(.unknownField, "the query '\(other)' is not wait=0 or wait=1")
        }
    }

    private func answer(_ ticket: Ticket, _ exchange: Exchange) throws(Problem) {
        guard let result = ticket.result else { throw Problem(.notReady, "the daemon ends") }
        switch result {
        case .success(let text):
            if try path(of: exchange) == "/v1/items:prune" {
                exchange.reply.append("{\"dropped\":")
                exchange.reply.append(text: text)
            } else {
                exchange.reply.append("{\"id\":")
                exchange.reply.appendJSON(text)
                exchange.reply.append(",\"state\":")
                exchange.reply.appendJSON(life.records[text]?.state.rawValue ?? "serving")
            }
            exchange.reply.append("}")
        case .failure(let error): throw Problem(error)
        }
    }

    // MARK: - Items

    private func pause(_ exchange: Exchange, isPaused: Bool) throws(Problem) {
        try exchange.requireMethod(.post)
        try exchange.requireJSONBody()
        let ids = try ids(in: exchange.body)
        guard let pauses = life.pauses else {
            throw Problem(.stateUnavailable, "what is paused must outlast the daemon: start it with --state DIR")
        }
        let changed: [String]
        do {
            changed = isPaused ? try pauses.pause(ids) : try pauses.resume(ids)
        } catch {
            throw Problem(.stateUnavailable, "\(error)")
        }
        exchange.reply.append("{\"changed\":")
        exchange.reply.appendJSON(changed.count)
        exchange.reply.append(",\"paused\":")
        exchange.reply.appendJSON(pauses.count)
        exchange.reply.append("}")
    }

    /// `{"ids": ["i17", 18]}`
    private func ids(in body: UnsafeRawBufferPointer) throws(Problem) -> [String] {
        let document: JSONDocument
        do throws(JSONDocumentError) {
            document = try JSONDocument(body)
        } catch {
            throw Problem(.malformedJSON, error.description)
        }
        defer { withExtendedLifetime(document) {} }
        guard let object = document.root.value.object else {
            throw Problem(.wrongType, "the body: expected an object", field: "")
        }
        var ids: [String]?
        for (name, value) in object {
            guard name == Text("ids") else {
                throw Problem(.unknownField, "\(value.pointer) is not a field of this request", field: value.pointer)
            }
            guard ids == nil else { throw Problem(.duplicateKey, "/ids stands twice", field: "/ids") }
            ids = try self.ids(value)
        }
        guard let ids else { throw Problem(.missingField, "/ids is missing", field: "/ids") }
        return ids
    }

    private func ids(_ list: JSONValue) throws(Problem) -> [String] {
        guard let elements = list.array else { throw Problem(.wrongType, "/ids: expected a list", field: "/ids") }
        var ids: [String] = []
        for element in elements {
            guard ids.count < Self.idCountMax else {
                throw Problem(
                    .tooMany, "/ids exceeds the limit of \(Self.idCountMax)", field: "/ids", limit: Self.idCountMax)
            }
            let id: String
            if let text = element.text {
                id = text.string
            } else if let number = element.unsigned {
                id = "\(number)"
            } else {
                throw Problem(
                    .wrongType, "\(element.pointer): expected a string or a non-negative integer",
                    field: element.pointer)
            }
            guard Limits.idByteCount.contains(id.utf8.count) else {
                throw Problem(
                    .textLength, "\(element.pointer) must have 1 to \(Limits.idByteCount.upperBound) bytes",
                    field: element.pointer)
            }
            ids.append(id)
        }
        return ids
    }
}

extension Problem {
    /// Why a command was not carried out.
    init(_ error: SnapshotLifeError) {
        switch error {
        case .unknownSnapshot: self.init(.unknownSnapshot, error.description)
        case .refused(let fault): self.init(.snapshotRefused, "\(fault.stage.rawValue): \(fault)")
        case .nothingBefore: self.init(.nothingBefore, error.description)
        case .ending: self.init(.notReady, error.description)
        case .state: self.init(.stateUnavailable, error.description)
        }
    }
}
