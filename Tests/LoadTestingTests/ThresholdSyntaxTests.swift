import Testing

@testable import LoadTesting

@Suite struct ThresholdSyntaxTests {
    private typealias Case = (
        text: String, left: Metric, comparison: Threshold.Comparison, right: Threshold.Limit
    )

    private static func percentile(_ value: Double, _ clock: Metric.Clock = .latency, _ window: Metric.Window? = nil)
        -> Metric
    {
        Metric(quantity: .percentile(value), clock: clock, window: window)
    }

    private static let timeouts = Metric(quantity: .errors(kind: "timeout"))
    private static let unavailable = Metric(quantity: .errors(kind: "status 503"))
    private static let errors = Metric(quantity: .errors(kind: nil))

    private static let cases: [Case] = [
        // The forms of the doc comment, in its order.
        ("p(99)<5ms", percentile(99), .below, .constant(5000)),
        ("p(99.9)<20ms", percentile(99.9), .below, .constant(20_000)),
        ("max<1s", Metric(quantity: .max), .below, .constant(1_000_000)),
        ("mean<2ms", Metric(quantity: .mean), .below, .constant(2000)),
        ("service.p(99)<3ms", percentile(99, .service), .below, .constant(3000)),
        ("lag.p(99)<50us", percentile(99, .lag), .below, .constant(50)),
        ("wait.p(99)<1ms", percentile(99, .wait), .below, .constant(1000)),
        ("errors<0.1%", errors, .below, .constant(0.001)),
        ("errors[status 503]<1%", unavailable, .below, .constant(0.01)),
        ("errors[timeout]<=0%", timeouts, .atMost, .constant(0)),
        ("refused<5%", Metric(quantity: .refused), .below, .constant(0.05)),
        ("invalid<=0%", Metric(quantity: .invalid), .atMost, .constant(0)),
        ("recall@100>=0.98", Metric(quantity: .recall(100)), .atLeast, .constant(0.98)),
        ("rate>=990", Metric(quantity: .rate), .atLeast, .constant(990)),
        ("rate>=99%", Metric(quantity: .rate), .atLeast, .shareOfScheduledRate(0.99)),
        (
            "p(99)[swap]<1.2*p(99)[quiet]", percentile(99, .latency, .swap), .below,
            .metric(factor: 1.2, percentile(99, .latency, .quiet))
        ),
        ("swaps>=200", Metric(quantity: .swaps(failed: false)), .atLeast, .constant(200)),
        ("swaps[failed]<=0", Metric(quantity: .swaps(failed: true)), .atMost, .constant(0)),
        ("mixed<=0%", Metric(quantity: .mixed), .atMost, .constant(0)),
        (
            "memory[last]<1.05*memory[third]", Metric(quantity: .memory(.last)), .below,
            .metric(factor: 1.05, Metric(quantity: .memory(.third)))
        ),
        ("memory[third]<1.5GiB", Metric(quantity: .memory(.third)), .below, .constant(1_610_612_736)),
        ("memory[ last ] < 2 MiB", Metric(quantity: .memory(.last)), .below, .constant(2_097_152)),
        // Spaces.
        ("  p ( 99 )  <=  5  ms  ", percentile(99), .atMost, .constant(5000)),
        (
            "service.p(50) [ swap ] > 2 * service.mean [ quiet ]", percentile(50, .service, .swap), .above,
            .metric(factor: 2, Metric(quantity: .mean, clock: .service, window: .quiet))
        ),
        ("errors [ status 503 ] < 1 %", unavailable, .below, .constant(0.01)),
        // Units.
        ("max<7us", Metric(quantity: .max), .below, .constant(7)),
        ("max<7µs", Metric(quantity: .max), .below, .constant(7)),
        ("max<0.5ms", Metric(quantity: .max), .below, .constant(500)),
        ("max<.5s", Metric(quantity: .max), .below, .constant(500_000)),
        ("recall@10>=98%", Metric(quantity: .recall(10)), .atLeast, .constant(0.98)),
        ("errors<1", errors, .below, .constant(1)),
        // Comparisons, and another metric as the limit.
        ("max==1s", Metric(quantity: .max), .equal, .constant(1_000_000)),
        ("max!=1s", Metric(quantity: .max), .different, .constant(1_000_000)),
        ("max>1s", Metric(quantity: .max), .above, .constant(1_000_000)),
        ("mean<p(90)", Metric(quantity: .mean), .below, .metric(factor: 1, percentile(90))),
        ("p(99)<4*service.p(50)", percentile(99), .below, .metric(factor: 4, percentile(50, .service))),
        ("errors[timeout]<0.5*errors", timeouts, .below, .metric(factor: 0.5, errors)),
    ]

