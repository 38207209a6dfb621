/// One published snapshot and the swap to it, as the daemon tells it. All durations are in milliseconds.
public struct SwapRecord: Codable, Sendable, Equatable {
    /// The id it was published under.
    public var id: String
    /// The directory it was published from.
    public var source: String
    /// The id of the one that served before; nil if none did.
    public var previous: String?
    /// What `publish` took, from its start to its end.
    public var publishMillis: Double
    /// What `publish` took of the processor.
    public var publishCPUMillis: Double
    /// From the daemon's seeing it to its serving; nil if it never did.
    public var servingMillis: Double?
    /// From the daemon's seeing it to the destruction of the one before; nil if that was not seen.
    public var windowMillis: Double?
    /// What the daemon's steps took: `verify`, `load`, `warm`, `swap` and `destroy`, the last of the one before.
    public var stepMillis: [String: Double]
    /// What they took of the processor.
    public var stepCPUMillis: [String: Double]
    /// The daemon's resident memory when the next one was due; nil where `/metrics` does not say.
    public var residentBytes: Double?
    /// Why it did not succeed, or nil.
    public var fault: String?

    enum CodingKeys: String, CodingKey {
        case id, source, previous
        case publishMillis = "publish_ms"
        case publishCPUMillis = "publish_cpu_ms"
        case servingMillis = "found_to_serving_ms"
        case windowMillis = "found_to_destroyed_ms"
        case stepMillis = "steps_ms"
        case stepCPUMillis = "steps_cpu_ms"
        case residentBytes = "resident_bytes"
        case fault
    }

    /// A swap of which nothing is known but what was published.
    public init(id: String, source: String, previous: String?, publishMillis: Double, publishCPUMillis: Double) {
        self.id = id
        self.source = source
        self.previous = previous
        self.publishMillis = publishMillis
        self.publishCPUMillis = publishCPUMillis
        stepMillis = [:]
        stepCPUMillis = [:]
    }
}
