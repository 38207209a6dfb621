public import Memory

/// Metrics in Prometheus's text exposition format, version 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/). Not for the hot path.
///
///     var text = MetricsText()
///     text.counter("belfry_requests_total", help: "Requests.", [([("status", "200")], 17)])
///     text.withUnsafeBytes { reply.append($0) }
///
/// All samples of a name go into one call: the format wants them together.
public struct MetricsText: ~Copyable {
    /// Names and values of a sample's labels, in the order they are written.
    public typealias Labels = [(String, String)]

    /// The content type of the whole text.
    public static let contentType: StaticString = "text/plain; version=0.0.4; charset=utf-8"

    private var writer: ByteWriter
    private var names: Set<String> = []

    /// Begins a text, behind what the writer holds.
    public init(_ writer: consuming ByteWriter = ByteWriter(capacity: 16 << 10)) {
        self.writer = writer
    }

    /// Lends the text.
    public borrowing func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try writer.withUnsafeBytes(body)
    }

    /// Ends the text and gives the writer back.
    public consuming func finish() -> ByteWriter { writer }

    // MARK: Kinds

    /// What only grows; by convention its name ends in `_total`.
    public mutating func counter(_ name: String, help: String, _ samples: [(labels: Labels, value: Double)]) {
        family(name, help: help, type: "counter")
        for sample in samples { self.sample(name, sample.labels, sample.value) }
    }

    /// What grows and shrinks.
    public mutating func gauge(_ name: String, help: String, _ samples: [(labels: Labels, value: Double)]) {
        family(name, help: help, type: "gauge")
        for sample in samples { self.sample(name, sample.labels, sample.value) }
    }

    /// Facts that are texts, as labels of a gauge that is always 1; by convention its name ends in `_info`.
    public mutating func info(_ name: String, help: String, _ labels: Labels) {
        gauge(name, help: help, [(labels: labels, value: 1)])
    }

    /// Durations in seconds; by convention the name ends in `_seconds`. The histograms of one sample, one of each worker, are
    /// added up.
    public mutating func histogram(
        _ name: String, help: String, _ samples: [(labels: Labels, histograms: [LatencyHistogram])]
    ) {
        family(name, help: help, type: "histogram")
        for sample in samples {
            var counts = [Int](repeating: 0, count: LatencyHistogram.boundsSeconds.count + 1)
            var sum = 0.0
            for histogram in sample.histograms {
                for (bucket, count) in histogram.counts.enumerated() { counts[bucket] += count }
                sum += histogram.sumSeconds
            }
            var cumulative = 0
            for (bucket, count) in counts.enumerated() {
                cumulative += count
                let bounds = LatencyHistogram.boundsSeconds
                let bound = bucket < bounds.count ? MetricsText.text(of: bounds[bucket]) : "+Inf"
                self.sample(name + "_bucket", sample.labels + [("le", bound)], Double(cumulative))
            }
            self.sample(name + "_sum", sample.labels, sum)
            self.sample(name + "_count", sample.labels, Double(cumulative))
        }
    }

    // MARK: Lines

    private mutating func family(_ name: String, help: String, type: StaticString) {
        assert(MetricsText.isName(name, allowsColon: true), "'\(name)' is not a metric's name")
        let isNew = names.insert(name).inserted
        assert(isNew, "'\(name)' stands twice: all samples of a name go into one call")
        writer.append("# HELP ")
        writer.append(text: name)
        writer.append(" ")
        escape(help, quotes: false)
        writer.append("\n# TYPE ")
        writer.append(text: name)
        writer.append(" ")
        writer.append(type)
        writer.append("\n")
    }

    private mutating func sample(_ name: String, _ labels: Labels, _ value: Double) {
        writer.append(text: name)
        for (index, (label, text)) in labels.enumerated() {
            assert(MetricsText.isName(label, allowsColon: false), "'\(label)' is not a label's name")
            writer.append(index == 0 ? "{" : ",")
            writer.append(text: label)
            writer.append("=\"")
            escape(text, quotes: true)
            writer.append("\"")
        }
        writer.append(labels.isEmpty ? " " : "} ")
        writer.append(text: MetricsText.text(of: value))
        writer.append("\n")
    }

    private mutating func escape(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): writer.append("\\\\")
            case UInt8(ascii: "\n"): writer.append("\\n")
            case UInt8(ascii: "\"") where quotes: writer.append("\\\"")
            default: writer.append(byte)
            }
        }
    }

    /// The shortest text that reads back as the same number; whole numbers without a fraction.
    static func text(of value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded(), abs(value) < 0x1p53 { return "\(Int64(value))" }
        return "\(value)"
    }

    /// `[a-zA-Z_][a-zA-Z0-9_]*`, with colons in the names of metrics.
    private static func isName(_ name: String, allowsColon: Bool) -> Bool {
        name.utf8.enumerated().allSatisfy { index, byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"): index > 0
            case UInt8(ascii: ":"): allowsColon
            default: false
            }
        } && !name.isEmpty
    }
}
