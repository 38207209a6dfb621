import Histogram
import Testing

@testable import LoadTesting

@Suite struct ThresholdJudgementTests {
    private let second = HandMade.second

    private func judge(_ text: String, _ measurements: Measurements) throws -> ThresholdResult {
        try Threshold(text).judge(measurements)
    }

    /// 200 requests after a warm-up that would spoil everything: 12 end with 503, 4 with 429, 6 with 500, 8 are closed, 10 time
    /// out, 2 are malformed, and 158 succeed. 20 more were given up on purpose and count as nothing.
    private func mixed() -> RunResult {
        var fates: [(OutcomeKind, UInt16)] = []
        for (kind, status, count) in [
            (OutcomeKind.status, UInt16(503), 12), (.status, 429, 4), (.status, 500, 6), (.closed, 0, 8),
            (.timeout, 0, 10), (.malformed, 0, 2), (.success, 200, 158), (.abandoned, 0, 20),
        ] {
            fates += Array(repeating: (kind, status), count: count)
        }
        var outcomes = (0..<500).map { HandMade.outcome(at: UInt64($0) * 2_000_000, .timeout) }
        for (number, fate) in fates.enumerated() {
            outcomes.append(HandMade.outcome(at: second + UInt64(number) * 9_000_000, fate.0, status: fate.1))
        }
        return HandMade.run(outcomes, warmupEnd: second, end: 3 * second, scheduledRate: 110)
    }

    @Test func sharesAreOfTheRequestsThatCount() throws {
        let measurements = HandMade.measurements(mixed())
        for (name, count) in [
            ("errors", 42), ("errors[status 503]", 12), ("errors[status 429]", 4), ("errors[status 500]", 6),
            ("errors[status 404]", 0), ("errors[closed]", 8), ("errors[timeout]", 10), ("errors[malformed]", 2),
            ("refused", 16),
        ] {
            let share = Double(count) / 200
            let result = try judge("\(name)<=\(share)", measurements)
            #expect(result.observed == share, "\(name)")
            #expect(result.limit == share)
            #expect(result.unit == .fraction)
            #expect(result.verdict == .holds, "\(name)")
            #expect(try judge("\(name)<\(share)", measurements).verdict == .fails, "\(name)")
            #expect(try judge("\(name)>=\(share)", measurements).verdict == .holds, "\(name)")
            #expect(try judge("\(name)>\(share)", measurements).verdict == .fails, "\(name)")
            #expect(try judge("\(name)==\(share)", measurements).verdict == .holds, "\(name)")
            #expect(try judge("\(name)!=\(share)", measurements).verdict == .fails, "\(name)")
        }
        #expect(measurements.errorShare == 0.21)
    }

    /// 158 successes in 2 s are 79 per second, of 110 that were due.
    @Test func theRateIsOfSuccesses() throws {
        let measurements = HandMade.measurements(mixed())
        #expect(try judge("rate>=79", measurements).verdict == .holds)
        #expect(try judge("rate>79", measurements).verdict == .fails)
        let share = try judge("rate>=71%", measurements)
        #expect(share.observed == 79)
        #expect(abs((share.limit ?? 0) - 78.1) < 1e-9)
        #expect(share.verdict == .holds)
        #expect(share.unit == .perSecond)
        #expect(try judge("rate>=72%", measurements).verdict == .fails)  // 79.2
    }

    /// Runs of different length: 100 successes in 10 s and 300 in 2 s are 400 in 12 s, and 10 and 150 per second were due.
    @Test func severalRunsAreOne() throws {
        let slow = HandMade.run(
            (0..<100).map { HandMade.outcome(at: UInt64($0) * 100_000_000, service: 3_200_000) }, scheduledRate: 10)
        let fast = HandMade.run(
            (0..<300).map { HandMade.outcome(at: UInt64($0) * 6_000_000, service: 1_600_000) }, end: 2 * second,
            scheduledRate: 150)
        let measurements = HandMade.measurements(slow, fast)
        #expect(abs((try judge("rate>1", measurements).observed ?? 0) - 400.0 / 12) < 1e-9)
        #expect(try judge("rate>=50%", measurements).limit == 40)
        // The 300 fast ones are the first three quarters.
        #expect(try judge("p(75)<1", measurements, micros: 1600))
        #expect(try judge("p(76)<1", measurements, micros: 3200))
    }