    @Test func everyFormMeansWhatItSays() throws {
        for (text, left, comparison, right) in Self.cases {
            let threshold = try Threshold(text)
            #expect(threshold.left == left, "\(text)")
            #expect(threshold.comparison == comparison, "\(text)")
            #expect(threshold.right == right, "\(text)")
            #expect(threshold.expression == text)
            #expect(threshold.description == text)
        }
    }

    /// Each with the character (from 1) at which it goes wrong, and what the message has to say.
    private static let wrong: [(text: String, character: Int, what: String)] = [
        ("", 1, "expected p(99), max, mean"),
        ("   ", 4, "expected p(99), max, mean"),
        ("p99<5ms", 2, "expected p(99)"),
        ("p(<5ms", 3, "expected p(99)"),
        ("p(99<5ms", 5, "expected p(99)"),
        ("p(100)<5ms", 3, "a percentile lies between 0 and 100"),
        ("p(0)<5ms", 3, "a percentile lies between 0 and 100"),
        ("p(9.9.9)<5ms", 3, "'9.9.9' is no number"),
        ("p(-1)<5ms", 3, "expected p(99)"),
        ("median<5ms", 1, "expected p(99), max, mean"),
        ("P(99)<5ms", 1, "expected p(99), max, mean"),
        ("speed.p(99)<5ms", 1, "expected p(99), max, mean"),
        ("latency.lag.p(99)<5ms", 9, "expected p(99), max, mean"),
        ("service.errors<1%", 1, "only times are told apart by 'service.'"),
        ("p(99)", 6, "expected <, <=, >, >=, == or !="),
        ("p(99)=5ms", 6, "expected <, <=, >, >=, == or !="),
        ("p(99)=<5ms", 6, "expected <, <=, >, >=, == or !="),
        ("p(99)<", 7, "expected a time in us, ms or s"),
        ("p(99)<-5ms", 7, "expected a time in us, ms or s"),
        ("p(99)<5", 8, "expected a time in us, ms or s"),
        ("p(99)<5 minutes", 9, "expected a time in us, ms or s"),
        ("p(99)<5%", 8, "expected a time in us, ms or s"),
        ("p(99)<5ns", 8, "expected a time in us, ms or s"),
        ("p(99)<1.2.3ms", 7, "'1.2.3' is no number"),
        ("p(99)<5ms p(50)<1ms", 11, "'p(50)<1ms' follows what is complete"),
        ("p(99)<5ms,max<1s", 10, "',max<1s' follows what is complete"),
        ("p(99)<2*", 9, "expected p(99), max, mean"),
        ("p(99)<2*3ms", 9, "expected p(99), max, mean"),
        ("p(99)<2*errors", 9, "the two sides are counted in different units"),
        ("p(99)<rate", 7, "the two sides are counted in different units"),
        ("p(99)[pause]<5ms", 7, "expected [swap] or [quiet]"),
        ("p(99)[swap<5ms", 7, "expected [swap] or [quiet]"),
        ("errors[timeout][swap]<1%", 17, "only times are told apart by [swap]"),
        ("rate[quiet]>1", 6, "only times are told apart by [quiet]"),
        ("errors[late]<1%", 8, "expected errors[closed], errors[timeout]"),
        ("errors[]<1%", 8, "expected errors[closed], errors[timeout]"),
        ("errors[status 999]<1%", 8, "expected errors[closed], errors[timeout]"),
        // Taken for a number and compared as text, these would be kinds that no request ever has, and so always hold.
        ("errors[status +503]<1%", 8, "expected errors[closed], errors[timeout]"),
        ("errors[status 0503]<1%", 8, "expected errors[closed], errors[timeout]"),
        ("errors<1ms", 9, "expected a share"),
        ("errors<5", 8, "a share is at most 100%"),
        ("recall@100>=98", 13, "a share is at most 100%"),
        ("recall>=0.9", 7, "expected recall@100"),
        ("recall@>=0.9", 8, "expected recall@100"),
        ("recall@0>=0.9", 8, "expected recall@100"),
        ("recall@1.5>=0.9", 8, "expected recall@100"),
        ("recall@99999999999999999999>=0.9", 8, "a number is at most"),
        ("rate>=5ms", 8, "expected a rate per second"),
        ("swaps>=5%", 9, "expected a number"),
        ("swaps[done]>=5", 7, "expected swaps[failed]"),
        ("swaps<rate", 7, "the two sides are counted in different units"),
        ("memory<5GiB", 7, "expected memory[third] or memory[last]"),
        ("memory[first]<5GiB", 8, "expected memory[third] or memory[last]"),
        ("memory[last]<5GB", 15, "expected MiB or GiB"),
        ("memory[last][swap]<5GiB", 14, "only times are told apart by [swap]"),
        ("max<99999999999999999999s", 5, "a number is at most"),
    ]

