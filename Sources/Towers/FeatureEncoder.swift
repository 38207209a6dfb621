internal import CKernels
internal import Identifiers
internal import Memory
internal import Safetensors

/// Why a request's features cannot be encoded. `entry` is the index among `FeatureValues.entries`;
/// nil stands for `user.id`.
public enum FeatureError: Error, Equatable {
    /// A feature the snapshot does not know, in a strict request.
    case unknown(entry: Int)
    /// A value of another JSON type than the schema's.
    case wrongType(entry: Int?, expected: Feature.ValueType, isList: Bool)
    /// A number that is not finite once it is transformed and rounded to float32.
    case notFinite(entry: Int)
}

/// Turns the values of a request into stretches of the tower's input, by the schema of one snapshot.
///
/// Workers share it. It cannot be copied, and a request reads plain values out of buffers that it owns, so that no reference
/// is counted. `@unchecked Sendable`: nothing is written after `init`.
struct FeatureEncoder: ~Copyable, @unchecked Sendable {
    let features: [Feature]
    private let names: FeatureNames
    // By the place in the schema. They point into the three below.
    private let rules: AlignedBuffer<Rule>
    private let vocabularies: [TextTable]
    private let boundaries: AlignedBuffer<Double>
    private let transforms: AlignedBuffer<Feature.Transform>
    private let userIDFeature: Int?

    /// What a request needs of a `Feature`, as a plain value.
    private struct Rule: BitwiseCopyable {
        let type: Feature.ValueType
        let maximumValues: Int?
        let encoding: Encoding

        enum Encoding: BitwiseCopyable {
            case hash(rows: Int, seed: UInt64)
            case vocabulary(TextTable.View)
            case bucketise(boundaries: UnsafeBufferPointer<Double>)
            case numeric(UnsafeBufferPointer<Feature.Transform>)
        }
    }

    /// `file` holds the vocabularies: `vocabulary.NAME.bytes` and `.offsets`.
    init(features: [Feature], file: SafetensorsFile) throws(SafetensorsError) {
        self.features = features
        names = FeatureNames(features)
        userIDFeature = features.firstIndex { $0.source == .userID }
        // End to end, feature by feature.
        boundaries = AlignedBuffer(copying: features.flatMap(\.encoding.boundaries))
        transforms = AlignedBuffer(copying: features.flatMap(\.encoding.transforms))
        var boundariesLeft = UnsafeBufferPointer(boundaries.elements)[...]
        var transformsLeft = UnsafeBufferPointer(transforms.elements)[...]
        var vocabularies: [TextTable] = []
        var rules: [Rule] = []
        for feature in features {
            let encoding: Rule.Encoding
            switch feature.encoding {
            case .hash(let rows, let seed):
                encoding = .hash(rows: rows, seed: seed)
            case .vocabulary(let rows):
                let table = try FeatureEncoder.vocabulary(of: feature.name, rows: rows, file)
                vocabularies.append(table)
                encoding = .vocabulary(table.view)
            case .bucketise(let boundaries):
                encoding = .bucketise(
                    boundaries: UnsafeBufferPointer(rebasing: boundariesLeft.prefix(boundaries.count)))
                boundariesLeft = boundariesLeft.dropFirst(boundaries.count)
            case .numeric(let transforms):
                encoding = .numeric(UnsafeBufferPointer(rebasing: transformsLeft.prefix(transforms.count)))
                transformsLeft = transformsLeft.dropFirst(transforms.count)
            }
            rules.append(Rule(type: feature.type, maximumValues: feature.maximumValues, encoding: encoding))
        }
        self.rules = AlignedBuffer(copying: rules)
        self.vocabularies = vocabularies
    }

    private static func vocabulary(of feature: String, rows: Int, _ file: SafetensorsFile) throws(SafetensorsError)
        -> TextTable
    {
        let name = "vocabulary.\(feature)"
        let texts = try file.texts(name, count: rows - 1)
        do throws(DuplicateIdentifier) {
            return try TextTable(bytes: texts.bytes, offsets: texts.offsets)
        } catch {
            throw file.fault(
                "tensor '\(name).bytes' has the word of row \(error.rows[0]) again in row \(error.rows[1])")
        }
    }

