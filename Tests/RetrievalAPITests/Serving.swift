import Foundation
import HTTPServer
import JSON
import Memory
import RetrievalAPI
import Snapshots
import TestSupport
import Testing

/// A server of the test's own over one of the fixtures. Whatever it answers is held to openapi.json.
final class Serving {
    let snapshot: Snapshot
    let readiness = Readiness()
    let metrics: RequestMetrics
    private let server: HTTPServer

    /// `wrap` may put something around the handler, on the worker's thread.
    ///
    /// - longRequests: which requests are set aside, for a second handler.
    convenience init(
        _ fixture: String, longRequests: LongRequests? = nil,
        wrap: @escaping @Sendable (RetrievalHandler) -> (Exchange) -> Void = { handler in { handler.handle($0) } }
    ) throws {
        let files = try SnapshotFiles(path: try Fixtures.path(fixture))
        try files.verify()
        let snapshot = try Snapshot(loading: files)
        let serving = Swappable<Generation>(readerCount: 2)
        serving.swap(Generation(snapshot: snapshot, workerCount: 1))
        let metrics = RequestMetrics()
        try self.init(snapshot: snapshot, metrics: metrics) { readiness in
            func makeHandler(reader: Int) -> (Exchange) -> Void {
                wrap(
                    RetrievalHandler(
                        serving: serving, reader: reader, readiness: readiness, longRequests: longRequests,
                        metrics: metrics)
                )
            }
            let (handle, handleLong) = (makeHandler(reader: 0), makeHandler(reader: 1))
            return { exchange in exchange.isSetAside ? handleLong(exchange) : handle(exchange) }
        }
    }

    /// `makeHandler` makes what answers from the snapshot, on the worker's thread.
    init(
        snapshot: Snapshot, metrics: RequestMetrics = RequestMetrics(),
        makeHandler: @escaping @Sendable (Readiness) -> (Exchange) -> Void
    ) throws {
        self.snapshot = snapshot
        self.metrics = metrics
        let readiness = readiness
        server = HTTPServer(
            configuration: HTTPConfiguration(
                address: try ListenAddress("127.0.0.1:0"), postponesReplies: true)
        ) { _ in
            makeHandler(readiness)
        }
        try server.start()
        readiness.set(true)
    }

    deinit {
        server.stop()
    }

    /// A request of the snapshot's warm-up, the first a known user's, with other members than its own appended.
    func warmup(_ more: String = "", line number: Int = 0) throws -> String {
        let line = try String(contentsOfFile: "\(snapshot.path)/warmup.jsonl", encoding: .utf8).split(separator: "\n")[
            number]
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        let parts = try ["user", "context"].compactMap { name in
            try object[name].map { value in
                let json = try JSONSerialization.data(withJSONObject: value)
                return "\"\(name)\":\(String(decoding: json, as: UTF8.self))"
            }
        }
        return "{\((parts + (more.isEmpty ? [] : [more])).joined(separator: ","))}"
    }

    /// Sends the same request several times on one connection; the replies' statuses.
    func post(_ path: String, _ body: String, times: Int) throws -> [Int] {
        let connection = try Connection(port: UInt16(server.boundAddress!.port!), timeout: 60)
        let message = Data(
            "POST \(path) HTTP/1.1\r\nHost: belfry\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8)
        return try (0..<times).map { _ in
            connection.write(message)
            return try connection.readReply().status
        }
    }

    /// Opens a connection.
    func connect() throws -> Connection {
        try Connection(port: UInt16(server.boundAddress!.port!), timeout: 60)
    }

    /// Sends a request and holds path, method, status and the reply's shape to openapi.json.
    func send(
        _ method: String, _ path: String, _ body: String? = nil, headers: [String: String] = [:]
    ) throws -> Reply {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: belfry\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if let body { head += "Content-Length: \(body.utf8.count)\r\n" }
        let connection = try Connection(port: UInt16(server.boundAddress!.port!), timeout: 60)
        connection.write(Data((head + "\r\n" + (body ?? "")).utf8))
        let reply = try connection.readReply()
        let mediaType = reply.headers["content-type"] ?? ""
        // Of a binary reply the JSON is at the beginning.
        let jsonByteCount =
            mediaType == "application/octet-stream"
            ? try #require(reply.headers["inference-header-content-length"].flatMap { Int($0) }) : reply.body.count
        let root = try jsonByteCount == 0 ? nil : JSONDocument(Array(reply.body.prefix(jsonByteCount))).root
        if let root { try Documented.check(method, path, reply.status, root, mediaType: mediaType) }
        return Reply(
            status: reply.status, headers: reply.headers, root: root, text: String(decoding: reply.body, as: UTF8.self),
            rest: Array(reply.body.dropFirst(jsonByteCount)))
    }

    func post(_ path: String, _ body: String, headers: [String: String] = [:]) throws -> Reply {
        try send("POST", path, body, headers: headers)
    }

    func get(_ path: String, headers: [String: String] = [:]) throws -> Reply {
        try send("GET", path, headers: headers)
    }

    struct Reply {
        let status: Int
        let headers: [String: String]
        /// Nil without a body.
        let root: JSONNode?
        /// The whole body.
        let text: String
        /// What follows the JSON of a binary reply.
        let rest: [UInt8]

        func member(_ name: String) throws -> JSONNode {
            try #require(root).member(name)
        }

        /// Ids and scores of either format.
        func hits() throws -> (ids: [String], scores: [Double]) {
            if let items = try #require(root).optionalMember("items")?.elements() {
                return (
                    try items.map { try $0.member("id").string() }, try items.map { try $0.member("score").number() }
                )
            }
            return (try member("ids").strings(), try member("scores").numbers())
        }

        /// `status slug field` of a problem.
        func problem() throws -> String {
            #expect(headers["content-type"] == "application/problem+json")
            let type = try member("type").string().replacing("urn:belfry:problem:", with: "")
            #expect(try member("status").integer() == status)
            #expect(try !member("title").string().isEmpty && !member("detail").string().isEmpty)
            let field = try #require(root).optionalMember("field")?.string()
            return "\(status) \(type)" + (field.map { " \($0)" } ?? "")
        }
    }
}

