internal import JSON
internal import Towers

extension Manifest {
    /// Reads `manifest.json`. Every key is required and none may be added, so that a misspelt key is an error and not a
    /// default.
    public init(json: UnsafeRawBufferPointer) throws(SnapshotError) {
        do throws(JSONDocumentError) {
            try self.init(try JSONDocument(json).root)
        } catch {
            throw SnapshotError(.manifest, file: "manifest.json", error.description)
        }
    }

    /// Reads `_SUCCESS`: the manifest's seal.
    static func seal(json: UnsafeRawBufferPointer) throws(SnapshotError) -> FileSeal {
        do throws(JSONDocumentError) {
            let root = try JSONDocument(json).root
            try root.requireKeys(["published_at", "manifest"])
            _ = try root.member("published_at").time()
            return try fileSeal(try root.member("manifest"))
        } catch {
            throw SnapshotError(.manifest, file: "_SUCCESS", error.description)
        }
    }

    /// Whether the text is a snapshot id: `[A-Za-z0-9_-]{1,64}`.
    public static func isID(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    private init(_ root: JSONNode) throws(JSONDocumentError) {
        // The format first: what a later format adds must not be reported as an unknown key.
        let format = try root.member("format")
        guard try format.string() == Manifest.format else {
            throw format.error("is '\(try format.string())', this version reads '\(Manifest.format)'")
        }
        try root.requireKeys([
            "format", "id", "kind", "created_at", "space_id", "cascade_space_id", "dimension", "cascade_dimension",
            "metric", "normalisation", "score", "item_id_type", "user_id_type", "items", "users", "ema", "features",
            "towers", "index", "live_watermark", "files", "training",
        ])
        let kind = try root.member("kind")
        guard try kind.string() == "full" else {
            throw kind.error("is '\(try kind.string())', this version loads only 'full'")
        }
        id = try root.member("id").identifier()
        createdAt = try root.member("created_at").time()
        spaceID = try root.member("space_id").identifier()
        cascadeSpaceID = try root.member("cascade_space_id").unlessNull?.identifier()
        dimension = try root.member("dimension").integer(in: SnapshotLimits.dimension)
        cascadeDimension = try root.member("cascade_dimension").unlessNull?.integer(in: SnapshotLimits.dimension)
        guard (cascadeSpaceID == nil) == (cascadeDimension == nil) else {
            throw try root.member("cascade_dimension").error("is null exactly when cascade_space_id is")
        }
        metric = try root.member("metric").choice()
        itemIDType = try root.member("item_id_type").choice()
        userIDType = try root.member("user_id_type").choice()

        let score = try root.member("score")
        try score.requireKeys(["scale", "bias"])
        self.score = (try score.member("scale").number(), try score.member("bias").number())

        let items = try root.member("items")
        try items.requireKeys(["count", "attributes"])
        itemCount = try items.member("count").integer(in: 0...SnapshotLimits.rowCountMax)
        attributes = try Manifest.attributes(try items.member("attributes"))
        let usersNode = try root.member("users").unlessNull
        let hasCascadeSpace = cascadeDimension != nil
        users = try usersNode.map { node throws(JSONDocumentError) in
            try Manifest.users(node, hasCascadeSpace: hasCascadeSpace)
        }

        let decays = try root.member("ema")
        try decays.requireKeys(["user_alpha", "item_alpha", "beta"])
        for (_, decay) in try decays.members() {
            guard (0...1).contains(try decay.number()) else { throw decay.error("is not within 0 ... 1") }
        }
        _ = try root.member("live_watermark").unsigned()
        _ = try root.member("training").members()

        let normalisation = try root.member("normalisation")
        let features = try root.member("features")
        let towers = try root.member("towers")
        for node in [normalisation, features, towers] { try node.requireKeys(["user", "item"]) }
        let shape = SideReader(dimension: dimension, cascadeDimension: cascadeDimension)
        user = try shape.side(
            features: try features.member("user"), tower: try towers.member("user"),
            normalisation: try normalisation.member("user"), isUser: true)
        item = try shape.side(
            features: try features.member("item"), tower: try towers.member("item"),
            normalisation: try normalisation.member("item"), isUser: false)
        index = try Manifest.index(try root.member("index"))
        files = try Manifest.files(try root.member("files"))
        if let usersNode, files["users.safetensors"] == nil {
            throw usersNode.error("describes users, and files lacks 'users.safetensors'")
        }
        if users == nil, files["users.safetensors"] != nil {
            throw try root.member("users").error("is null, and files has 'users.safetensors'")
        }
    }

    private static func attributes(_ node: JSONNode) throws(JSONDocumentError) -> [Attribute] {
        var attributes: [Attribute] = []
        let elements = try node.elements()
        guard elements.count <= SnapshotLimits.attributeCountMax else {
            throw node.error("has \(elements.count) attributes, the limit is \(SnapshotLimits.attributeCountMax)")
        }
        for element in elements {
            try element.requireKeys(["name", "type", "multi_valued"])
            let name = try element.member("name").name()
            guard !attributes.contains(where: { $0.name == name }) else {
                throw try element.member("name").error("'\(name)' stands twice")
            }
            attributes.append(
                Attribute(
                    name: name, type: try element.member("type").choice(),
                    isMultiValued: try element.member("multi_valued").boolean()))
        }
        return attributes
    }

    private static func users(_ node: JSONNode, hasCascadeSpace: Bool) throws(JSONDocumentError) -> Users {
        try node.requireKeys(["count", "vectors"])
        let vectors = try node.member("vectors")
        let names = try vectors.strings()
        if let unknown = names.first(where: { $0 != "cross" && $0 != "cascade" }) {
            throw vectors.error("has '\(unknown)'; known are 'cross' and 'cascade'")
        }
        guard Set(names).count == names.count else { throw vectors.error("names the same vectors twice") }
        guard hasCascadeSpace || !names.contains("cascade") else {
            throw vectors.error("has 'cascade', and cascade_dimension is null")
        }
        return Users(
            count: try node.member("count").integer(in: 0...SnapshotLimits.rowCountMax),
            hasCrossVectors: names.contains("cross"), hasCascadeVectors: names.contains("cascade"))
    }

    private static func index(_ node: JSONNode) throws(JSONDocumentError) -> Index {
        try node.requireKeys(["factory", "kind", "holds_vectors", "search", "recall"])
        let kind: Index.Kind = try node.member("kind").choice()
        let search = try node.member("search")
        var ef: Int?
        var nprobe: Int?
        switch kind {
        case .flat: try search.requireKeys([])
        case .hnsw:
            try search.requireKeys(["ef"])
            ef = try search.member("ef").integer(in: 1...SnapshotLimits.searchParameterMax)
        case .ivfFlat:
            try search.requireKeys(["nprobe"])
            nprobe = try search.member("nprobe").integer(in: 1...SnapshotLimits.searchParameterMax)
        }
        let recall = try node.member("recall")
        try recall.requireKeys(["k", "floor"])
        let floor = try recall.member("floor")
        guard (0...1).contains(try floor.number()) else { throw floor.error("is not within 0 ... 1") }
        return Index(
            factory: try node.member("factory").string(), kind: kind,
            holdsVectors: try node.member("holds_vectors").boolean(), ef: ef, nprobe: nprobe,
            recallK: try recall.member("k").integer(in: 1...10_000), recallFloor: try floor.number())
    }

    private static func files(_ node: JSONNode) throws(JSONDocumentError) -> [String: FileSeal] {
        var files: [String: FileSeal] = [:]
        for (name, seal) in try node.members() {
            // A name that led out of the directory would have the daemon read any file of the machine. It is the bytes
            // that lead there: a slash with an accent over it is a Character other than the slash.
            let bytes = name.utf8
            guard !name.isEmpty, !bytes.contains(UInt8(ascii: "/")), name != ".", name != "..", !bytes.contains(0)
            else {
                throw seal.error("'\(name)' is not the name of a file in the snapshot")
            }
            guard name.firstRange(of: "-of-") == nil else {
                throw seal.error("'\(name)' is part of a split file, which this version does not read")
            }
            files[name] = try fileSeal(seal)
        }
        return files
    }

    private static func fileSeal(_ node: JSONNode) throws(JSONDocumentError) -> FileSeal {
        try node.requireKeys(["bytes", "sha256"])
        let sha256 = try node.member("sha256")
        let digits = try sha256.string()
        guard digits.utf8.count == 64, digits.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) else {
            throw sha256.error("is not 64 lower-case hexadecimal digits")
        }
        return FileSeal(byteCount: try node.member("bytes").integer(in: 0...Int.max), sha256: digits)
    }
}

