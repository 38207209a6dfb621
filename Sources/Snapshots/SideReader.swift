internal import JSON
internal import Towers

/// Reads one side of the model, features and tower, and checks that the parts fit each other.
struct SideReader {
    let dimension: Int
    let cascadeDimension: Int?

    func side(features: JSONNode, tower: JSONNode, normalisation: JSONNode, isUser: Bool) throws(JSONDocumentError)
        -> Manifest.Side
    {
        let word = try normalisation.string()
        guard word == "none" || word == "l2" else { throw normalisation.error("'\(word)' is neither 'none' nor 'l2'") }
        let declared = try self.features(features, isUser: isUser)
        return Manifest.Side(
            features: declared,
            tower: try self.tower(
                tower, features: declared, file: isUser ? "user_tower.safetensors" : "item_tower.safetensors"),
            isNormalised: word == "l2")
    }

    // MARK: Features

    private func features(_ node: JSONNode, isUser: Bool) throws(JSONDocumentError) -> [Feature] {
        var features: [Feature] = []
        // Counted first: each name is compared with all before it.
        let elements = try node.elements()
        guard elements.count <= SnapshotLimits.featureCountMax else {
            throw node.error("has \(elements.count) features, the limit is \(SnapshotLimits.featureCountMax)")
        }
        for element in elements {
            let feature = try self.feature(element, isUser: isUser)
            guard !features.contains(where: { $0.name == feature.name }) else {
                throw try element.member("name").error("'\(feature.name)' stands twice")
            }
            if feature.source == .userID || feature.source == .itemID,
                features.contains(where: { $0.source == feature.source })
            {
                throw try element.member("source").error("a second feature takes the id")
            }
            features.append(feature)
        }
        return features
    }

    private func feature(_ node: JSONNode, isUser: Bool) throws(JSONDocumentError) -> Feature {
        try node.requireKeys(["name", "source", "type", "multi_valued", "encoding"], optional: ["maximum_values"])
        let sourceNode = try node.member("source")
        let source: Feature.Source
        switch (try sourceNode.string(), isUser) {
        case ("user", true): source = .user
        case ("context", true): source = .context
        case ("user_id", true): source = .userID
        case ("item", false): source = .item
        case ("item_id", false): source = .itemID
        case (let other, _):
            throw sourceNode.error("'\(other)' is no source of the \(isUser ? "user" : "item") side")
        }
        let isMultiValued = try node.member("multi_valued").boolean()
        let maximum = try node.optionalMember("maximum_values")
        var maximumValues: Int?
        if isMultiValued {
            maximumValues = try node.member("maximum_values").integer(in: 1...SnapshotLimits.valueCountMax)
        } else if let maximum {
            throw maximum.error("a single-valued feature has no maximum")
        }
        let type: Feature.ValueType = try node.member("type").choice()
        let encoding = try self.encoding(try node.member("encoding"))
        switch encoding {
        case .hash, .vocabulary:
            guard type != .number else { throw node.error("hash and vocabulary take no type 'number'") }
        case .bucketise, .numeric:
            guard type == .number || type == .integer else {
                throw node.error("bucketise and numeric take 'number' and 'integer', not '\(type.rawValue)'")
            }
            guard !isMultiValued else { throw node.error("bucketise and numeric take a single value") }
        }
        if source == .userID || source == .itemID, isMultiValued || type == .number {
            throw node.error("an id is a single value of type id, string or integer")
        }
        return Feature(
            name: try node.member("name").name(), source: source, type: type, maximumValues: maximumValues,
            encoding: encoding)
    }

    private func encoding(_ node: JSONNode) throws(JSONDocumentError) -> Feature.Encoding {
        let kind = try node.member("kind")
        switch try kind.string() {
        case "hash":
            try node.requireKeys(["kind", "rows", "seed"])
            return .hash(
                rows: try node.member("rows").integer(in: 1...SnapshotLimits.tableRowCountMax),
                seed: try node.member("seed").unsigned())
        case "vocabulary":
            try node.requireKeys(["kind", "rows"])
            return .vocabulary(rows: try node.member("rows").integer(in: 1...SnapshotLimits.rowCountMax))
        case "bucketise":
            try node.requireKeys(["kind", "boundaries"])
            let boundaries = try node.member("boundaries")
            let numbers = try boundaries.numbers()
            guard numbers.count <= SnapshotLimits.boundaryCountMax, zip(numbers, numbers.dropFirst()).allSatisfy(<)
            else {
                throw boundaries.error("does not ascend, or has more than \(SnapshotLimits.boundaryCountMax) numbers")
            }
            return .bucketise(boundaries: numbers)
        case "numeric":
            try node.requireKeys(["kind", "transforms"])
            var transforms: [Feature.Transform] = []
            for element in try node.member("transforms").elements() { transforms.append(try transform(element)) }
            return .numeric(transforms)
        case let other:
            throw kind.error("'\(other)' is no encoding known here")
        }
    }

    private func transform(_ node: JSONNode) throws(JSONDocumentError) -> Feature.Transform {
        let kind = try node.member("kind")
        switch try kind.string() {
        case "log1p":
            try node.requireKeys(["kind"])
            return .log1p
        case "standardise":
            try node.requireKeys(["kind", "mean", "deviation"])
            let deviation = try node.member("deviation")
            guard try deviation.number() > 0 else { throw deviation.error("is not above 0") }
            return .standardise(mean: try node.member("mean").number(), deviation: try deviation.number())
        case "clip":
            try node.requireKeys(["kind", "minimum", "maximum"])
            let (minimum, maximum) = (try node.member("minimum").number(), try node.member("maximum").number())
            guard minimum <= maximum else { throw node.error("the minimum is above the maximum") }
            return .clip(minimum: minimum, maximum: maximum)
        case let other:
            throw kind.error("'\(other)' is no transform known here")
        }
    }