/// openapi.json, read as a client would.
enum Documented {
    /// That the reply's operation, status and shape are documented.
    static func check(
        _ method: String, _ path: String, _ status: Int, _ reply: JSONNode, mediaType: String
    ) throws {
        let document = try JSONDocument(OpenAPI.document).root
        let plain = String(path.prefix { $0 != "?" })
        let isItem = plain.hasPrefix("/v1/items/") && !plain.dropFirst(10).isEmpty && !plain.dropFirst(10).contains("/")
        let template = isItem ? "/v1/items/{id}" : plain
        guard let operations = try document.member("paths").optionalMember(template) else {
            #expect(status == 404, "\(path) is not documented and answers \(status)")
            return
        }
        guard let operation = try operations.optionalMember(method == "HEAD" ? "get" : method.lowercased()) else {
            #expect(status == 405, "\(method) \(path) is not documented and answers \(status)")
            return
        }
        guard var response = try operation.member("responses").optionalMember("\(status)") else {
            Issue.record("\(method) \(path) answers \(status), which is not documented")
            return
        }
        response = try resolved(response, in: document)
        let contents = try response.member("content").members()
        guard let content = contents.first(where: { $0.name == mediaType }) else {
            Issue.record("\(method) \(path) answers \(status) with \(mediaType), which is not documented")
            return
        }
        #expect((status == 200) != (mediaType == "application/problem+json"))
        var schema = try content.node.member("schema")
        if mediaType == "application/octet-stream" {
            #expect(try response.member("headers").optionalMember("Inference-Header-Content-Length") != nil)
            schema = try document.member("components").member("schemas").member("RetrieveHead")
        }
        let faults = try faults(of: reply, by: schema, in: document)
        #expect(faults.isEmpty, "\(method) \(path): \(faults)")
        if status != 200 {
            let type = try reply.member("type").string()
            #expect(try response.member("description").string().contains(type))
        }
    }

    private static func resolved(_ node: JSONNode, in document: JSONNode) throws -> JSONNode {
        guard node.kind == .object, let reference = try node.optionalMember("$ref")?.string() else { return node }
        return try reference.split(separator: "/").dropFirst().reduce(document) { try $0.member(String($1)) }
    }

    /// Where `value` deviates from the part of JSON Schema that the document uses.
    static func faults(of value: JSONNode, by schema: JSONNode, in document: JSONNode) throws -> [String] {
        let schema = try resolved(schema, in: document)
        var faults: [String] = []
        if let type = try schema.optionalMember("type") {
            let allowed = type.kind == .string ? [try type.string()] : try type.strings()
            let own =
                switch value.kind {
                case .object: ["object"]
                case .array: ["array"]
                case .string: ["string"]
                case .integer: ["integer", "number"]
                case .number: ["number"]
                case .boolean: ["boolean"]
                case .null: ["null"]
                }
            if Set(own).isDisjoint(with: allowed) { faults.append("\(value.path): \(own) is not \(allowed)") }
        }
        if let words = try schema.optionalMember("enum")?.strings(), value.kind == .string {
            if try !words.contains(value.string()) { faults.append("\(value.path): not one of \(words)") }
        }
        if value.kind == .object {
            let members = try value.members()
            let properties = try schema.optionalMember("properties")?.members() ?? []
            for name in try schema.optionalMember("required")?.strings() ?? []
            where !members.contains(where: { $0.name == name }) {
                faults.append("\(value.path): lacks \(name)")
            }
            for (name, member) in members {
                if let property = properties.first(where: { $0.name == name }) {
                    faults += try Documented.faults(of: member, by: property.node, in: document)
                } else if try schema.optionalMember("additionalProperties")?.boolean() == false {
                    faults.append("\(member.path): not documented")
                }
            }
        }
        if value.kind == .array, let items = try schema.optionalMember("items") {
            for element in try value.elements() {
                faults += try Documented.faults(of: element, by: items, in: document)
            }
        }
        if let choices = try schema.optionalMember("oneOf")?.elements() {
            let fitting = try choices.filter { try Documented.faults(of: value, by: $0, in: document).isEmpty }.count
            if fitting != 1 { faults.append("\(value.path): fits \(fitting) of \(choices.count) choices") }
        }
        return faults
    }
}