    /// Whether what is observed is the end of that value's bucket, or the value itself if it is the largest.
    private func judge(_ text: String, _ measurements: Measurements, micros: UInt64) throws -> Bool {
        let observed = try judge(text + "s", measurements).observed
        return observed == Double(HandMade.bucketEnd(micros * 1000)) / 1000 || observed == Double(micros)
    }

    /// Lag 16 us, wait 48 us, service 160 us; latency is their sum.
    @Test func everyTimeIsToldApart() throws {
        let run = HandMade.run(
            (0..<1000).map {
                HandMade.outcome(at: UInt64($0) * 1_000_000, lag: 16_000, wait: 48_000, service: 160_000)
            })
        let measurements = HandMade.measurements(run)
        for (name, micros) in [("", 224.0), ("latency.", 224), ("service.", 160), ("lag.", 16), ("wait.", 48)] {
            // All samples are equal, so that the largest bounds the bucket's end.
            #expect(try judge("\(name)p(99)<=\(micros)us", measurements).verdict == .holds, "\(name)")
            #expect(try judge("\(name)p(99)<\(micros)us", measurements).verdict == .fails, "\(name)")
            #expect(try judge("\(name)max==\(micros)us", measurements).verdict == .holds, "\(name)")
            // The mean is taken at the middle of the buckets, which are 0.512 us wide.
            #expect(abs((try judge("\(name)mean<1s", measurements).observed ?? 0) - micros) <= 0.512, "\(name)")
        }
        let double = try judge("p(99)<1.4*service.p(99)", measurements)
        #expect(double.observed == 224)
        #expect(abs((double.limit ?? 0) - 224) < 1e-9)
    }

    /// 5 ms lies in a bucket of 4,096 ns that ends at 5,001,215 ns, which is what a percentile reports unless no sample is
    /// larger. So `p(99)<=5ms` errs to the strict side, by less than 0.1 %.
    @Test func aLimitAtExactlyTheValueIsRoundedAgainstIt() throws {
        let equal = HandMade.measurements(HandMade.run(latencies: Array(repeating: 5_000_000, count: 2000)))
        #expect(try judge("p(99)<=5ms", equal).observed == 5000)
        #expect(try judge("p(99)<=5ms", equal).verdict == .holds)
        #expect(try judge("p(99)<5ms", equal).verdict == .fails)

        let withTail = HandMade.measurements(
            HandMade.run(
                latencies: Array(repeating: 5_000_000, count: 1980) + Array(repeating: 8_000_000, count: 20)))
        let rounded = try judge("p(99)<=5ms", withTail)
        #expect(rounded.observed == 5001.215)
        #expect(rounded.limit == 5000)
        #expect(rounded.verdict == .fails)
        #expect(try judge("p(99)<=5001.215us", withTail).verdict == .holds)
        #expect(try judge("p(99)<5001.215us", withTail).verdict == .fails)
        // The largest is exact.
        #expect(try judge("max<=8ms", withTail).verdict == .holds)
        #expect(try judge("max<8ms", withTail).verdict == .fails)
    }

    /// One sample more behind the rank is what tells the 1980th from the 1981st.
    @Test func thePercentileIsTheRankRoundedUp() throws {
        for (slow, isSlow) in [(20, false), (21, true)] {
            let run = HandMade.run(
                latencies: Array(repeating: 1_600_000, count: 2000 - slow) + Array(repeating: 16_000_000, count: slow))
            let verdict = try judge("p(99)<10ms", HandMade.measurements(run)).verdict
            #expect(verdict == (isSlow ? .fails : .holds))
        }
    }

    /// p(99) of 1000 is the 990th and has 10 above it; of 999 it is the 990th too and has 9.
    @Test func aPercentileNeedsTenSamplesAboveIt() throws {
        for (text, enough) in [
            ("p(99)", 1000), ("p(90)", 100), ("p(50)", 20), ("p(99.9)", 10_000), ("p(99.99)", 100_000), ("p(95)", 200),
        ] {
            let all = Array(repeating: UInt64(1_600_000), count: enough)
            #expect(try judge("\(text)<5ms", HandMade.measurements(HandMade.run(latencies: all))).verdict == .holds)
            let few = HandMade.measurements(HandMade.run(latencies: Array(all.dropLast())))
            let result = try judge("\(text)<5ms", few)
            #expect(result.verdict == .unmeasured, "\(text)")
            #expect(result.observed == nil)
            #expect(result.reason?.contains("fewer than 10 of \(enough - 1) samples") == true, "\(text)")
        }
        let none = HandMade.measurements(HandMade.run([]))
        for text in ["p(99)<5ms", "max<1s", "mean<1s", "errors<1%", "refused<1%", "p(50)[swap]<1ms"] {
            #expect(try judge(text, none).verdict == .unmeasured, "\(text)")
        }
    }

