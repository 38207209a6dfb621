import Testing

@testable import LoadTesting

@Suite struct StatisticsRecoveryTests {
    private let second = HandMade.second

    /// 2 s of warm-up, then thirds of 10 s at 200, 600 and 200 requests per second. Of the overload every third request is
    /// answered with 503 and every sixth is closed; `after` makes the fate of a request by the milliseconds since its end.
    private func run(after: (UInt64) -> Outcome? = { _ in nil }) -> RunResult {
        var outcomes: [Outcome] = []
        for number in 0..<400 { outcomes.append(HandMade.outcome(at: UInt64(number) * 5_000_000, .timeout)) }
        for number in 0..<2000 {
            outcomes.append(HandMade.outcome(at: 2 * second + UInt64(number) * 5_000_000, service: 1_600_000))
        }
        for number in 0..<6000 {
            let instant = 12 * second + UInt64(number) * second / 600
            switch number % 6 {
            case 0, 3: outcomes.append(HandMade.outcome(at: instant, .status, status: 503))
            case 1: outcomes.append(HandMade.outcome(at: instant, .closed))
            default: outcomes.append(HandMade.outcome(at: instant, service: 16_000_000))
            }
        }
        for number in 0..<2000 {
            let instant = 22 * second + UInt64(number) * 5_000_000
            var outcome = after(UInt64(number) * 5) ?? HandMade.outcome(at: instant, service: 1_600_000)
            outcome.scheduled = instant
            outcomes.append(outcome)
        }
        return HandMade.run(outcomes, warmupEnd: 2 * second, end: 32 * second)
    }

    @Test func thirdsAreCountedApart() throws {
        let report = OverloadReport(run(), factor: 3)
        #expect(report.factor == 3)
        #expect(report.phases.map(\.name) == ["before", "overload", "after"])
        #expect(report.phases.map(\.scheduledRate) == [200, 600, 200])
        // Half of the overload's requests succeed: 300 per second.
        #expect(report.phases.map(\.goodput) == [200, 300, 200])
        #expect(report.phases[0].refusedShare == 0 && report.phases[2].refusedShare == 0)
        #expect(report.phases[1].refusedShare == 1.0 / 3)
        #expect(report.phases[1].failedShare == 1.0 / 6)
        #expect(report.phases.map(\.p99Micros) == [1600, 16_000, 1600])
        #expect(report.recoverySeconds == 0)
    }

    @Test func recoveryBeginsWithTheFirstGoodSecond() throws {
        let late = OverloadReport(
            run { $0 < 2000 ? HandMade.outcome(at: 0, service: 3_200_000) : nil }, factor: 3)
        #expect(late.recoverySeconds == 2)
        let refused = OverloadReport(
            run { $0 < 2000 ? HandMade.outcome(at: 0, .status, status: 429) : nil }, factor: 3)
        #expect(refused.recoverySeconds == 2)
        // The last request that fails is 1995 ms after the overload; a lone one at 3.5 s belongs to what comes later.
        let relapse = OverloadReport(
            run { $0 < 2000 || $0 == 3500 ? HandMade.outcome(at: 0, .closed) : nil }, factor: 3)
        #expect(relapse.recoverySeconds == 2)
        // But at 2.5 s it spoils every second up to the one that begins at 2.6 s.
        let spoilt = OverloadReport(
            run { $0 < 2000 || $0 == 2500 ? HandMade.outcome(at: 0, .closed) : nil }, factor: 3)
        #expect(spoilt.recoverySeconds == 2.6)
    }

    /// 1.2 times 1.6 ms are 1.92 ms.
    @Test func aFifthMoreIsGoodEnough() {
        #expect(
            OverloadReport(run { _ in HandMade.outcome(at: 0, service: 1_919_984) }, factor: 3).recoverySeconds == 0)
        #expect(
            OverloadReport(run { _ in HandMade.outcome(at: 0, service: 1_936_000) }, factor: 3).recoverySeconds == nil)
    }

    @Test func itMayNeverRecover() {
        #expect(OverloadReport(run { _ in HandMade.outcome(at: 0, .timeout) }, factor: 3).recoverySeconds == nil)
        // One failure in each second is enough.
        let failing = run { $0 % 1000 == 0 ? HandMade.outcome(at: 0, .status, status: 500) : nil }
        #expect(OverloadReport(failing, factor: 3).recoverySeconds == nil)
        // The last second is the last that can be good.
        let last = run { $0 < 9000 ? HandMade.outcome(at: 0, .timeout) : nil }
        #expect(OverloadReport(last, factor: 3).recoverySeconds == 9)
        let tooLate = run { $0 < 9005 ? HandMade.outcome(at: 0, .timeout) : nil }
        #expect(OverloadReport(tooLate, factor: 3).recoverySeconds == nil)
    }

    /// At 20 requests per second a third of 10 s has too few for its 99th percentile, but it recovers all the same.
    @Test func aSlowRunRecoversToo() {
        let outcomes = (0..<600).map { number in
            let isOverload = (200..<420).contains(number)
            return HandMade.outcome(at: UInt64(number) * 50_000_000, service: isOverload ? 16_000_000 : 1_600_000)
        }
        let report = OverloadReport(HandMade.run(outcomes, end: 30 * second), factor: 3)
        #expect(report.phases[0].p99Micros == nil)
        #expect(report.recoverySeconds == 1)  // 420 is at 21 s
    }

    /// Stopped before anything counted: there is nothing to cut in three, and nothing may trap or be no number.
    @Test func aRunThatWasStoppedInItsWarmupIsEmpty() {
        let cut = HandMade.run([], warmupEnd: 5 * second, end: 3 * second, isCut: true)
        let report = OverloadReport(cut, factor: 3)
        #expect(report.recoverySeconds == nil)
        #expect(report.phases.map(\.goodput) == [0, 0, 0])
        #expect(report.phases.map(\.scheduledRate) == [0, 0, 0])
    }
}
