public import Identifiers
internal import JSON
public import Memory
public import Retrieval
internal import Towers

/// Writes the replies, whose shape it holds as literals. It belongs to one snapshot: what every reply says of that is
/// written once, when the encoder is made.
public struct ResponseEncoder {
    /// `"snapshot":{"model":...,"id":...,"space_id":...}`
    private let snapshotMember: [UInt8]
    /// The items' ids, by row.
    let itemIDs: Identifiers.View
    // Keeps alive what the view leads to.
    private let itemIDsOwner: Identifiers

    /// Creates the encoder of a snapshot's replies.
    public init(snapshotID: String, spaceID: String, itemIDs: Identifiers) {
        var writer = ByteWriter(capacity: 256)
        writer.append("\"snapshot\":{\"model\":\"default\",\"id\":")
        writer.appendJSON(snapshotID)
        writer.append(",\"space_id\":")
        writer.appendJSON(spaceID)
        writer.append("}")
        snapshotMember = writer.withUnsafeBytes { Array($0) }
        self.itemIDs = itemIDs.view
        itemIDsOwner = itemIDs
    }

    /// What `explain` adds to a reply of `/v1/retrieve`.
    public struct Explanation {
        /// How long each step took, in microseconds.
        public var decodeMicros = 0
        /// As `decodeMicros`.
        public var enrichMicros = 0
        /// As `decodeMicros`.
        public var embedMicros = 0
        /// As `decodeMicros`.
        public var searchMicros = 0
        /// Whether a cached cross vector was found for the user.
        public var hasCrossVector = false
        /// Whether a cached cascade vector was found for the user.
        public var hasCascadeVector = false
        /// The `ef` of the walk, if it was one.
        public var ef: Int?
        /// The `nprobe` of the scan, if inverted lists were scanned.
        public var nprobe: Int?
        /// How many items were compared with the user.
        public var scoredItemCount = 0
        /// The features that the snapshot does not know, as indices among the entries of the query's features.
        public var ignoredFeatures: [Int] = []

        /// An empty explanation.
        public init() {}
    }

    // MARK: Retrieve

    /// Writes the reply of `/v1/retrieve`: rows and scores by rank, best first. The scores must be finite.
    ///
    /// - isComplete: whether the search ran to its end; if not, the reply says that the deadline ended it.
    ///
    /// Returns, of a binary reply, how many bytes its JSON head has. The ids of the items must be numbers then.
    @discardableResult
    public func encodeRetrieve(
        _ query: borrowing RetrievalQuery, rows: UnsafeBufferPointer<UInt32>, scores: UnsafeBufferPointer<Float>,
        isColdStart: Bool, isComplete: Bool = true, explanation: Explanation?, to writer: inout ByteWriter
    ) -> Int? {
        let start = writer.count
        begin(requestID: query.requestID, &writer)
        switch query.format {
        case .rows:
            writer.append(",\"items\":")
            appendItems(rows, scores, to: &writer)
        case .columns:
            writer.append(",\"ids\":")
            appendIDs(rows, to: &writer)
            writer.append(",\"scores\":")
            writer.appendJSON(scores)
        case .binary:
            break
        }
        writer.append(",\"cold_start\":")
        writer.appendJSON(isColdStart)
        writer.append(isComplete ? ",\"degraded\":[]" : ",\"degraded\":[\"deadline\"]")
        if let explanation {
            append(explanation, features: query.user.features, to: &writer)
        }
        writer.append("}")
        guard query.format == .binary else { return nil }
        // Blanks, so that whoever maps the reply finds the ids where 64-bit numbers want to be.
        while (writer.count - start) % 8 != 0 { writer.append(" ") }
        let headByteCount = writer.count - start
        appendBinary(rows, scores, to: &writer)
        return headByteCount
    }

