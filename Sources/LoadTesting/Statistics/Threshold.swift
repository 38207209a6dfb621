internal import Foundation

/// Something that has to hold, written as in k6:
///
///     p(99)<5ms    p(99.9)<20ms    max<1s    mean<2ms    service.p(99)<3ms    lag.p(99)<50us    wait.p(99)<1ms
///     errors<0.1%    errors[status 503]<1%    errors[timeout]<=0%    refused<5%    invalid<=0%
///     recall@100>=0.98    rate>=990    rate>=99%
///     p(99)[swap]<1.2*p(99)[quiet]    swaps>=200    swaps[failed]<=0    mixed<=0%    memory[last]<1.05*memory[third]
///
/// `[swap]` are the requests that were due while a snapshot was swapped, `[quiet]` those in equally long windows between the
/// swaps. `refused` is the share of replies with 429 or 503, `invalid` the share of checked replies with a fault, `mixed` that
/// of recomputed replies whose parts do not belong together, `rate` successes per second, and `rate>=99%` means of the
/// scheduled rate. `swaps` counts the published snapshots that were swapped to, `memory` is the daemon's resident memory after
/// the third and after the last of them.
public struct Threshold: Sendable, Equatable, CustomStringConvertible {
    /// As it was written.
    public let expression: String
    let left: Metric
    let comparison: Comparison
    let right: Limit

    enum Comparison: String, Sendable, CaseIterable {
        // The longer ones first: that is how they are read.
        case atMost = "<="
        case atLeast = ">="
        case equal = "=="
        case different = "!="
        case below = "<"
        case above = ">"

        func holds(_ left: Double, _ right: Double) -> Bool {
            switch self {
            case .atMost: left <= right
            case .atLeast: left >= right
            case .equal: left == right
            case .different: left != right
            case .below: left < right
            case .above: left > right
            }
        }
    }

    enum Limit: Sendable, Equatable {
        case constant(Double)  // in the left side's unit
        case shareOfScheduledRate(Double)
        case metric(factor: Double, Metric)
    }

    /// Reads an expression. Throws `LoadTestError.usage`, which says where it stopped making sense.
    public init(_ expression: String) throws(LoadTestError) {
        self.expression = expression
        var scanner = ThresholdScanner(expression)
        left = try scanner.metric()
        comparison = try scanner.comparison()
        right = try scanner.limit(for: left.unit)
        try scanner.requireEnd()
    }

    /// The expression.
    public var description: String { expression }

    private var metrics: [Metric] {
        if case .metric(_, let other) = right { [left, other] } else { [left] }
    }

    /// Why this threshold could never be judged in such a run, or nil.
    ///
    /// - smallestK: the fewest items that a request asks for.
    public func problem(
        smallestK: Int, hasSwaps: Bool, publishes: Bool = false, checksBelonging: Bool = false, measuresRecall: Bool,
        checksReplies: Bool, isOpenLoop: Bool
    ) -> String? {
        for metric in metrics {
            switch metric.quantity {
            case .recall(let depth) where depth > smallestK:
                return "'\(expression)': no recall@\(depth) where requests ask for \(smallestK) items"
            case .recall(let depth) where depth != smallestK && !Recall.depths.contains(depth):
                return "'\(expression)': recall is measured at 10, at 100 and at k"
            case .recall where !measuresRecall: return "'\(expression)': recall is not measured (--recall-sample 0)"
            case .invalid where !checksReplies: return "'\(expression)': replies are not checked (--validate 0%)"
            case .mixed where !checksBelonging:
                return "'\(expression)': replies are not recomputed (--swap-expect, --validate)"
            case .swaps where !publishes, .memory where !publishes:
                return "'\(expression)': nothing is published (--swap-publish)"
            default: break
            }
            if metric.window != nil, !hasSwaps { return "'\(expression)': nothing is swapped (--swap-every)" }
        }
        if case .shareOfScheduledRate = right, !isOpenLoop {
            return "'\(expression)': closed loop has no scheduled rate"
        }
        return nil
    }

