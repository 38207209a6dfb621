import Testing

@testable import LoadTesting

@Suite struct ThresholdTests {
    /// One request each millisecond; the n-th of 1000 takes n x 10 us, so that the q-th percentile is q x 100 us.
    private static let staircase = KnownRun.result(
        (1...1000).map { KnownRun.outcome(due: UInt64($0 - 1) * 1_000_000, service: UInt64($0) * 10_000) },
        seconds: 1)

    private func judge(
        _ expression: String, _ runs: [RunResult] = [staircase], validation: ValidationReport? = nil,
        recall: RecallReport? = nil
    ) throws -> ThresholdResult {
        try Threshold(expression).judge(Measurements(runs: runs, validation: validation, recall: recall))
    }

    @Test(arguments: [
        ("p(50)", 5000.0), ("p(90)", 9000), ("p(99)", 9900), ("max", 10_000), ("mean", 5005), ("avg", 5005),
        ("latency.p(99)", 9900), ("service.p(99)", 9900),
    ])
    func timesAreThoseOfTheStaircase(name: String, micros: Double) throws {
        // The histogram keeps 3 digits, and a tick is 16 ns.
        let observed = try #require(try judge("\(name)<1s").observed)
        #expect(abs(observed - micros) <= micros * 0.001 + 0.6)
        #expect(try judge("\(name)<\(micros * 0.99)us").verdict == .fails)
        #expect(try judge("\(name)>\(micros * 0.99)us").verdict == .holds)
        #expect(try judge("\(name) <= \(micros * 1.01 / 1000)ms").verdict == .holds)
        #expect(try judge("\(name) >= \(micros * 1.01 / 1000)ms").verdict == .fails)
        #expect(try judge("\(name)!=1s").verdict == .holds)
        #expect(try judge("\(name)==1s").verdict == .fails)
    }

    @Test func clocksAreToldApart() throws {
        let outcomes = (0..<2000).map {
            KnownRun.outcome(due: UInt64($0) * 1_000_000, service: 3_000_000, lag: 40_000, wait: 500_000)
        }
        let runs = [KnownRun.result(outcomes, seconds: 2)]
        for (name, micros) in [("p(99)", 3540.0), ("service.p(99)", 3000), ("lag.p(99)", 40), ("wait.p(99)", 500)] {
            let observed = try #require(try judge("\(name)<1s", runs).observed)
            #expect(abs(observed - micros) <= micros * 0.001 + 0.6, "\(name)")
        }
    }

    @Test func aPercentileNeedsTenSamplesAboveIt() throws {
        // Of 1000 samples 10 lie above p(99) and 9 above p(99.1).
        #expect(try judge("p(99)<1s").verdict == .holds)
        let refused = try judge("p(99.1)<1s")
        #expect(refused.verdict == .unmeasured)
        #expect(refused.reason?.contains("fewer than 10 of 1000") == true)
        // Pooled, two runs have enough of them.
        #expect(try judge("p(99.1)<1s", [Self.staircase, Self.staircase]).verdict == .holds)
        #expect(try judge("max<1s", []).verdict == .unmeasured)
    }

    /// 1000 requests of which 4 got a 503, 3 a 429, 1 a 500, 1 no reply and 1 a closed connection; 5 more were abandoned.
    private static let mixed: RunResult = {
        var outcomes: [Outcome] = []
        let fates: [(OutcomeKind, UInt16, Int)] = [
            (.success, 200, 990), (.status, 503, 4), (.status, 429, 3), (.status, 500, 1), (.timeout, 0, 1),
            (.closed, 0, 1), (.abandoned, 0, 5),
        ]
        for (kind, status, count) in fates {
            for _ in 0..<count {
                outcomes.append(
                    KnownRun.outcome(due: UInt64(outcomes.count) * 900_000, kind: kind, status: status))
            }
        }
        return KnownRun.result(outcomes, seconds: 1, scheduledRate: 1000)
    }()

    @Test(arguments: [
        ("errors", 1.0), ("errors[status]", 0.8), ("errors[status 503]", 0.4), ("errors[status 404]", 0),
        ("errors[timeout]", 0.1), ("errors[closed]", 0.1), ("errors[malformed]", 0), ("refused", 0.7),
    ])
    func sharesAreOfAllButTheAbandoned(name: String, percent: Double) throws {
        // On the boundary itself: 0.7 % of 1000 is 7, whatever binary fractions make of it.
        #expect(try judge("\(name)<=\(percent)%", [Self.mixed]).verdict == .holds)
        #expect(try judge("\(name)<\(percent)%", [Self.mixed]).verdict == .fails)
        #expect(try judge("\(name)==\(percent)%", [Self.mixed]).verdict == .holds)
    }

    @Test func aPercentageIsTheNearestFraction() throws {
        for tenths in 1...999 {
            let written = "\(tenths / 10).\(tenths % 10)%"
            #expect(try Threshold("errors<=\(written)").right == .constant(Double(tenths) / 1000), "\(written)")
        }
    }

    @Test(arguments: [
        ("5ms", 5000.0), ("5.ms", 5000), (".5ms", 500), ("800us", 800), ("800 µs", 800), ("1.5s", 1_500_000),
    ])
    func timesAreInMicroseconds(written: String, micros: Double) throws {
        #expect(try Threshold("p(99)<\(written)").right == .constant(micros))
    }

