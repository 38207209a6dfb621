import Foundation
import Testing

@testable import LoadTesting

@Suite struct FindMaxSearchTests {
    private typealias Probe = FindMaxReport.Probe

    private static func probe(_ rate: Double, _ verdict: Probe.Verdict) -> Probe {
        Probe(
            rate: rate, achievedRate: rate, seconds: 1, requests: Int(rate), errorShare: 0, verdict: verdict,
            isEarly: false, reasons: [])
    }

    /// A server that answers one request after the other in 0.1 ms each, in the order they come.
    private struct Queue {
        static let serviceNanoseconds: UInt64 = 100_000
        static let limitNanoseconds: UInt64 = 1_000_000
        /// The rate at which exactly 1 % take longer than 1 ms: the root of Erlang's waiting time of M/D/1 (Phil. Mag., 1909),
        /// found in 40 digits.
        static let rateMax = 7734.872

        /// The share of requests over the limit.
        static func shareOver(rate: Double, seconds: UInt64, seed: UInt64) throws(LoadTestError) -> Double {
            let schedule = try Schedule(
                arrival: .poisson, phases: [.init(rate: rate, nanoseconds: seconds * 1_000_000_000)],
                warmupNanoseconds: 1_000_000_000, seed: seed)
            return schedule.instants.withUnsafeBufferPointer { instants in
                var isFreeAt: UInt64 = 0
                var count = 0
                var over = 0
                for instant in instants {
                    isFreeAt = max(isFreeAt, instant) + serviceNanoseconds
                    guard instant >= 1_000_000_000 else { continue }
                    count += 1
                    if isFreeAt - instant > limitNanoseconds { over += 1 }
                }
                return Double(over) / Double(count)
            }
        }

        /// A probe of 6 s, as the search asks for them: the same arrivals each time, others for each confirmation.
        static func probe(_ rate: Double, _ confirmation: Int?, seed: UInt64) throws(LoadTestError) -> Probe {
            // Beyond what the server can do at all an eighth of the time is enough.
            let share = try shareOver(
                rate: rate, seconds: rate * Double(serviceNanoseconds) > 1.05e9 ? 1 : 6,
                seed: seed &+ UInt64(confirmation.map { $0 + 1 } ?? 0))
            return FindMaxSearchTests.probe(rate, share <= 0.01 ? .holds : .fails)
        }
    }

    /// The figure all the others are held against: 120 s, twenty times as long as a probe, on either side of the rate.
    @Test func theTrueMaximumIsWhatALongRunShows() throws {
        #expect(try Queue.shareOver(rate: Queue.rateMax * 0.98, seconds: 120, seed: 99) < 0.01)
        #expect(try Queue.shareOver(rate: Queue.rateMax * 1.02, seconds: 120, seed: 99) > 0.01)
    }