    /// Judges it.
    public func judge(_ measurements: Measurements) -> ThresholdResult {
        var result = ThresholdResult(
            expression: expression, unit: left.unit, observed: nil, limit: nil, verdict: .unmeasured, reason: nil)
        do throws(Measurements.Unmeasured) {
            let observed = try measurements.value(left)
            result.observed = observed
            let limit =
                switch right {
                case .constant(let value): value
                case .shareOfScheduledRate(let share): share * measurements.scheduledRate
                case .metric(let factor, let metric): factor * (try measurements.value(metric))
                }
            result.limit = limit
            result.verdict = comparison.holds(observed, limit) ? .holds : .fails
        } catch {
            result.reason = error.reason
        }
        return result
    }
}

/// Reads the parts of a threshold one after the other.
private struct ThresholdScanner {
    private let text: [Character]
    private var position = 0

    init(_ text: String) {
        self.text = Array(text)
    }

    private func fault(_ what: String, at place: Int? = nil) -> LoadTestError {
        .usage("threshold '\(String(text))', character \((place ?? position) + 1): \(what)")
    }

    private mutating func skipSpaces() {
        while position < text.count, text[position] == " " { position += 1 }
    }

    private mutating func take(_ word: String) -> Bool {
        skipSpaces()
        let end = position + word.count
        guard end <= text.count, String(text[position..<end]) == word else { return false }
        position = end
        return true
    }

    private mutating func word(while belongs: (Character) -> Bool) -> String {
        skipSpaces()
        let start = position
        while position < text.count, belongs(text[position]) { position += 1 }
        return String(text[start..<position])
    }

    /// What stands up to a closing bracket, without the spaces around it.
    private mutating func bracketed() -> String {
        var name = word { $0 != "]" }
        while name.last == " " { name.removeLast() }
        return name
    }

    /// Larger numbers are refused: times are counted in 64 bits of nanoseconds.
    private static let numberMax = 1e9

    /// The digits of a number, or nil if something else follows. They are kept as text until the unit is known: 0.7 / 100 is
    /// not the same binary fraction as 7 / 1000, and a threshold on the boundary would be judged wrongly.
    private mutating func digits() throws(LoadTestError) -> String? {
        skipSpaces()
        let start = position
        let digits = word { $0.isASCII && ($0.isNumber || $0 == ".") }
        if digits.isEmpty { return nil }
        guard let value = Double(digits) else { throw fault("'\(digits)' is no number", at: start) }
        guard value <= Self.numberMax else {
            throw fault("a number is at most \(Int(Self.numberMax))", at: start)
        }
        return digits
    }

    private mutating func number() throws(LoadTestError) -> Double? { try digits().flatMap { Double($0) } }

    mutating func metric() throws(LoadTestError) -> Metric {
        skipSpaces()
        let start = position
        var clock: Metric.Clock?
        for candidate in Metric.Clock.allCases where clock == nil && take(candidate.rawValue + ".") {
            clock = candidate
        }
        skipSpaces()
        let nameStart = position
        let name = word { $0.isLetter }
        var metric: Metric
        switch name {
        case "p":
            guard take("(") else { throw fault("expected p(99)") }
            skipSpaces()
            let numberStart = position
            guard let percentile = try number(), take(")") else { throw fault("expected p(99)") }
            guard percentile > 0, percentile < 100 else {
                throw fault("a percentile lies between 0 and 100", at: numberStart)
            }
            metric = Metric(quantity: .percentile(percentile))
        case "max": metric = Metric(quantity: .max)
        case "mean", "avg": metric = Metric(quantity: .mean)
        case "errors":
            var kind: String?
            if take("[") {
                let kindStart = position
                let name = bracketed()
                guard take("]"), Measurements.isErrorKind(name) else {
                    throw fault(
                        "expected errors[closed], errors[timeout], errors[malformed] or errors[status 503]",
                        at: kindStart)
                }
                kind = name
            }
            metric = Metric(quantity: .errors(kind: kind))
        case "refused": metric = Metric(quantity: .refused)
        case "invalid": metric = Metric(quantity: .invalid)
        case "mixed": metric = Metric(quantity: .mixed)
        case "swaps":
            var failed = false
            if take("[") {
                let wordStart = position
                guard bracketed() == "failed", take("]") else { throw fault("expected swaps[failed]", at: wordStart) }
                failed = true
            }
            metric = Metric(quantity: .swaps(failed: failed))
        case "memory":
            let bracketStart = position
            guard take("[") else { throw fault("expected memory[third] or memory[last]", at: bracketStart) }
            skipSpaces()
            let wordStart = position
            guard let instant = Metric.Instant(rawValue: bracketed()), take("]") else {
                throw fault("expected memory[third] or memory[last]", at: wordStart)
            }
            metric = Metric(quantity: .memory(instant))
        case "rate": metric = Metric(quantity: .rate)
        case "recall":
            guard take("@") else { throw fault("expected recall@100") }
            let depthStart = position
            guard let depth = try number(), depth >= 1, depth == depth.rounded() else {
                throw fault("expected recall@100", at: depthStart)
            }
            metric = Metric(quantity: .recall(Int(depth)))
        default:
            throw fault(
                "expected p(99), max, mean, errors, refused, invalid, mixed, swaps, memory, recall@100 or rate",
                at: nameStart)
        }
        if let clock {
            guard metric.unit == .micros else {
                throw fault("only times are told apart by '\(clock.rawValue).'", at: start)
            }
            metric.clock = clock
        }
        if take("[") {
            let windowStart = position
            let name = bracketed()
            guard let window = Metric.Window(rawValue: name), take("]") else {
                throw fault("expected [swap] or [quiet]", at: windowStart)
            }
            guard metric.unit == .micros else {
                throw fault("only times are told apart by [\(name)]", at: windowStart)
            }
            metric.window = window
        }
        return metric
    }