    @Test func rateIsSuccessesPerSecond() throws {
        #expect(try judge("rate>=990", [Self.mixed]).verdict == .holds)
        #expect(try judge("rate>990", [Self.mixed]).verdict == .fails)
        #expect(try judge("rate>=99%", [Self.mixed]).verdict == .holds)
        let short = try judge("rate>=99.1%", [Self.mixed])
        #expect(short.verdict == .fails)
        #expect(abs((short.limit ?? 0) - 991) < 1e-9)
    }

    @Test func windowsAreTheInstantsThatWereScheduled() throws {
        // Requests due within [2 s, 4 s) take 4 ms and are swapped upon, the others 1 ms.
        let outcomes = (0..<8000).map { number -> Outcome in
            let isInSwap = (2000..<4000).contains(number)
            return KnownRun.outcome(due: UInt64(number) * 1_000_000, service: isInSwap ? 4_000_000 : 1_000_000)
        }
        let marks = [
            RunResult.Mark(kind: "swap", label: "a", start: 2_000_000_000, end: 3_000_000_000),
            RunResult.Mark(kind: "swap", label: "b", start: 3_000_000_000, end: 4_000_000_000),
            RunResult.Mark(kind: "other", label: "", start: 0, end: 8_000_000_000),
        ]
        let runs = [KnownRun.result(outcomes, seconds: 8, marks: marks)]
        #expect(try judge("p(99)[quiet]<1.1ms", runs).verdict == .holds)
        #expect(try judge("p(99)[swap]<3.9ms", runs).verdict == .fails)
        #expect(try judge("mean[swap]<4.1ms", runs).verdict == .holds)
        #expect(try judge("p(50)<1.1ms", runs).verdict == .holds)
        let ratio = try judge("p(99)[swap]<3.5*p(99)[quiet]", runs)
        #expect(ratio.verdict == .fails)
        #expect(abs((ratio.limit ?? 0) - 3500) < 7)
        #expect(try judge("p(99)[swap]<4.5*p(99)[quiet]", runs).verdict == .holds)
        #expect(try judge("p(50)<p(99)[swap]", runs).verdict == .holds)
        // Asked for, but nothing was swapped.
        #expect(try judge("p(50)[swap]<1s").verdict == .unmeasured)
    }

    @Test func answersAreJudgedByTheirReports() throws {
        let validation = ValidationReport(
            share: 1, checked: 200, invalid: 1, faults: ["unsorted": 1], examples: [], compared: 0,
            worstScoreDifference: nil)
        let recall = RecallReport(
            requests: 50, skipped: [:], estimates: [.init(at: 10, mean: 0.97, low: 0.96, high: 0.98)])
        #expect(try judge("invalid<=0%", validation: validation).verdict == .fails)
        #expect(try judge("invalid<=0.5%", validation: validation).verdict == .holds)
        #expect(try judge("invalid<=0").verdict == .unmeasured)
        #expect(try judge("recall@10>=0.97", recall: recall).verdict == .holds)
        #expect(try judge("recall@10>=97.1%", recall: recall).verdict == .fails)
        let deeper = try judge("recall@100>=0.9", recall: recall)
        #expect(deeper.verdict == .unmeasured)
        #expect(deeper.reason?.contains("recall@100") == true)
    }

    @Test(arguments: [
        ("", 1), ("q(99)<5ms", 1), ("p(99<5ms", 5), ("p(0)<5ms", 5), ("p(100)<5ms", 3), ("p(99)5ms", 6),
        ("p(99)<5", 8), ("p(99)<5%", 9), ("p(99)<5ms please", 11), ("errors<1ms", 11), ("errors[gone]<1%", 8),
        ("errors[status 99]<1%", 8), ("p(99)[loud]<5ms", 7), ("errors[swap]<1%", 8), ("lag.errors<1%", 1),
        ("recall@<0.9", 8), ("recall@1.5>0.9", 8), ("rate>=5ms", 10), ("p(99)<2*errors", 9), ("p(99)<-1ms", 7),
    ])
    func whatMakesNoSenseIsRefusedNearTheFault(expression: String, position: Int) throws {
        let error = #expect(throws: LoadTestError.self) { try Threshold(expression) }
        guard case .usage(let text) = try #require(error) else {
            Issue.record("wrong usage is status 64")
            return
        }
        #expect(text.contains("'\(expression)'"))
        let words = text.split(separator: "character ").last?.split(separator: ":").first
        let named = try #require(words.flatMap { Int($0) })
        #expect(abs(named - position) <= 2, "\(text)")
    }

    @Test(arguments: [
        "recall@99999999999999999999>0.9", "p(99)<99999999999999999999s", "rate>\(String(repeating: "9", count: 400))",
    ])
    func numbersBeyondAllSenseAreRefused(expression: String) {
        #expect(throws: LoadTestError.self) { try Threshold(expression) }
    }

    private func problem(_ expression: String, k: Int = 100, hasSwaps: Bool = true, isOpenLoop: Bool = true) throws
        -> String?
    {
        try Threshold(expression).problem(
            smallestK: k, hasSwaps: hasSwaps, measuresRecall: true, checksReplies: true, isOpenLoop: isOpenLoop)
    }

    @Test func whatCanNeverBeJudgedIsKnownBeforehand() throws {
        #expect(try problem("recall@100>=0.9", k: 100) == nil)
        #expect(try problem("recall@100>=0.9", k: 99)?.contains("recall@100") == true)
        #expect(try problem("p(99)<2*p(99)[swap]", hasSwaps: false)?.contains("--swap-every") == true)
        #expect(try problem("p(99)[quiet]<2ms", hasSwaps: false) != nil)
        #expect(try problem("rate>=99%", isOpenLoop: false) != nil)
        #expect(try problem("rate>=99", isOpenLoop: false) == nil)
    }
}