    @Test func theTrueMaximumIsFoundAgainAndAgain() throws {
        var found: [Double] = []
        var calls = 0
        for number in 0..<20 {
            let seed = UInt64(number) * 1000 + 1
            let search = FindMax { rate, confirmation throws(LoadTestError) in
                calls += 1
                return try Queue.probe(rate, confirmation, seed: seed)
            }
            // From below, from above and from where it is.
            let report = try search.search(from: [1000, 7700, 30_000, 500, 6000][number % 5])
            let rate = try #require(report.rate)
            #expect(abs(rate / Queue.rateMax - 1) <= 0.05, "\(rate)")
            #expect(report.confirmations.filter { $0.rate == rate }.map(\.verdict) == [.holds, .holds, .holds])
            found.append(rate)
        }
        // Two measurements differ by less than 5 %.
        let middle = found.sorted()[found.count / 2]
        for rate in found { #expect(abs(rate / middle - 1) <= 0.05, "\(found)") }
        let mean = found.reduce(0, +) / Double(found.count)
        let deviation = (found.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 19).squareRoot()
        #expect(deviation < 0.025 * mean, "\(found)")
        #expect(calls <= 20 * 40)
    }

    /// A server that holds up to 1000 per second without any noise: the answer is at most one resolution below it.
    @Test func aSharpLimitIsFoundFromEverywhere() throws {
        for start in [1, 3, 999, 1000, 1001, 64_000, 1e9] {
            var calls = 0
            let search = FindMax { rate, _ throws(LoadTestError) in
                calls += 1
                return Self.probe(rate, rate <= 1000 ? .holds : .fails)
            }
            let report = try search.search(from: start)
            let rate = try #require(report.rate)
            #expect(rate <= 1000 && rate >= 1000 / 1.02, "\(start): \(rate)")
            #expect(report.resolution == 0.02)
            #expect(report.confirmations.map(\.verdict) == [.holds, .holds, .holds, .fails])
            // To the bracket by doubling or halving; six bisections bring 2 below 1.02, as 2^(1/64) is 1.011 and 2^(1/32) is
            // 1.022; three confirm, and one finds the next rate to fail.
            let doublings = log2(1000 / start)
            let bracket = start <= 1000 ? doublings.rounded(.down) + 2 : (-doublings).rounded(.up) + 1
            #expect(Double(calls) == bracket + 6 + 3 + 1, "\(start): \(calls)")
            #expect(calls == report.probes.count + report.confirmations.count)
        }
    }

    @Test func probesAndConfirmationsAreTakenInOrder() throws {
        var asked: [Int?] = []
        let search = FindMax { rate, confirmation throws(LoadTestError) in
            asked.append(confirmation)
            return Self.probe(rate, rate < 100 ? .holds : .fails)
        }
        let report = try search.search(from: 64)
        #expect(report.probes.prefix(3).map(\.rate) == [64, 128, (64.0 * 128).squareRoot()])
        #expect(asked.dropLast(4).allSatisfy { $0 == nil })
        #expect(Array(asked.suffix(4)) == [0, 1, 2, 0])
    }

    @Test func aGeneratorAtItsLimitIsNamed() throws {
        let search = FindMax { rate, _ throws(LoadTestError) in
            Self.probe(rate, rate <= 5000 ? .holds : .invalid)
        }
        let report = try search.search(from: 1000)
        let rate = try #require(report.rate)
        #expect(rate <= 5000 && rate >= 5000 / 1.02)
        #expect(report.ended.contains("generator"))
        // What the server cannot do is not the generator's fault.
        let server = try FindMax { rate, _ throws(LoadTestError) in
            Self.probe(rate, rate <= 3000 ? .holds : rate <= 5000 ? .fails : .invalid)
        }.search(from: 1000)
        #expect(!server.ended.contains("generator"))
        #expect((try #require(server.rate)) <= 3000)
    }

    /// Late once, a generator gets another chance; that does not cost the rate.
    @Test func aRunThatTheGeneratorSpoiltIsRepeated() throws {
        var isFirst: Set<String> = []
        let search = FindMax { rate, confirmation throws(LoadTestError) in
            if isFirst.insert("\(rate) \(confirmation ?? -1)").inserted { return Self.probe(rate, .invalid) }
            return Self.probe(rate, rate <= 1000 ? .holds : .fails)
        }
        let report = try search.search(from: 400)
        let rate = try #require(report.rate)
        #expect(rate <= 1000 && rate >= 1000 / 1.02)
        let confirming = report.confirmations.filter { $0.rate == rate }
        #expect(confirming.map(\.verdict) == [.invalid, .holds, .invalid, .holds, .invalid, .holds])
    }

    @Test func whereNothingHoldsThereIsNoRate() throws {
        for verdict in [Probe.Verdict.fails, .invalid] {
            var calls = 0
            let report = try FindMax { rate, _ throws(LoadTestError) in
                calls += 1
                return Self.probe(rate, verdict)
            }.search(from: 1000)
            #expect(report.rate == nil)
            #expect(report.confirmations.isEmpty)
            #expect(!report.ended.isEmpty)
            // 1000, 500, ... 1.95, 0.98: ten rates, each up to three times.
            #expect(calls <= 30)
            #expect(report.probes.allSatisfy { $0.rate >= 1 })
        }
    }

    /// Probes hold up to 1000, but of whole runs only those up to `limit`.
    private func search(confirming limit: Double) throws -> FindMaxReport {
        try FindMax { rate, confirmation throws(LoadTestError) in
            // Only the second whole run finds out.
            let isHeld = confirmation == 1 ? rate <= limit : rate <= 1000
            return Self.probe(rate, isHeld ? .holds : .fails)
        }.search(from: 1000)
    }

    @Test func aConfirmationThatFailsStepsDown() throws {
        let report = try search(confirming: 970)
        let rate = try #require(report.rate)
        #expect(rate <= 970 && rate >= 970 / 1.02)
        // 1000 / 1.02 is 980.4, and 1000 / 1.02^2 is 961.2.
        #expect(abs(rate - 961.169) < 0.01)
        #expect(report.confirmations.map(\.verdict) == [.holds, .fails, .holds, .fails, .holds, .holds, .holds])
        #expect(report.confirmations.suffix(3).allSatisfy { $0.rate == rate })
    }

    @Test func aServerThatNeverConfirmsEndsTheSearch() throws {
        let report = try search(confirming: 0)
        #expect(report.rate == nil)
        #expect(report.ended == "no rate was confirmed")
        #expect(report.confirmations.count <= 70)
        // One that says yes and no by chance ends it as well.
        var random = SplitMix64(seed: 3)
        for _ in 0..<100 {
            var calls = 0
            let report = try FindMax { rate, _ throws(LoadTestError) in
                calls += 1
                let verdicts: [Probe.Verdict] = [.holds, .fails, .invalid]
                return Self.probe(rate, verdicts[Int(random.next() % 3)])
            }.search(from: 1000)
            #expect(calls <= 132)
            #expect(calls == report.probes.count + report.confirmations.count)
        }
    }

    @Test func whatStopsAProbeStopsTheSearch() {
        #expect(throws: LoadTestError.failed("stopped")) {
            try FindMax { _, _ throws(LoadTestError) in throw .failed("stopped") }.search(from: 1000)
        }
    }
}
