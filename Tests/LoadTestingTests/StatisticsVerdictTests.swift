import Foundation
import Testing

@testable import LoadTesting

@Suite struct StatisticsVerdictTests {
    private func verdict(_ verdicts: [ThresholdResult.Verdict], _ reasons: [String] = []) -> RunVerdict {
        let thresholds = verdicts.map {
            ThresholdResult(expression: "", observed: nil, limit: nil, verdict: $0, reason: nil)
        }
        return RunVerdict(thresholds: thresholds, invalidReasons: reasons)
    }

    @Test func anInvalidRunWinsOverAThresholdThatFails() {
        #expect(verdict([]).exitStatus == 0)
        #expect(verdict([.holds, .holds]).exitStatus == 0)
        #expect(verdict([.holds, .fails]).exitStatus == 99)
        #expect(verdict([.holds, .unmeasured]).exitStatus == 3)
        #expect(verdict([.fails, .unmeasured]).exitStatus == 3)
        #expect(verdict([.fails], ["late"]).exitStatus == 3)
        #expect(verdict([], ["late"]).exitStatus == 3)
    }

    /// 1000 requests of one latency, 20 of which the generator sends late.
    private func run(service: UInt64, lag: UInt64, kind: OutcomeKind = .success, isOpenLoop: Bool = true) -> RunResult {
        KnownRun.result(
            (0..<1000).map {
                KnownRun.outcome(
                    due: UInt64($0) * 1_000_000, service: service, lag: $0 % 50 == 0 ? lag : 0, kind: kind)
            }, seconds: 1, isOpenLoop: isOpenLoop)
    }

    @Test func aGeneratorThatIsLateMakesTheRunInvalid() throws {
        // 5 % of 1 ms is below the floor of 100 us; 5 % of 10 ms is 500 us.
        #expect(Validity.faults(run(service: 1_000_000, lag: 95_000)).isEmpty)
        let fault = try #require(Validity.faults(run(service: 1_000_000, lag: 105_000)).first)
        #expect(fault.contains("105.") && fault.contains("100.0 us"))
        #expect(Validity.faults(run(service: 10_000_000, lag: 490_000)).isEmpty)
        #expect(Validity.faults(run(service: 10_000_000, lag: 520_000)).count == 1)
        #expect(Validity.faults(run(service: 1_000_000, lag: 400_000), sendLagMax: 450_000).isEmpty)
        #expect(Validity.faults(run(service: 10_000_000, lag: 400_000), sendLagMax: 300_000).count == 1)
        #expect(Validity.faults(run(service: 1_000_000, lag: 5_000_000, isOpenLoop: false)).isEmpty)
    }

    @Test func aRunWithoutASuccessSaysNothing() {
        #expect(Validity.faults(run(service: 1_000_000, lag: 0, kind: .closed)) == ["no request succeeded"])
    }

    @Test func aSweepRowIsInSnakeCase() throws {
        let row = SweepRow(
            parameter: "ef", value: 64, scheduledRate: 100, achievedRate: 99, latency: LatencySummary(count: 0),
            recall: [.init(at: 10, mean: 0.9, low: 0.8, high: 1)], errorShare: 0.01, invalid: [])
        let encoded = try JSONEncoder().encode(row)
        let object = try #require(try JSONSerialization.jsonObject(with: encoded) as? [String: Any])
        #expect(
            Set(object.keys) == [
                "parameter", "value", "scheduled_rate", "achieved_rate", "latency_us", "recall", "errors_share",
                "invalid",
            ])
        #expect(try JSONDecoder().decode(SweepRow.self, from: encoded) == row)
    }
}
