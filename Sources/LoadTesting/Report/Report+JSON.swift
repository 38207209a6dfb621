public import Foundation

extension Report {
    /// As it is written to `--json`: indented, keys sorted.
    public func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self) + Data("\n".utf8)
    }

    /// Reads a report that was written before. What is no such report, or damaged, is an error that says where.
    ///
    /// - name: the file's, for errors.
    public init(json: Data, name: String) throws(LoadTestError) {
        struct Head: Decodable {
            var format: String?
        }
        let head: Head
        do {
            head = try JSONDecoder().decode(Head.self, from: json)
        } catch DecodingError.typeMismatch {
            throw .failed("\(name) is no report of a load test: it is no JSON object with a text 'format'")
        } catch {
            throw .failed("\(name) is no report of a load test: it is no whole JSON document")
        }
        guard head.format == Self.currentFormat else {
            throw .failed(
                "\(name) is no report of a load test: expected format '\(Self.currentFormat)', found "
                    + (head.format.map { "'\($0)'" } ?? "none"))
        }
        do {
            self = try JSONDecoder().decode(Report.self, from: json)
        } catch let error as DecodingError {
            throw .failed("\(name) is damaged: \(Self.reason(error))")
        } catch {
            throw .failed("\(name) is damaged: \(error)")
        }
    }

    /// Reads a report's file.
    public init(path: String) throws(LoadTestError) {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw .failed("\(path) cannot be read: \(error.localizedDescription)")
        }
        try self.init(json: data, name: path)
    }

    private static func reason(_ error: DecodingError) -> String {
        func path(_ keys: [any CodingKey]) -> String {
            keys.map { $0.intValue.map { "[\($0)]" } ?? ".\($0.stringValue)" }.joined().drop { $0 == "." }.description
        }
        return switch error {
        case .keyNotFound(let key, let context): "'\(path(context.codingPath + [key]))' is missing"
        case .typeMismatch(let type, let context): "'\(path(context.codingPath))' is no \(type)"
        case .valueNotFound(_, let context): "'\(path(context.codingPath))' has no value"
        case .dataCorrupted(let context): "'\(path(context.codingPath))' \(context.debugDescription)"
        @unknown default: "\(error)"
        }
    }
}