    // MARK: Tower

    private func tower(_ node: JSONNode, features: [Feature], file: String) throws(JSONDocumentError) -> TowerGraph {
        try node.requireKeys(["file", "inputs", "layers"])
        guard try node.member("file").string() == file else {
            throw try node.member("file").error("is not '\(file)'")
        }
        var inputs: [TowerGraph.Input] = []
        var fed: Set<String> = []
        let inputsNode = try node.member("inputs")
        let inputElements = try inputsNode.elements()
        guard inputElements.count <= SnapshotLimits.inputCountMax else {
            throw inputsNode.error(
                "has \(inputElements.count) inputs, the limit is \(SnapshotLimits.inputCountMax)")
        }
        for element in inputElements {
            let input = try self.input(element, features)
            switch input {
            case .embedding(let feature, _, _), .numeric(let feature):
                guard fed.insert(feature).inserted else { throw element.error("'\(feature)' feeds two inputs") }
            case .crossVector, .cascadeVector: break
            }
            inputs.append(input)
        }
        let layersNode = try node.member("layers")
        var layers: [TowerGraph.Layer] = []
        var names: Set<String> = []
        var width = inputs.reduce(0) { $0 + $1.width }
        guard SnapshotLimits.layerWidth.contains(width) else {
            throw inputsNode.error(
                "\(width) numbers, the limit is \(SnapshotLimits.layerWidth.upperBound)")
        }
        let layerElements = try layersNode.elements()
        guard (1...SnapshotLimits.layerCountMax).contains(layerElements.count) else {
            throw layersNode.error(
                "has \(layerElements.count) layers, allowed are 1 ... \(SnapshotLimits.layerCountMax)")
        }
        for element in layerElements {
            let (layer, name) = try self.layer(element)
            guard layer.inputWidth == width else {
                throw element.error("takes \(layer.inputWidth) numbers, and \(width) come in")
            }
            guard names.insert(name).inserted else { throw element.error("a second layer is called '\(name)'") }
            layers.append(layer)
            width = layer.outputWidth
        }
        guard width == dimension else {
            throw layersNode.error("end with \(width) numbers, and the dimension is \(dimension)")
        }
        return TowerGraph(file: file, inputs: inputs, layers: layers)
    }

    private func input(_ node: JSONNode, _ features: [Feature]) throws(JSONDocumentError) -> TowerGraph.Input {
        let kind = try node.member("kind")
        switch try kind.string() {
        case "embedding":
            try node.requireKeys(["kind", "feature", "dimension", "pooling"])
            let feature = try self.feature(try node.member("feature"), among: features)
            guard feature.encoding.rowCount != nil else {
                throw node.error("'\(feature.name)' is a number, which has no embedding")
            }
            return .embedding(
                feature: feature.name, dimension: try node.member("dimension").integer(in: SnapshotLimits.dimension),
                pooling: try node.member("pooling").choice())
        case "numeric":
            try node.requireKeys(["kind", "feature"])
            let feature = try self.feature(try node.member("feature"), among: features)
            guard feature.encoding.rowCount == nil else {
                throw node.error("'\(feature.name)' has rows of a table, not a number")
            }
            return .numeric(feature: feature.name)
        case "vector":
            try node.requireKeys(["kind", "vector", "dimension"])
            let length = try node.member("dimension")
            switch try node.member("vector").string() {
            case "cross":
                guard try length.integer() == dimension else {
                    throw length.error("is not the dimension, \(dimension)")
                }
                return .crossVector(dimension: dimension)
            case "cascade":
                guard let cascadeDimension, try length.integer() == cascadeDimension else {
                    throw length.error("is not the cascade dimension, \(cascadeDimension.map(String.init) ?? "null")")
                }
                return .cascadeVector(dimension: cascadeDimension)
            case let other: throw node.error("'\(other)' is neither 'cross' nor 'cascade'")
            }
        case let other: throw kind.error("'\(other)' is no input known here")
        }
    }

    private func feature(_ node: JSONNode, among features: [Feature]) throws(JSONDocumentError) -> Feature {
        let name = try node.string()
        guard let feature = features.first(where: { $0.name == name }) else {
            throw node.error("no feature is called '\(name)'")
        }
        return feature
    }

    private func layer(_ node: JSONNode) throws(JSONDocumentError) -> (TowerGraph.Layer, name: String) {
        let kind = try node.member("kind")
        let name = try node.member("name").layerName()
        switch try kind.string() {
        case "dense":
            try node.requireKeys(["kind", "name", "in", "out", "activation", "cycles"])
            return (
                .dense(
                    name: name, inputs: try node.member("in").integer(in: SnapshotLimits.layerWidth),
                    outputs: try node.member("out").integer(in: SnapshotLimits.layerWidth),
                    activation: try node.member("activation").choice(),
                    cycles: try node.member("cycles").integer(in: 0...SnapshotLimits.cyclesMax)), name
            )
        case "layer_norm":
            try node.requireKeys(["kind", "name", "size", "epsilon"])
            let epsilon = try node.member("epsilon")
            guard try epsilon.number() >= 0 else { throw epsilon.error("is negative") }
            guard Float(try epsilon.number()).isFinite else { throw epsilon.error("is beyond float32") }
            return (
                .layerNorm(
                    name: name, size: try node.member("size").integer(in: SnapshotLimits.layerWidth),
                    epsilon: Float(try epsilon.number())), name
            )
        case let other:
            throw kind.error("'\(other)' is no layer known here")
        }
    }
}