    mutating func comparison() throws(LoadTestError) -> Threshold.Comparison {
        for candidate in Threshold.Comparison.allCases where take(candidate.rawValue) { return candidate }
        throw fault("expected <, <=, >, >=, == or !=")
    }

    mutating func limit(for unit: ThresholdResult.Unit) throws(LoadTestError) -> Threshold.Limit {
        skipSpaces()
        let start = position
        guard let digits = try digits() else {
            guard position < text.count, text[position].isLetter else {
                throw fault("expected \(Self.examples(unit)), or another metric")
            }
            let other = try metric()
            try requireSame(unit, other, at: start)
            return .metric(factor: 1, other)
        }
        // Rounded once, from the decimal digits.
        func value(exponent: Int = 0) -> Double { Double("\(digits)e\(exponent)")! }
        if take("*") {
            skipSpaces()
            let otherStart = position
            let other = try metric()
            try requireSame(unit, other, at: otherStart)
            return .metric(factor: value(), other)
        }
        skipSpaces()
        let suffixStart = position
        let suffix = word { $0.isLetter || $0 == "%" }
        switch (unit, suffix) {
        case (.micros, "us"), (.micros, "µs"): return .constant(value())
        case (.micros, "ms"): return .constant(value(exponent: 3))
        case (.micros, "s"): return .constant(value(exponent: 6))
        case (.fraction, "%"): return .constant(try share(value(exponent: -2), at: start))
        case (.fraction, ""): return .constant(try share(value(), at: start))
        case (.perSecond, "%"): return .shareOfScheduledRate(value(exponent: -2))
        case (.perSecond, ""), (.count, ""): return .constant(value())
        case (.bytes, "MiB"): return .constant(value() * 1_048_576)
        case (.bytes, "GiB"): return .constant(value() * 1_073_741_824)
        default: throw fault("expected \(Self.examples(unit))", at: suffixStart)
        }
    }

    private static func examples(_ unit: ThresholdResult.Unit) -> String {
        switch unit {
        case .micros: "a time in us, ms or s"
        case .fraction: "a share, such as 0.1% or 0.98"
        case .perSecond: "a rate per second, or a share of the scheduled one"
        case .count: "a number"
        case .bytes: "MiB or GiB"
        }
    }

    /// Somebody who writes `errors<5` means 5 %, which is not what every run would be measured by.
    private func share(_ value: Double, at place: Int) throws(LoadTestError) -> Double {
        guard value <= 1 else { throw fault("a share is at most 100%", at: place) }
        return value
    }

    private func requireSame(_ unit: ThresholdResult.Unit, _ other: Metric, at place: Int) throws(LoadTestError) {
        guard other.unit == unit else { throw fault("the two sides are counted in different units", at: place) }
    }

    mutating func requireEnd() throws(LoadTestError) {
        skipSpaces()
        guard position == text.count else { throw fault("'\(String(text[position...]))' follows what is complete") }
    }
}