    /// Assigns the request's entries to features, and refuses values of the wrong type, whether or not an input reads them.
    func match(userID: FeatureValue?, _ values: borrowing FeatureValues, strict: Bool, _ scratch: TowerScratch)
        throws(FeatureError)
    {
        for feature in rules.elements.indices { scratch.entryOfFeature[feature] = -1 }
        scratch.ignoredEntries.removeAll(keepingCapacity: true)
        for index in values.entries.indices {
            let entry = values.entries[index]
            guard let feature = names.feature(entry.name, entry.source) else {
                if strict { throw .unknown(entry: index) }
                scratch.ignoredEntries.append(index)
                continue
            }
            scratch.entryOfFeature[feature] = index
            let declared = rules.elements[feature]
            guard entry.valueCount > 0 || entry.isList else { continue }
            guard entry.isList == (declared.maximumValues != nil) else {
                throw .wrongType(entry: index, expected: declared.type, isList: declared.maximumValues != nil)
            }
            for value in values.values[entry.firstValue..<entry.firstValue + entry.valueCount]
            where !declared.type.takes(value) {
                throw .wrongType(entry: index, expected: declared.type, isList: declared.maximumValues != nil)
            }
        }
        scratch.userID = nil
        if let userIDFeature, let userID {
            let declared = rules.elements[userIDFeature]
            guard declared.type.takes(userID) else {
                throw .wrongType(entry: nil, expected: declared.type, isList: false)
            }
            scratch.userID = userID
        }
    }

    /// The values of a feature that are to be read: the first so many of a list.
    @inline(__always)
    private func range(of feature: Int, _ values: borrowing FeatureValues, _ scratch: TowerScratch) -> Range<Int> {
        let entryIndex = scratch.entryOfFeature[feature]
        guard entryIndex >= 0 else { return 0..<0 }
        let entry = values.entries[entryIndex]
        return entry.firstValue..<entry.firstValue + min(entry.valueCount, rules.elements[feature].maximumValues ?? 1)
    }

    /// Pools the rows of the feature's values into `into`, which holds `dimension` zeros.
    func pool(
        _ feature: Int, table: UnsafePointer<Float>, dimension: Int, pooling: TowerGraph.Pooling,
        _ values: borrowing FeatureValues, _ scratch: TowerScratch, into: UnsafeMutablePointer<Float>
    ) {
        if feature == userIDFeature {
            guard let userID = scratch.userID else { return }
            belfry_add(into, table + row(of: userID, feature) * dimension, dimension)
            return
        }
        let range = range(of: feature, values, scratch)
        for index in range {
            belfry_add(into, table + row(of: values.values[index], feature) * dimension, dimension)
        }
        if pooling == .mean, range.count > 1 {
            belfry_scale(into, 1 / Float(range.count), dimension)
        }
    }

    /// The feature's number after its transforms; 0 where it is missing.
    func number(_ feature: Int, _ values: borrowing FeatureValues, _ scratch: TowerScratch) throws(FeatureError)
        -> Float
    {
        let range = range(of: feature, values, scratch)
        guard range.count > 0, case .numeric(let transforms) = rules.elements[feature].encoding else { return 0 }
        var number = values.values[range.lowerBound].asDouble
        for transform in transforms { number = transform.apply(number) }
        let rounded = Float(number)
        guard rounded.isFinite else { throw .notFinite(entry: scratch.entryOfFeature[feature]) }
        return rounded
    }

    @inline(__always)
    private func row(of value: FeatureValue, _ feature: Int) -> Int {
        switch rules.elements[feature].encoding {
        case .hash(let rows, let seed):
            value.withText { Int(belfry_xxh64($0.bytes.baseAddress, $0.byteCount, seed) % UInt64(rows)) }
        case .vocabulary(let words):
            value.withText { text in words.row(of: text).map { $0 + 1 } ?? 0 }
        case .bucketise(let boundaries):
            bucket(of: value.asDouble, boundaries)
        case .numeric:
            preconditionFailure("a number has no row")
        }
    }