    private func append(
        _ explanation: Explanation, features: borrowing FeatureValues, to writer: inout ByteWriter
    ) {
        writer.append(",\"timings_us\":{\"decode\":")
        writer.appendJSON(explanation.decodeMicros)
        writer.append(",\"enrich\":")
        writer.appendJSON(explanation.enrichMicros)
        writer.append(",\"embed\":")
        writer.appendJSON(explanation.embedMicros)
        writer.append(",\"search\":")
        writer.appendJSON(explanation.searchMicros)
        writer.append("},\"caches_hit\":[")
        if explanation.hasCrossVector { writer.append("\"cross\"") }
        if explanation.hasCascadeVector { writer.append(explanation.hasCrossVector ? ",\"cascade\"" : "\"cascade\"") }
        writer.append("]")
        if let ef = explanation.ef {
            writer.append(",\"ef_used\":")
            writer.appendJSON(ef)
        }
        if let nprobe = explanation.nprobe {
            writer.append(",\"nprobe_used\":")
            writer.appendJSON(nprobe)
        }
        writer.append(",\"items_scored\":")
        writer.appendJSON(explanation.scoredItemCount)
        writer.append(",\"features_ignored\":[")
        for (position, index) in explanation.ignoredFeatures.enumerated() {
            if position > 0 { writer.append(",") }
            writer.appendJSON(features.entries[index].name)
        }
        writer.append("]")
    }

    // MARK: Embed

    /// Writes the start of a reply of `/v1/embed`; `appendEmbedding` follows for each user, then `endEmbed`.
    public func beginEmbed(_ query: borrowing EmbedQuery, to writer: inout ByteWriter) {
        begin(requestID: query.requestID, &writer)
        writer.append(query.isBatch ? ",\"results\":[" : ",")
    }

    /// Writes one user's embedding.
    public func appendEmbedding(
        _ values: UnsafeBufferPointer<Float>, isColdStart: Bool, index: Int, isBatch: Bool,
        to writer: inout ByteWriter
    ) {
        if isBatch { writer.append(index == 0 ? "{" : ",{") }
        writer.append("\"embeddings\":[")
        writer.appendJSON(values)
        writer.append("],\"cold_start\":")
        writer.appendJSON(isColdStart)
        if isBatch { writer.append("}") }
    }

    /// Writes the end of a reply of `/v1/embed`.
    public func endEmbed(_ query: borrowing EmbedQuery, to writer: inout ByteWriter) {
        writer.append(query.isBatch ? "]}" : "}")
    }

    // MARK: Score

    /// Writes the reply of `/v1/score`. `scores` are those of the request's items; nil stands for one that the snapshot
    /// does not have. The others must be finite.
    public func encodeScore(
        _ query: borrowing ScoreQuery, scores: borrowing [Float?], isColdStart: Bool, to writer: inout ByteWriter
    ) {
        begin(requestID: query.requestID, &writer)
        writer.append(",\"ids\":[")
        for index in query.items.indices {
            if index > 0 { writer.append(",") }
            switch query.items[index] {
            case .text(let text): writer.appendJSON(text)
            case .number(let number): append(quoted: number, to: &writer)
            }
        }
        writer.append("],\"scores\":[")
        for index in query.items.indices {
            if index > 0 { writer.append(",") }
            if let score = scores[index] {
                writer.appendJSON(score)
            } else {
                writer.append("null")
            }
        }
        writer.append("],\"cold_start\":")
        writer.appendJSON(isColdStart)
        writer.append("}")
    }

    // MARK: Parts

    /// Opens the object and writes what every reply begins with.
    func begin(requestID: Text?, _ writer: inout ByteWriter) {
        writer.append("{")
        if let requestID {
            writer.append("\"request_id\":")
            writer.appendJSON(requestID)
            writer.append(",")
        }
        appendSnapshot(to: &writer)
    }

    func appendSnapshot(to writer: inout ByteWriter) {
        snapshotMember.withUnsafeBytes { writer.append($0) }
    }

    /// Writes an item's id, a string in either kind of catalogue.
    func appendID(ofItem row: Int, to writer: inout ByteWriter) {
        switch itemIDs {
        case .numbers(let table): append(quoted: table.id(of: row), to: &writer)
        case .texts(let table): writer.appendJSON(table.text(of: row))
        }
    }

    private func append(quoted number: UInt64, to writer: inout ByteWriter) {
        writer.append("\"")
        writer.appendJSON(number)
        writer.append("\"")
    }
}