extension JSONNode {
    /// One of an enumeration's words.
    func choice<Choice: RawRepresentable<String>>() throws(JSONDocumentError) -> Choice {
        let word = try string()
        guard let choice = Choice(rawValue: word) else { throw error("'\(word)' is none of the words known here") }
        return choice
    }

    /// An id of a snapshot or a space.
    fileprivate func identifier() throws(JSONDocumentError) -> String {
        let text = try string()
        guard Manifest.isID(text) else { throw error("'\(text)' does not match [A-Za-z0-9_-]{1,64}") }
        return text
    }

    /// A time as RFC 3339 has it, in UTC and whole seconds: `2026-01-31T23:59:59Z`.
    fileprivate func time() throws(JSONDocumentError) -> String {
        let text = try string()
        let bytes = Array(text.utf8)
        let form = Array("0000-00-00T00:00:00Z".utf8)
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        let hasForm =
            bytes.count == form.count
            && zip(bytes, form).allSatisfy { digits.contains($1) ? digits.contains($0) : $0 == $1 }
        func number(_ position: Int) -> Int { Int(bytes[position] - 48) * 10 + Int(bytes[position + 1] - 48) }
        // 60 is a leap second.
        guard hasForm, (1...12).contains(number(5)), (1...31).contains(number(8)), number(11) <= 23, number(14) <= 59,
            number(17) <= 60
        else { throw error("'\(text)' is not a time such as 2026-01-31T23:59:59Z") }
        return text
    }

    /// The name of a feature or an attribute: a part of tensors' names, so a dot in it could make two names one.
    func name() throws(JSONDocumentError) -> String {
        try identifier()
    }

    /// The name of a layer.
    func layerName() throws(JSONDocumentError) -> String {
        let text = try string()
        guard (1...64).contains(text.utf8.count) else { throw error("has not 1 to 64 bytes") }
        return text
    }
}
