internal import Safetensors

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Draws the values of one feature.
struct FeatureDraws: Sendable {
    let feature: SnapshotSchema.Feature
    /// No list is longer, whatever the schema allows.
    private let listCountMax: Int
    /// The words of a vocabulary, as values of the feature's type.
    let words: [BodyValue]
    private let wordTexts: Set<ByteText>
    /// Ids for what is most likely one: a hashed feature of type `id`.
    private let items: IdentifierColumn?

    init(
        _ feature: SnapshotSchema.Feature, tower: SafetensorsFile, items: IdentifierColumn, listCountMax: Int
    ) throws(SafetensorsError) {
        self.feature = feature
        self.listCountMax = min(feature.maximumValues ?? 1, listCountMax)
        var words: [BodyValue] = []
        var texts: Set<ByteText> = []
        if case .vocabulary(let rows) = feature.encoding {
            let (bytes, offsets) = try tower.texts("vocabulary.\(feature.name)", count: rows - 1)
            words.reserveCapacity(rows - 1)
            for row in 0..<rows - 1 {
                let text = String(decoding: bytes[Int(offsets[row])..<Int(offsets[row + 1])], as: UTF8.self)
                if feature.type == .integer {
                    // A word that is no integer can never be asked for.
                    guard let word = BodyValue(decimal: text) else { continue }
                    words.append(word)
                } else {
                    words.append(.string(text))
                }
                texts.insert(ByteText(text))
            }
        }
        self.words = words
        wordTexts = texts
        if case .hash = feature.encoding, feature.type == .id, items.count > 0 {
            self.items = items
        } else {
            self.items = nil
        }
    }

    /// A value, or a list of a multi-valued feature; nil if it is missing.
    func draw(_ draws: inout SeededDraws, missing: Double, outOfVocabulary: Double) -> BodyValue? {
        if draws.chance(missing) {
            // Absent, null and, of a list, empty: three ways to say it.
            switch draws.below(4) {
            case 0: return .null
            case 1 where feature.maximumValues != nil: return .list([])
            default: return nil
            }
        }
        guard feature.maximumValues != nil else { return scalar(&draws, outOfVocabulary) }
        var values: [BodyValue] = []
        for _ in 0..<1 + draws.below(listCountMax) {
            // A null inside a list is refused, so a value that cannot be drawn is left out.
            if let value = scalar(&draws, outOfVocabulary) { values.append(value) }
        }
        return .list(values)
    }

    private func scalar(_ draws: inout SeededDraws, _ outOfVocabulary: Double) -> BodyValue? {
        switch feature.encoding {
        case .vocabulary:
            return words.isEmpty || draws.chance(outOfVocabulary) ? strange(&draws) : words[draws.below(words.count)]
        case .hash:
            if let items {
                let row = draws.below(items.count)
                return items.isNumber ? BodyValue(items.number(row)) : .string(items.text(row))
            }
            let number = draws.below(1 << 20)
            return feature.type == .integer ? .signed(Int64(number)) : .string("\(feature.name)-\(number)")
        case .bucketise(let boundaries):
            return number(Self.spread(boundaries, &draws), transforms: [])
        case .numeric(let transforms):
            return number(Self.invert(transforms, &draws), transforms: transforms)
        }
    }

    /// A value that is no word.
    private func strange(_ draws: inout SeededDraws) -> BodyValue {
        while true {
            let number = draws.below(1 << 40)
            let text = feature.type == .integer ? String(number) : "unknown-\(number)"
            if !wordTexts.contains(ByteText(text)) {
                return feature.type == .integer ? .signed(Int64(number)) : .string(text)
            }
        }
    }

    /// The number in the feature's type, with six digits; nil if the daemon would refuse it.
    private func number(_ value: Double, transforms: [SnapshotSchema.Transform]) -> BodyValue? {
        guard value.isFinite else { return nil }
        var result: BodyValue
        var stated: Double
        if feature.type == .integer {
            let bounded = min(max(value.rounded(), -0x1p53), 0x1p53)
            result = .signed(Int64(bounded))
            stated = bounded
        } else {
            stated = Self.rounded(value)
            result = .number(stated)
        }
        for transform in transforms {
            switch transform {
            case .log1p: stated = stated < 0 ? -log1p(-stated) : log1p(stated)
            case .standardise(let mean, let deviation): stated = (stated - mean) / deviation
            case .clip(let minimum, let maximum): stated = min(max(stated, minimum), maximum)
            }
        }
        return Float(stated).isFinite ? result : nil
    }

    /// Six significant digits: the sixteen of a drawn double are more than any caller sends.
    private static func rounded(_ value: Double) -> Double {
        guard value != 0 else { return 0 }
        let scale = pow(10, 5 - log10(abs(value)).rounded(.down))
        let result = (value * scale).rounded() / scale
        return result.isFinite ? result : value
    }

    /// A number in any of the buckets, all alike, now and then a boundary itself; the outer ones reach as far as the
    /// others together.
    private static func spread(_ boundaries: [Double], _ draws: inout SeededDraws) -> Double {
        guard let first = boundaries.first, let last = boundaries.last else { return draws.normal() }
        if draws.below(8) == 0 { return boundaries[draws.below(boundaries.count)] }
        let reach = min(max(last / 2 - first / 2, 0.5) * 2, Double.greatestFiniteMagnitude)
        let bucket = draws.below(boundaries.count + 1)
        let low = bucket == 0 ? first - reach : boundaries[bucket - 1]
        let high = bucket == boundaries.count ? last + reach : boundaries[bucket]
        let part = draws.unit()
        return low * (1 - part) + high * part
    }

    /// A number that the last `standardise` makes normal, or without one a number about the last `clip`'s range, taken
    /// back through the transforms before it.
    private static func invert(_ transforms: [SnapshotSchema.Transform], _ draws: inout SeededDraws) -> Double {
        var value = draws.normal()
        var start = transforms.count
        if let last = transforms.lastIndex(where: { if case .standardise = $0 { true } else { false } }) {
            start = last + 1
        } else if let last = transforms.lastIndex(where: { if case .clip = $0 { true } else { false } }),
            case .clip(let minimum, let maximum) = transforms[last]
        {
            start = last
            value = minimum + (maximum - minimum) * (draws.unit() * 1.2 - 0.1)
        }
        for transform in transforms[..<start].reversed() {
            switch transform {
            case .log1p: value = value < 0 ? -expm1(-value) : expm1(value)
            case .standardise(let mean, let deviation): value = value * deviation + mean
            case .clip(let minimum, let maximum): value = min(max(value, minimum), maximum)
            }
        }
        return value
    }
}

extension BodyValue {
    /// An integer of 0 ..< 2^64.
    init(_ number: UInt64) {
        self = Int64(exactly: number).map { .signed($0) } ?? .unsigned(number)
    }

    /// The integer whose decimal this is, as JSON writes it; nil for any other text.
    init?(decimal text: String) {
        if let number = Int64(text), String(number) == text {
            self = .signed(number)
        } else if let number = UInt64(text), String(number) == text {
            self = .unsigned(number)
        } else {
            return nil
        }
    }
}
