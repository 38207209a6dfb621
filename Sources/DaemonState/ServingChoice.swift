internal import CKernels
internal import JSON
internal import Memory

/// Which snapshot serves, and what an operator chose: what a restart must not undo.
public struct ServingChoice: Equatable, Sendable {
    /// The id that serves.
    public var serving: String?
    /// The id that served before it, which a rollback returns to.
    public var previous: String?
    /// The id that an operator activated or rolled back to; in force until `current` names another id than
    /// `currentWhenChosen`.
    public var chosen: String?
    /// The id that `current` named when the operator chose; nil if it named none.
    public var currentWhenChosen: String?

    /// Creates a choice.
    public init(
        serving: String? = nil, previous: String? = nil, chosen: String? = nil, currentWhenChosen: String? = nil
    ) {
        self.serving = serving
        self.previous = previous
        self.chosen = chosen
        self.currentWhenChosen = currentWhenChosen
    }
}

extension ServingChoice {
    static let fileName = "choice.json"
    private static let format = "belfry-choice-1"
    /// Four ids of 64 bytes and the names take less than half of it.
    static let fileByteCountMax = 4096

    private var members: [(name: StaticString, id: String?)] {
        [
            ("serving", serving), ("previous", previous), ("chosen", chosen),
            ("current_when_chosen", currentWhenChosen),
        ]
    }

    /// The file's bytes. There is one text for each choice, so that reading can compare all of it.
    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 512)
        writer.append("{\"format\": \"")
        writer.append(text: ServingChoice.format)
        writer.append("\"")
        for (name, id) in members {
            writer.append(",\n \"")
            writer.append(name)
            writer.append("\": ")
            if let id { writer.appendJSON(id) } else { writer.append("null") }
        }
        let checksum = writer.withUnsafeBytes { belfry_xxh64($0.baseAddress, $0.count, 0) }
        writer.append(",\n \"xxh64\": \"")
        writer.append(text: checksum.sixteenDigits)
        writer.append("\"}\n")
        return writer.withUnsafeBytes { Array($0) }
    }

    /// Reads the file's bytes. Every byte counts: a flipped one in an id would else start another snapshot.
    init(encoded bytes: [UInt8]) throws(JSONDocumentError) {
        let root = try JSONDocument(bytes).root
        let format = try root.member("format")
        guard try format.string() == ServingChoice.format else {
            throw format.error("is '\(try format.string())', this version reads '\(ServingChoice.format)'")
        }
        try root.requireKeys(["format", "serving", "previous", "chosen", "current_when_chosen", "xxh64"])
        self.init(
            serving: try root.member("serving").unlessNull?.string(),
            previous: try root.member("previous").unlessNull?.string(),
            chosen: try root.member("chosen").unlessNull?.string(),
            currentWhenChosen: try root.member("current_when_chosen").unlessNull?.string())
        guard encoded == bytes else { throw root.error("the checksum is not that of the text") }
    }
}

extension StateDirectory {
    /// What was chosen before the daemon started; all nil if nothing ever was.
    ///
    /// - Throws: `StateError` for a file that is damaged: guessing could undo a rollback.
    public func readChoice() throws(StateError) -> ServingChoice {
        let name = ServingChoice.fileName
        guard let bytes = try read(name, byteCountMax: ServingChoice.fileByteCountMax) else { return ServingChoice() }
        do throws(JSONDocumentError) {
            return try ServingChoice(encoded: bytes)
        } catch {
            throw StateError(
                path: path(of: name),
                fault: "damaged, or edited by hand (\(error)); it holds an operator's activation or rollback: remove "
                    + "it to serve what `current` names, then choose again")
        }
    }

    /// Remembers a choice. It is on disk when this returns; a crash meanwhile leaves the old one or the new one.
    public func write(_ choice: ServingChoice) throws(StateError) {
        let bytes = choice.encoded
        guard bytes.count <= ServingChoice.fileByteCountMax else {
            throw StateError(path: path(of: ServingChoice.fileName), fault: "would be too long: an id is none")
        }
        try replace(ServingChoice.fileName, by: bytes)
    }
}

extension UInt64 {
    /// Sixteen hexadecimal digits in lower case.
    var sixteenDigits: String {
        let digits = String(self, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