    /// A swap from 2 s to 3 s and one from 6 s to 6.5 s, at 1000 requests per second: 1500 of 10,000 are within, each start
    /// belongs to it and each end does not. As many are in the quiet windows, from 5 s to 6 s and from 9.5 s to 10 s.
    @Test func windowsAreByTheScheduledInstant() throws {
        let marks = [
            RunResult.Mark(kind: "swap", label: "b", start: 2 * second, end: 3 * second),
            RunResult.Mark(kind: "other", label: "", start: 0, end: 10 * second),
            RunResult.Mark(kind: "swap", label: "a", start: 6 * second, end: 6 * second + second / 2),
        ]
        let run = HandMade.run(
            (0..<10_000).map { number in
                let isInSwap = (2000..<3000).contains(number) || (6000..<6500).contains(number)
                return HandMade.outcome(
                    at: UInt64(number) * 1_000_000, lag: isInSwap ? 32_000 : 16_000,
                    service: isInSwap ? 768_000 : 384_000)
            }, marks: marks)
        let measurements = HandMade.measurements(run)
        #expect(run.histogram(.latency, in: .swap).totalCount == 1500)
        #expect(run.histogram(.latency, in: .quiet).totalCount == 1500)
        #expect(try judge("max[swap]==800us", measurements).verdict == .holds)
        #expect(try judge("max[quiet]==400us", measurements).verdict == .holds)
        #expect(try judge("service.max[swap]==768us", measurements).verdict == .holds)
        #expect(try judge("lag.max[quiet]==16us", measurements).verdict == .holds)
        let ratio = try judge("p(99)[swap]<=2*p(99)[quiet]", measurements)
        #expect(ratio.observed == 800)
        #expect(ratio.limit == 800)
        #expect(ratio.verdict == .holds)
        #expect(try judge("p(99)[swap]<=1.9*p(99)[quiet]", measurements).verdict == .fails)
        // The limit's samples count as well.
        let calm = HandMade.measurements(HandMade.run(latencies: Array(repeating: 400_000, count: 2000)))
        let unmeasured = try judge("p(99)<2*p(99)[swap]", calm)
        #expect(unmeasured.verdict == .unmeasured)
        #expect(unmeasured.observed == 400)
        #expect(unmeasured.limit == nil)
    }

