internal import CKernels
internal import JSON
internal import Memory

/// A line of `pauses.journal`: `CHECKSUM NUMBER WORD[ ARGUMENT]` and a line feed. The checksum is XXH64 of all behind it, in
/// sixteen digits; lines are numbered from 0, so that a line that is missing, moved or there twice shows.
struct JournalLine {
    enum Content: Equatable {
        /// The first line: how many ids the file began with. Those, their `synced` and this line were on disk before the file
        /// got its name, so no crash can have torn them.
        case header(pausedCount: Int)
        case pause(String)
        case resume(String)
        /// Like `resume`, for an item that no snapshot holds any more.
        case drop(String)
        /// All above was on disk before this was written.
        case synced
        /// Intact and not of this version.
        case unknown
    }

    var number: Int
    var content: Content
    /// With the line feed.
    var byteCount: Int

    /// An id of 256 bytes has 1536 when each is a control character; the rest takes less than 64.
    static let byteCountMax = 2048
    private static let checksumByteCount = 16

    // MARK: Writing

    /// Appends a line to `writer`. Its text is put together in `body`, which is left empty.
    static func append(_ content: Content, number: Int, to writer: inout ByteWriter, body: inout ByteWriter) {
        body.removeAll()
        body.appendJSON(number)
        switch content {
        case .header(let pausedCount):
            body.append(" belfry-pauses-1 ")
            body.appendJSON(pausedCount)
        case .pause(let id):
            body.append(" pause ")
            body.appendJSON(id)
        case .resume(let id):
            body.append(" resume ")
            body.appendJSON(id)
        case .drop(let id):
            body.append(" drop ")
            body.appendJSON(id)
        case .synced:
            body.append(" synced")
        case .unknown:
            preconditionFailure("an unknown line is never written")
        }
        body.withUnsafeBytes { bytes in
            writer.append(text: belfry_xxh64(bytes.baseAddress, bytes.count, 0).sixteenDigits)
            writer.append(UInt8(ascii: " "))
            writer.append(bytes)
        }
        writer.append(UInt8(ascii: "\n"))
        body.removeAll()
    }

    // MARK: Reading

    /// The line that begins at `start`; nil if none does that is complete and has its checksum.
    static func read(_ bytes: [UInt8], at start: Int) -> JournalLine? {
        let bodyStart = start + checksumByteCount + 1
        guard bodyStart < bytes.count, bytes[bodyStart - 1] == UInt8(ascii: " "),
            let checksum = checksum(bytes[start..<bodyStart - 1])
        else { return nil }
        let limit = min(bytes.count, start + byteCountMax)
        guard let end = bytes[bodyStart..<limit].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        let actual = bytes.withUnsafeBytes { bytes in
            belfry_xxh64(bytes.baseAddress! + bodyStart, end - bodyStart, 0)
        }
        guard checksum == actual else { return nil }
        let byteCount = end + 1 - start
        let parts = bytes[bodyStart..<end].split(separator: UInt8(ascii: " "), maxSplits: 2)
        guard parts.count >= 2, let number = integer(parts[0]) else {
            return JournalLine(number: -1, content: .unknown, byteCount: byteCount)
        }
        let content = content(word: parts[1], argument: parts.count > 2 ? parts[2] : nil)
        return JournalLine(number: number, content: content, byteCount: byteCount)
    }

    private static func content(word: ArraySlice<UInt8>, argument: ArraySlice<UInt8>?) -> Content {
        switch (String(decoding: word, as: UTF8.self), argument) {
        case ("belfry-pauses-1", let argument?):
            integer(argument).map(Content.header) ?? .unknown
        case ("pause", let argument?):
            id(argument).map(Content.pause) ?? .unknown
        case ("resume", let argument?):
            id(argument).map(Content.resume) ?? .unknown
        case ("drop", let argument?):
            id(argument).map(Content.drop) ?? .unknown
        case ("synced", nil):
            .synced
        default:
            .unknown
        }
    }

    private static func checksum(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value
    }

    private static func integer(_ digits: ArraySlice<UInt8>) -> Int? {
        Int(String(decoding: digits, as: UTF8.self)).flatMap { $0 >= 0 ? $0 : nil }
    }

    private static func id(_ json: ArraySlice<UInt8>) -> String? {
        // Nearly all ids need no parser: quotes, and between them nothing that JSON escapes.
        let inner = json.dropFirst().dropLast()
        if json.count >= 3, json.first == UInt8(ascii: "\""), json.last == UInt8(ascii: "\""),
            inner.allSatisfy({ (0x20..<0x80).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") })
        {
            return String(decoding: inner, as: UTF8.self)
        }
        return try? JSONDocument(Array(json)).root.string()
    }
}