    /// How many boundaries are <= x, by bisection.
    @inline(__always)
    private func bucket(of x: Double, _ boundaries: UnsafeBufferPointer<Double>) -> Int {
        var low = 0
        var high = boundaries.count
        while low < high {
            let middle = (low + high) / 2
            if boundaries[middle] <= x { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension Feature.ValueType {
    /// Whether a feature of this type may have the value.
    @inline(__always)
    func takes(_ value: FeatureValue) -> Bool {
        switch (self, value) {
        case (.string, .text), (.id, .text): true
        case (.integer, .negative), (.integer, .unsigned), (.id, .negative), (.id, .unsigned): true
        case (.number, .negative), (.number, .unsigned), (.number, .number): true
        default: false
        }
    }
}

extension FeatureValue {
    @inline(__always)
    var asDouble: Double {
        switch self {
        case .negative(let value): Double(value)
        case .unsigned(let value): Double(value)
        case .number(let value): value
        case .text, .boolean, .composite: preconditionFailure("not a number: the types were checked")
        }
    }

    /// Lends the value's text; an integer's is its decimal digits.
    @inline(__always)
    func withText<Result>(_ body: (Text) -> Result) -> Result {
        switch self {
        case .text(let text): body(text)
        case .unsigned(let value): FeatureValue.withDecimal(value, isNegative: false, body)
        case .negative(let value): FeatureValue.withDecimal(value.magnitude, isNegative: true, body)
        case .number, .boolean, .composite: preconditionFailure("no text: the types were checked")
        }
    }

    @inline(__always)
    private static func withDecimal<Result>(_ magnitude: UInt64, isNegative: Bool, _ body: (Text) -> Result) -> Result {
        // 20 digits and a sign fit; a temporary of this size lies on the stack.
        withUnsafeTemporaryAllocation(byteCount: 24, alignment: 8) { buffer in
            var position = 24
            var rest = magnitude
            repeat {
                position -= 1
                buffer[position] = UInt8(ascii: "0") + UInt8(rest % 10)
                rest /= 10
            } while rest > 0
            if isNegative {
                position -= 1
                buffer[position] = UInt8(ascii: "-")
            }
            return body(Text(UnsafeRawBufferPointer(rebasing: buffer[position..<24])))
        }
    }
}

/// The names of the features a request may carry, with their places in the schema.
private struct FeatureNames: ~Copyable {
    // The table points into these two.
    private let bytes: AlignedBuffer<UInt8>
    private let offsets: AlignedBuffer<UInt64>
    private let table: TextTable
    private let rows: TextTable.View
    // By the table's row.
    private let places: AlignedBuffer<Place>

    private struct Place: BitwiseCopyable {
        let feature: Int
        let source: FeatureSource
    }

    init(_ all: [Feature]) {
        var places: [Place] = []
        var names: [UInt8] = []
        var ends: [UInt64] = [0]
        for (index, feature) in all.enumerated() {
            let source: FeatureSource
            switch feature.source {
            case .user: source = .user
            case .context: source = .context
            case .userID, .item, .itemID: continue
            }
            places.append(Place(feature: index, source: source))
            names.append(contentsOf: feature.name.utf8)
            ends.append(UInt64(names.count))
        }
        self.places = AlignedBuffer(copying: places)
        bytes = AlignedBuffer(copying: names)
        offsets = AlignedBuffer(copying: ends)
        // The manifest refuses two features of one name before any encoder is made.
        table = try! TextTable(
            bytes: UnsafeRawBufferPointer(bytes.elements), offsets: UnsafeBufferPointer(offsets.elements))
        rows = table.view
    }

    @inline(__always)
    func feature(_ name: Text, _ source: FeatureSource) -> Int? {
        guard let row = rows.row(of: name), places.elements[row].source == source else { return nil }
        return places.elements[row].feature
    }
}
