internal import JSON
internal import Memory

/// Requests from a file: one body of `/v1/retrieve` a line, or an object with the body under `request`, as
/// `golden.jsonl` and the output of `belfry_models expect` have it.
///
///     let requests = try RequestFile.read("requests.jsonl")
public enum RequestFile {
    /// A longer line is refused: the longest body a daemon takes has 1 MiB, and an answer beside it far less than the rest.
    public static let lineByteCountMax = 4 << 20
    /// More requests are refused; with a kilobyte each they are a gigabyte of memory.
    public static let requestCountMax = 1_000_000

    /// Reads all requests of a file in its order. Blank lines are skipped.
    ///
    /// Throws `LoadTestError.failed` with file, line and fault.
    public static func read(_ path: String) throws(LoadTestError) -> [LoadRequest] {
        var requests: [LoadRequest] = []
        try JSONLines.read(path) { line throws(JSONLines.Fault) in
            guard requests.count < requestCountMax else {
                throw JSONLines.Fault(text: "more than \(requestCountMax) requests; split the file")
            }
            do throws(RequestFacts.Fault) {
                if let wrapped = line.value["request"] {
                    requests.append(try LoadRequest(wrapped))
                } else {
                    requests.append(try LoadRequest(line.value, text: line.text))
                }
            } catch {
                throw JSONLines.Fault(text: error.text)
            }
        }
        guard !requests.isEmpty else { throw .failed("\(path): holds no request") }
        return requests
    }
}

/// A file with one JSON object a line.
enum JSONLines {
    /// What is wrong with a line.
    struct Fault: Error {
        let text: String
    }

    /// A line that is an object.
    struct Line {
        /// Counted from 1.
        let number: Int
        let text: String
        let value: BodyValue
    }

    /// Hands over one line after the other; blank ones are skipped. A fault comes out with the file and the line.
    static func read(_ path: String, _ body: (Line) throws(Fault) -> Void) throws(LoadTestError) {
        let file: MappedFile
        do {
            file = try MappedFile(path: path)
        } catch {
            throw .failed(error.description)
        }
        try file.withBytes { bytes throws(LoadTestError) in
            var start = 0
            var number = 0
            while start < bytes.count {
                number += 1
                let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
                let line = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                start = end + 1
                do throws(Fault) {
                    if let line = try parse(line, number) { try body(line) }
                } catch {
                    throw .failed("\(path):\(number): \(error.text)")
                }
            }
        }
    }

    private static func parse(_ bytes: UnsafeRawBufferPointer, _ number: Int) throws(Fault) -> Line? {
        guard bytes.count <= RequestFile.lineByteCountMax else {
            throw Fault(text: "has \(bytes.count) bytes, the limit is \(RequestFile.lineByteCountMax)")
        }
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D }
        guard let first = bytes.firstIndex(where: { !isBlank($0) }) else { return nil }
        let last = bytes.lastIndex { !isBlank($0) } ?? first
        let text = UnsafeRawBufferPointer(rebasing: bytes[first...last])
        let document: JSONDocument
        do {
            document = try JSONDocument(text)
        } catch {
            throw Fault(text: error.description)
        }
        let value = withExtendedLifetime(document) { BodyValue(document.root.value) }
        guard case .object = value else { throw Fault(text: "expected an object, got \(document.root.kind.noun)") }
        return Line(number: number, text: String(decoding: text, as: UTF8.self), value: value)
    }
}