    /// Four swaps of which the second failed: the third that succeeded is the last.
    @Test func publishedSwapsAreCountedAndWeighed() throws {
        func swap(_ megabytes: Double?, fault: String? = nil) -> RunResult.Mark {
            var record = SwapRecord(id: "s", source: "a", previous: nil, publishMillis: 1, publishCPUMillis: 1)
            record.residentBytes = megabytes.map { $0 * 1_048_576 }
            record.fault = fault
            return RunResult.Mark(kind: "swap", label: "s", start: 0, end: 1, fault: fault, swap: record)
        }
        let some = HandMade.measurements(
            HandMade.run([], marks: [swap(100), swap(900, fault: "refused"), swap(200), swap(400), swap(416)]))
        #expect(try judge("swaps>=4", some).observed == 4)
        #expect(try judge("swaps[failed]<=0", some).observed == 1)
        let memory = try judge("memory[last]<1.05*memory[third]", some)
        #expect(memory.observed == 416 * 1_048_576 && memory.verdict == .holds)
        #expect(try judge("memory[last]<1.03*memory[third]", some).verdict == .fails)
        #expect(try judge("memory[last]<=416MiB", some).verdict == .holds)
        #expect(try judge("memory[last]<0.4GiB", some).verdict == .fails)
        let few = HandMade.measurements(HandMade.run([], marks: [swap(100), swap(nil)]))
        #expect(try judge("memory[third]<1GiB", few).reason == "2 snapshots were swapped to")
        #expect(try judge("memory[last]<1GiB", few).reason == "/metrics did not say")

        var validation = ValidationReport(
            share: 1, checked: 10, invalid: 1, faults: [:], examples: [], compared: 0, worstScoreDifference: nil)
        #expect(
            try judge("mixed<=0%", HandMade.measurements(HandMade.run([]), validation: validation)).verdict
                == .unmeasured)
        validation.belonging = BelongingReport()
        validation.belonging?.recomputed = 8
        validation.belonging?.mixed = 2
        let mixed = try judge("mixed<=0%", HandMade.measurements(HandMade.run([]), validation: validation))
        #expect(mixed.observed == 0.25 && mixed.verdict == .fails)
    }

    @Test func answersAreJudgedByTheirChecks() throws {
        let run = HandMade.run(latencies: [1_600_000])
        let validation = ValidationReport(
            share: 1, checked: 400, invalid: 3, faults: [:], examples: [], compared: 0, worstScoreDifference: nil)
        let recall = RecallReport(
            requests: 50, skipped: [:],
            estimates: [
                .init(at: 10, mean: 0.995, low: 0.99, high: 1), .init(at: 100, mean: 0.975, low: 0.96, high: 0.99),
            ])
        let measurements = HandMade.measurements(run, validation: validation, recall: recall)
        #expect(try judge("invalid<=0.75%", measurements).observed == 0.0075)
        #expect(try judge("invalid<=0.75%", measurements).verdict == .holds)
        #expect(try judge("invalid<=0%", measurements).verdict == .fails)
        #expect(try judge("recall@10>=0.99", measurements).verdict == .holds)
        #expect(try judge("recall@100>=0.98", measurements).verdict == .fails)
        #expect(try judge("recall@100>=0.98", measurements).observed == 0.975)
        #expect(try judge("recall@50>=0.9", measurements).verdict == .unmeasured)

        let unchecked = ValidationReport(
            share: 0, checked: 0, invalid: 0, faults: [:], examples: [], compared: 0, worstScoreDifference: nil)
        for nothing in [HandMade.measurements(run), HandMade.measurements(run, validation: unchecked)] {
            #expect(try judge("invalid<=0%", nothing).verdict == .unmeasured)
            #expect(try judge("recall@10>=0.5", nothing).verdict == .unmeasured)
            #expect(try judge("recall@10>=0.5", nothing).reason == "recall@10 was not measured")
        }
    }

    @Test func whatCanNeverBeJudgedIsRefusedBeforehand() throws {
        func problem(
            _ text: String, smallestK: Int = 100, hasSwaps: Bool = true, measuresRecall: Bool = true,
            checksReplies: Bool = true, isOpenLoop: Bool = true
        ) throws -> String? {
            try Threshold(text).problem(
                smallestK: smallestK, hasSwaps: hasSwaps, measuresRecall: measuresRecall, checksReplies: checksReplies,
                isOpenLoop: isOpenLoop)
        }
        for text in [
            "p(99)<5ms", "recall@10>=0.9", "recall@100>=0.9", "invalid<=0%", "rate>=99%", "rate>=10",
            "p(99)[swap]<2*p(99)[quiet]",
        ] {
            #expect(try problem(text) == nil, "\(text)")
        }
        #expect(try problem("recall@100>=0.9", smallestK: 99)?.contains("ask for 99 items") == true)
        #expect(try problem("recall@20>=0.9", smallestK: 20) == nil)
        // Recall is measured at 10, at 100 and at k only.
        #expect(try problem("recall@50>=0.9")?.contains("at 10, at 100 and at k") == true)
        #expect(try problem("recall@10>=0.9", measuresRecall: false)?.contains("--recall-sample") == true)
        #expect(try problem("invalid<=0%", checksReplies: false)?.contains("--validate") == true)
        #expect(try problem("max[swap]<1s", hasSwaps: false)?.contains("--swap-every") == true)
        #expect(try problem("max<2*max[swap]", hasSwaps: false)?.contains("--swap-every") == true)
        #expect(try problem("max[quiet]<1s", hasSwaps: false)?.contains("--swap-every") == true)
        for text in ["swaps>=3", "swaps[failed]<=0", "memory[last]<1GiB", "memory[third]<memory[last]"] {
            #expect(try problem(text)?.contains("--swap-publish") == true, "\(text)")
            let published = try Threshold(text).problem(
                smallestK: 1, hasSwaps: true, publishes: true, measuresRecall: false, checksReplies: false,
                isOpenLoop: true)
            #expect(published == nil, "\(text)")
        }
        #expect(try problem("mixed<=0%")?.contains("--swap-expect") == true)
        #expect(try problem("rate>=99%", isOpenLoop: false)?.contains("closed loop") == true)
        #expect(try problem("rate>=99", isOpenLoop: false) == nil)
    }
}
