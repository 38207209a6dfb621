import JSON
import Memory

/// Parses `text` with a parser of its own and hands the document to `body`.
func parse<Result>(
    _ text: String, capacity: Int = 1 << 16, maximumDepth: Int = 16,
    _ body: (JSONValue) throws -> Result
) throws -> Result {
    try parse(Array(text.utf8), capacity: capacity, maximumDepth: maximumDepth, body)
}

func parse<Result>(
    _ bytes: [UInt8], capacity: Int = 1 << 16, maximumDepth: Int = 16,
    _ body: (JSONValue) throws -> Result
) throws -> Result {
    // What stands behind the text must not matter, so it is not zero.
    let padded = bytes + Array(repeating: UInt8(ascii: "}"), count: JSONParser.paddingByteCount)
    var parser = try JSONParser(capacity: capacity, maximumDepth: maximumDepth)
    return try padded.withUnsafeBytes { buffer in
        try body(try parser.parse(UnsafeRawBufferPointer(rebasing: buffer[..<bytes.count])))
    }
}

/// The error that parsing `bytes` gives, nil if they are JSON.
func syntaxError(_ bytes: [UInt8], capacity: Int = 1 << 16, maximumDepth: Int = 16) throws -> JSONSyntaxError? {
    do {
        try parse(bytes, capacity: capacity, maximumDepth: maximumDepth) { _ in }
        return nil
    } catch let error as JSONSyntaxError {
        return error
    }
}

/// What `write` appends to a writer, as a string.
func written(_ write: (inout ByteWriter) -> Void) -> String {
    var writer = ByteWriter(capacity: 64)
    write(&writer)
    return writer.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
}
