import Foundation
import Testing

@testable import LoadTesting

@Suite struct StatisticsOverloadTests {
    private static let second: UInt64 = 1_000_000_000

    /// 1 s of warm-up and 3 x 10 s: 200/s, 600/s, 200/s. In the overload every third request is refused and every hundredth
    /// fails; afterwards requests are slow until `slowUntil`, in seconds after the overload.
    private func run(slowUntil: Double, slow: UInt64 = 5_000_000) -> RunResult {
        var outcomes: [Outcome] = []
        var due: UInt64 = 0
        var number = 0
        while due < 31 * Self.second {
            let isOverload = due >= 11 * Self.second && due < 21 * Self.second
            let isSlow =
                due >= 21 * Self.second && Double(due - 21 * Self.second) < slowUntil * 1e9
            var kind = OutcomeKind.success
            var status: UInt16 = 200
            if isOverload, number % 100 == 99 {
                kind = .timeout
            } else if isOverload, number % 3 == 0 {
                (kind, status) = (.status, number % 2 == 0 ? 429 : 503)
            }
            outcomes.append(
                KnownRun.outcome(
                    due: due, service: isOverload ? 8_000_000 : isSlow ? slow : 1_000_000, kind: kind, status: status))
            number = isOverload ? number + 1 : 0
            due += isOverload ? Self.second / 600 : Self.second / 200
        }
        return KnownRun.result(outcomes, seconds: 30, warmupEnd: Self.second)
    }

    @Test func phasesAreCountedApart() {
        let report = OverloadReport(run(slowUntil: 2), factor: 3)
        #expect(report.phases.map(\.name) == ["before", "overload", "after"])
        #expect(abs(report.phases[0].scheduledRate - 200) < 0.2)
        #expect(abs(report.phases[1].scheduledRate - 600) < 0.2)
        #expect(abs(report.phases[0].goodput - 200) < 0.2)
        // 60 of 6000 time out, the numbers 99, 199, 299 ...; 20 of those are among the 2000 that 3 divides.
        #expect(abs(report.phases[1].failedShare - 0.01) < 0.0005)
        #expect(abs(report.phases[1].refusedShare - 1980.0 / 6000) < 0.0005)
        #expect(abs(report.phases[1].goodput - 396) < 0.5)
        #expect(report.phases[2].refusedShare == 0)
        #expect(abs((report.phases[0].p99Micros ?? 0) - 1000) < 2)
    }

    @Test func recoveryIsTheFirstGoodSecond() throws {
        // The window moves by 0.1 s, and of the 200 requests in it the 99th percentile overlooks up to two.
        let recovery = try #require(OverloadReport(run(slowUntil: 2), factor: 3).recoverySeconds)
        #expect(abs(recovery - 2) <= 0.1)
        #expect(OverloadReport(run(slowUntil: 0), factor: 3).recoverySeconds == 0)
        #expect(OverloadReport(run(slowUntil: 10), factor: 3).recoverySeconds == nil)
        // Back within 1.2 times what it was counts as back.
        #expect(OverloadReport(run(slowUntil: 10, slow: 1_150_000), factor: 3).recoverySeconds == 0)
    }

    @Test func itIsInSnakeCase() throws {
        let report = OverloadReport(run(slowUntil: 2), factor: 3)
        let encoded = try JSONEncoder().encode(report)
        let object = try #require(try JSONSerialization.jsonObject(with: encoded) as? [String: Any])
        #expect(Set(object.keys) == ["factor", "phases", "recovery_s"])
        #expect(try JSONDecoder().decode(OverloadReport.self, from: encoded) == report)
    }
}