    @Test func whatIsWrongIsNamedWithItsPlace() {
        for (text, character, what) in Self.wrong {
            do {
                _ = try Threshold(text)
                Issue.record("'\(text)' was accepted")
            } catch {
                guard case .usage(let message) = error else {
                    Issue.record("'\(text)' is no wrong usage: \(error)")
                    continue
                }
                let expected = "threshold '\(text)', character \(character): \(what)"
                #expect(message.hasPrefix(expected), "\(message) instead of \(expected)")
            }
        }
    }

    /// Digits without end, brackets without partner, letters beyond ASCII: an error, or an expression, and never a trap.
    @Test func noTextTraps() {
        let words = [
            "p", "(", ")", "99", "9", ".", "max", "mean", "errors", "[", "]", "status 503", "timeout", "swap", "quiet",
            "refused", "invalid", "recall", "@", "rate", "<", "<=", ">", ">=", "==", "!=", "=", "*", "%", "ms", "us",
            "µs", "s", " ", "service.", "lag.", "wait.", "latency.", "-", "+", "e", "0", "1e9", "\u{301}", "é", "٣",
            "½",
            "\n", "\0", "99999999999999999999", "inf", "nan",
        ]
        let whole = ["p(99)<5ms", "errors<1%", "recall@100>=0.9", "rate>=99%", "max[swap]<2*max[quiet]"]
        var random = SplitMix64(seed: 17)
        var accepted = 0
        for number in 0..<5000 {
            var text = ""
            if number % 2 == 0 {
                for _ in 0..<Int(random.next() % 14) { text += words[Int(random.next() % UInt64(words.count))] }
            } else {
                // One change to what is right: that gets further.
                var characters = Array(whole[number / 2 % whole.count])
                let place = Int(random.next() % UInt64(characters.count))
                let word = words[Int(random.next() % UInt64(words.count))]
                characters.replaceSubrange(place..<min(characters.count, place + number / 2 % 3), with: Array(word))
                text = String(characters)
            }
            do {
                let threshold = try Threshold(text)
                accepted += 1
                // Neither does what is done with it.
                _ = threshold.latencyBound
                _ = threshold.errorBound
                _ = threshold.judge(HandMade.measurements(HandMade.run([])))
                _ = threshold.problem(
                    smallestK: 10, hasSwaps: false, measuresRecall: false, checksReplies: false, isOpenLoop: false)
            } catch {
                guard case .usage(let message) = error else {
                    Issue.record("'\(text)': \(error)")
                    continue
                }
                #expect(message.hasPrefix("threshold '\(text)', character "))
            }
        }
        // Or else nothing was tried but the first few characters.
        #expect(accepted > 50)
    }
}
