import Testing

@testable import LoadTesting

@Suite struct StatisticsValidityTests {
    private func result(_ verdict: ThresholdResult.Verdict) -> ThresholdResult {
        ThresholdResult(expression: "", observed: nil, limit: nil, verdict: verdict, reason: nil)
    }

    @Test func anInvalidRunWinsOverAThresholdThatFails() {
        let holds = result(.holds)
        let fails = result(.fails)
        let unmeasured = result(.unmeasured)
        for (thresholds, reasons, verdict, status) in [
            ([], [], RunVerdict.passed, Int32(0)), ([holds], [], .passed, 0), ([holds, fails, holds], [], .failed, 99),
            ([fails], ["late"], .invalid, 3), ([holds], ["late"], .invalid, 3), ([], ["late"], .invalid, 3),
            ([holds, unmeasured], [], .invalid, 3), ([fails, unmeasured], [], .invalid, 3),
        ] {
            let got = RunVerdict(thresholds: thresholds, invalidReasons: reasons)
            #expect(got == verdict)
            #expect(got.exitStatus == status)
        }
    }

    /// A thousand requests, of which `late` were sent late by `lag`, with this latency in all.
    private func run(
        lag: UInt64, late: Int = 1000, latency: UInt64 = 1_600_000, isOpenLoop: Bool = true, isCut: Bool = false
    ) -> RunResult {
        HandMade.run(
            (0..<1000).map { number in
                let own = number < late ? lag : 0
                return HandMade.outcome(at: UInt64(number) * 10_000_000, lag: own, service: latency - own)
            }, isOpenLoop: isOpenLoop, isCut: isCut)
    }

    /// 5 % of 1.6 ms is 80 us: the floor of 100 us is what counts.
    @Test func theGeneratorIsLateBeyondTheFloor() {
        #expect(Validity.faults(run(lag: 100_000)).isEmpty)
        let faults = Validity.faults(run(lag: 100_016))
        #expect(faults.count == 1)
        #expect(faults.first?.contains("send lag p99 is 100.0 us, the limit is 100.0 us") == true)
        #expect(Validity.faults(run(lag: 130_000)).first?.contains("130.0 us") == true)
    }

    /// 16 ms is the largest sample, and so reported exactly: 5 % of it are 800 us.
    @Test func theLimitGrowsWithTheMedian() {
        #expect(Validity.faults(run(lag: 800_000, latency: 16_000_000)).isEmpty)
        #expect(Validity.faults(run(lag: 800_016, latency: 16_000_000)).count == 1)
        // Half of the requests do not make a median.
        let outcomes = (0..<1000).map { number in
            HandMade.outcome(
                at: UInt64(number) * 10_000_000, lag: 200_000, service: number < 500 ? 1_600_000 : 16_000_000)
        }
        #expect(Validity.faults(HandMade.run(outcomes)).count == 1)
    }

    /// 10 of 1000 lie above the 99th percentile.
    @Test func onePercentMayBeLate() {
        #expect(Validity.faults(run(lag: 1_000_000, late: 10)).isEmpty)
        #expect(Validity.faults(run(lag: 1_000_000, late: 11)).count == 1)
    }

    @Test func aLimitThatIsGivenTakesTheRulesPlace() {
        #expect(Validity.faults(run(lag: 100_000), sendLagMax: 99_999).count == 1)
        #expect(Validity.faults(run(lag: 100_000), sendLagMax: 100_000).isEmpty)
        #expect(Validity.faults(run(lag: 1_000_000), sendLagMax: 1_000_000).isEmpty)
        #expect(Validity.faults(run(lag: 16), sendLagMax: 0).count == 1)
    }

    @Test func aClosedLoopIsNeverLate() {
        #expect(Validity.faults(run(lag: 1_500_000, isOpenLoop: false)).isEmpty)
        #expect(Validity.faults(run(lag: 1_500_000, isOpenLoop: false), sendLagMax: 1).isEmpty)
    }

    @Test func whatIsCutOrEmptySaysNothing() {
        #expect(Validity.faults(run(lag: 0, isCut: true)) == ["the run was stopped before its end"])
        #expect(Validity.faults(HandMade.run([])) == ["no request succeeded"])
        let failed = HandMade.run((0..<1000).map { HandMade.outcome(at: UInt64($0) * 1_000_000, .closed) })
        #expect(Validity.faults(failed) == ["no request succeeded"])
        let lateToo = HandMade.run(
            (0..<1000).map { HandMade.outcome(at: UInt64($0) * 1_000_000, .closed, lag: 160_000) }, isCut: true)
        #expect(Validity.faults(lateToo).count == 3)
    }
}
