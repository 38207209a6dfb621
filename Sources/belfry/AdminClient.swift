internal import ArgumentParser
internal import Foundation
internal import JSON
internal import LoadTesting

/// A daemon's admin plane, as `belfry snapshots` asks it.
struct AdminClient {
    /// Where the daemon listens unless it is told otherwise.
    static let defaultAddress = "http://127.0.0.1:8081"

    private let address: String
    private let client: ControlClient

    /// The daemon could not be asked; what it answers is a `CommandFailure`.
    struct Unreachable: Error {
        let reason: String
    }

    /// - address: `http://HOST:PORT`, `HOST:PORT` or `unix:PATH`; nil for `BELFRY_ADMIN`, which may hold what `serve` takes,
    ///   or the default.
    init(_ address: String?, timeoutSeconds: Int) throws {
        let variable = ProcessInfo.processInfo.environment["BELFRY_ADMIN"].flatMap { $0.isEmpty ? nil : $0 }
        let given = address ?? variable ?? Self.defaultAddress
        self.address = given.contains("://") || given.hasPrefix("unix:") ? given : "http://\(given)"
        do {
            client = ControlClient(try Target(self.address, defaultPath: "/"), timeoutSeconds: timeoutSeconds)
        } catch LoadTestError.usage(let text) {
            throw ValidationError(text)
        } catch {
            throw Unreachable(reason: "\(error)")
        }
    }

    /// What the daemon knows of its snapshots.
    func snapshots() throws -> DaemonSnapshots {
        let body = try send("GET", "/v1/snapshots")
        do throws(JSONDocumentError) {
            return try DaemonSnapshots(body)
        } catch {
            throw CommandFailure("\(address): GET /v1/snapshots answers what is not understood here: \(error)")
        }
    }

    /// Sends a request and returns the body of an answer that is a success.
    @discardableResult
    func send(_ method: String, _ path: String) throws -> [UInt8] {
        let reply: ControlClient.Reply
        do {
            reply = try client.send(method, path, body: method == "POST" ? "" : nil)
        } catch {
            throw Unreachable(reason: "\(error)")
        }
        guard (200...299).contains(reply.status) else {
            throw CommandFailure("\(address): \(method) \(path) is refused with \(reply.status): \(detail(reply))")
        }
        return reply.body
    }

    /// A problem's words, in one line.
    private func detail(_ reply: ControlClient.Reply) -> String {
        var text = reply.text
        if let problem = try? JSONDocument(reply.body).root {
            for key in ["detail", "title"].reversed() {
                if let words = try? problem.optionalMember(key)?.string() { text = words }
            }
        }
        return text.split(whereSeparator: \.isNewline).joined(separator: " ")
    }
}

/// The reply of `GET /v1/snapshots`.
struct DaemonSnapshots {
    struct Entry {
        let id: String
        let state: String
        let reason: String?
        let stage: String?
        let byteCount: Int?
        let itemCount: Int?
        let spaceID: String?
        let createdAt: String?
    }

    /// The reply as it came.
    let text: String
    let serving: String?
    let previous: String?
    let directory: String
    let entries: [Entry]

    init(_ body: [UInt8]) throws(JSONDocumentError) {
        text = String(decoding: body, as: UTF8.self)
        let root = try JSONDocument(body).root
        serving = try root.member("serving").unlessNull?.string()
        previous = try root.member("previous").unlessNull?.string()
        directory = try root.member("directory").string()
        var entries: [Entry] = []
        for node in try root.member("snapshots").elements() {
            entries.append(
                Entry(
                    id: try node.member("id").string(), state: try node.member("state").string(),
                    reason: try node.optionalMember("reason")?.unlessNull?.string(),
                    stage: try node.optionalMember("stage")?.unlessNull?.string(),
                    byteCount: try node.optionalMember("bytes")?.unlessNull?.integer(),
                    itemCount: try node.optionalMember("items")?.unlessNull?.integer(),
                    spaceID: try node.optionalMember("space_id")?.unlessNull?.string(),
                    createdAt: try node.optionalMember("created_at")?.unlessNull?.string()))
        }
        self.entries = entries
    }

    /// What must not be removed: the snapshot that serves, the one that served last, and those on their way.
    var inUse: Set<String> {
        let states: Set = ["verifying", "loading", "warming", "ready", "serving"]
        return Set([serving, previous].compactMap { $0 } + entries.filter { states.contains($0.state) }.map(\.id))
    }

    /// A table with a heading, columns aligned.
    var table: String {
        let heading = ["ID", "STATE", "ITEMS", "BYTES", "CREATED", "SPACE", "REASON"]
        let rows = entries.map { entry in
            [
                entry.id, entry.state + (entry.id == previous && entry.state != "serving" ? " (previous)" : ""),
                entry.itemCount.map(String.init) ?? "-", entry.byteCount.map(String.init) ?? "-",
                entry.createdAt ?? "-", entry.spaceID ?? "-",
                [entry.stage, entry.reason].compactMap { $0 }.joined(separator: ": ")
                    .split(whereSeparator: \.isNewline).joined(separator: " "),
            ]
        }
        let widths = heading.indices.map { column in ([heading] + rows).map { $0[column].count }.max()! }
        let isNumber: Set = [2, 3]
        return ([heading] + rows).map { row in
            let cells = row.indices.map { column in
                let space = String(repeating: " ", count: widths[column] - row[column].count)
                return isNumber.contains(column) ? space + row[column] : row[column] + space
            }
            let line = cells.joined(separator: "  ")
            return String(line[...(line.lastIndex { $0 != " " } ?? line.startIndex)])
        }.joined(separator: "\n")
    }
}
