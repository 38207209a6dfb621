public import Memory

/// One value as a request gave it, before a schema says what it should be.
public enum FeatureValue {
    case text(Text)
    /// An integer of -2^63 ..< 0.
    case negative(Int64)
    /// An integer of 0 ..< 2^64.
    case unsigned(UInt64)
    case number(Double)
    case boolean(Bool)
    /// An object, or a list inside a list: no feature takes one.
    case composite
}

/// Where a request carries a feature.
public enum FeatureSource: BitwiseCopyable, Sendable {
    case user, context
}

/// The features of one request as a decoder found them: names and values in two flat lists that are reused, so
/// that a request adds no allocation once the lists have grown. A decoder fills it without knowing any model;
/// `Tower` reads it with the schema of the snapshot that happens to serve.
public struct FeatureValues {
    /// One named feature.
    public struct Entry {
        /// The feature's name.
        public let name: Text
        /// Whether it stands in `user.features` or in `context`.
        public let source: FeatureSource
        /// Whether the value was a JSON list.
        public let isList: Bool
        /// Its values are `values[firstValue ..< firstValue + valueCount]`; none for `null`.
        public let firstValue: Int
        /// How many values it has.
        public let valueCount: Int
    }

    /// The features in the order of the request.
    public private(set) var entries: [Entry] = []
    /// All values, entry by entry.
    public private(set) var values: [FeatureValue] = []

    /// Creates an empty list.
    public init() {}

    /// Forgets the request and keeps the memory.
    public mutating func removeAll() {
        entries.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
    }

    /// Adds a value for the entry that `appendEntry` will close.
    @inline(__always)
    public mutating func appendValue(_ value: FeatureValue) {
        values.append(value)
    }

    /// Names the values appended since the entry before it.
    public mutating func appendEntry(name: Text, source: FeatureSource, isList: Bool) {
        let firstValue = entries.last.map { $0.firstValue + $0.valueCount } ?? 0
        entries.append(
            Entry(
                name: name, source: source, isList: isList, firstValue: firstValue,
                valueCount: values.count - firstValue))
    }
}
