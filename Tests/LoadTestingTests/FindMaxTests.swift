import Foundation
import Testing

@testable import LoadTesting

@Suite struct FindMaxTests {
    private typealias Probe = FindMaxReport.Probe

    private func probe(_ rate: Double, _ verdict: Probe.Verdict) -> Probe {
        Probe(
            rate: rate, achievedRate: rate, seconds: 1, requests: Int(rate), p99Micros: nil, errorShare: 0,
            sendLagP99Micros: nil, verdict: verdict, isEarly: false, reasons: [])
    }

    @Test(arguments: [1.0, 100, 999, 5000, 20_000])
    func theRateIsWithinTheResolution(start: Double) throws {
        let report = try FindMax { rate, _ in self.probe(rate, rate <= 1000 ? .holds : .fails) }.search(from: start)
        let rate = try #require(report.rate)
        #expect(rate <= 1000 && rate * (1 + report.resolution) > 1000)
        #expect(report.confirmations.count { $0.rate == rate && $0.verdict == .holds } == 3)
    }

    @Test func anUnluckyProbeDoesNotDecide() throws {
        // The probes' arrivals hold a burst that the whole runs do not have.
        let search = FindMax { rate, confirmation in
            self.probe(rate, rate <= (confirmation == nil ? 900 : 1000) ? .holds : .fails)
        }
        let rate = try #require(try search.search(from: 100).rate)
        #expect(rate <= 1000 && rate * 1.02 > 1000)
    }

    @Test func aLuckyProbeIsCorrectedDownwards() throws {
        let search = FindMax { rate, confirmation in
            self.probe(rate, rate <= (confirmation == nil ? 1100 : confirmation == 2 ? 1000 : 1050) ? .holds : .fails)
        }
        let rate = try #require(try search.search(from: 100).rate)
        #expect(rate <= 1000 && rate * 1.02 > 1000)
    }

    @Test func aGeneratorInTheWayIsNamed() throws {
        let report = try FindMax { rate, _ in self.probe(rate, rate <= 500 ? .holds : .invalid) }.search(from: 100)
        #expect(report.ended.contains("generator"))
        let rate = try #require(report.rate)
        #expect(rate <= 500 && rate * 1.02 > 500)
        let server = try FindMax { rate, _ in self.probe(rate, rate <= 500 ? .holds : .fails) }.search(from: 100)
        #expect(!server.ended.contains("generator"))
    }

    @Test func aRunThatTheGeneratorSpoiltIsRepeated() throws {
        // Every first run at a rate is spoilt; a rate that is spoilt three times in a row counts as beyond the generator.
        var spoilt: Set<Double> = []
        let report = try FindMax { rate, _ in
            self.probe(rate, spoilt.insert(rate).inserted ? .invalid : rate <= 1000 ? .holds : .fails)
        }.search(from: 100)
        let rate = try #require(report.rate)
        #expect(rate <= 1000 && rate * 1.02 > 1000)
        #expect(report.probes.filter { $0.rate == 100 }.map(\.verdict) == [.invalid, .holds])
        #expect(!report.ended.contains("generator"))
    }

    @Test func aFailureUnderAThievingHypervisorIsRepeated() throws {
        // The first four failures at a rate that the server can do come while the cores are away.
        var stolen: [Double: Int] = [:]
        let report = try FindMax { rate, _ in
            guard rate <= 1000, rate > 700 else { return self.probe(rate, rate <= 1000 ? .holds : .fails) }
            stolen[rate, default: 0] += 1
            return self.probe(rate, stolen[rate]! <= 4 ? .disturbed : .holds)
        }.search(from: 100)
        let rate = try #require(report.rate)
        #expect(rate <= 1000 && rate * 1.02 > 1000)
        // One that is disturbed each time counts as failed, and the report shows why.
        let never = try FindMax { rate, _ in self.probe(rate, rate <= 700 ? .holds : .disturbed) }.search(from: 100)
        let lower = try #require(never.rate)
        #expect(lower <= 700 && lower * 1.02 > 700)
        #expect(never.confirmations.last?.verdict == .disturbed)
        #expect(never.probes.filter { $0.rate == 800 }.count == FindMax.disturbedRepetitionCountMax + 1)
    }

    @Test func aFailureIsTheServersUnlessTheCoresWereAway() {
        #expect(FindMax.verdict(failedWith: nil, isHopeless: false) == .fails)
        #expect(FindMax.verdict(failedWith: StolenTime(all: 0.002, own: 0), isHopeless: false) == .fails)
        #expect(FindMax.verdict(failedWith: StolenTime(all: 0.003, own: 0), isHopeless: false) == .disturbed)
        #expect(FindMax.verdict(failedWith: StolenTime(all: 0.3, own: 0.3), isHopeless: true) == .fails)
    }

    @Test func nothingIsConfirmedThatNeverHolds() throws {
        let never = try FindMax { rate, _ in self.probe(rate, .fails) }.search(from: 100)
        #expect(never.rate == nil && never.confirmations.isEmpty && !never.ended.isEmpty)
        let unconfirmed = try FindMax { rate, confirmation in
            self.probe(rate, confirmation == nil && rate < 10 ? .holds : .fails)
        }.search(from: 8)
        #expect(unconfirmed.rate == nil && !unconfirmed.ended.isEmpty)
    }

    @Test func theReportIsInSnakeCase() throws {
        let report = try FindMax { rate, _ in self.probe(rate, rate <= 100 ? .holds : .fails) }.search(from: 100)
        let encoded = try JSONEncoder().encode(report)
        let object = try #require(try JSONSerialization.jsonObject(with: encoded) as? [String: Any])
        #expect(Set(object.keys) == ["rate", "resolution", "probes", "confirmations", "ended"])
        #expect(try JSONDecoder().decode(FindMaxReport.self, from: encoded) == report)
    }

    // MARK: Against a queue whose highest rate is known

    /// One server with a constant service time of 1 ms and Poisson arrivals: P(wait > t) is Erlang's sum, and at this rate
    /// 1 % wait for more than 9 ms, solved with 60 digits.
    private static let highestRate = 773.487

    /// Searches with probes that are looked at every 0.1 s and end as `EarlyEnd` decides, after 5 s of warm-up.
    private func searchQueue(seed: UInt64, seconds: Double = 60) throws -> Double? {
        let service = 0.001
        let limit = 0.010
        let warmup = 5.0
        let search = FindMax { rate, confirmation in
            var random = SplitMix64(seed: seed &* 1000 &+ UInt64(confirmation.map { $0 + 1 } ?? 0))
            let progress = LoadProgress(latencyMax: UInt64(limit * 1e9))
            let early = EarlyEnd(
                progress: progress, latency: EarlyStopping(allowedShare: 0.01), errors: nil, mayHoldEarly: true,
                warmup: UInt64(warmup * 1e9), duration: UInt64(seconds * 1e9))
            var due = -log(random.unit()) / rate
            var free = 0.0
            var look = warmup
            while due < warmup + seconds {
                let done = max(free, due) + service
                free = done
                if confirmation == nil, done >= look + 0.1 {
                    look = done
                    switch early.decision {
                    case .broken where done - warmup >= seconds / 8: return self.probe(rate, .fails)
                    case .holds where done - warmup >= seconds / 2: return self.probe(rate, .holds)
                    default: break
                    }
                }
                let latency = UInt64((done - due) * 1e9)
                progress.countDone(
                    KnownRun.outcome(due: UInt64(due * 1e9), service: latency), isCounted: due >= warmup)
                due -= log(random.unit()) / rate
            }
            return self.probe(
                rate, Double(progress.over) <= 0.01 * Double(progress.counted) ? .holds : .fails)
        }
        return try search.search(from: 100).rate
    }

    /// Of 200 other seeds 199 were within 5 %, and 190 with probes of 30 s, the lowest 10 % too low.
    @Test func theQueuesHighestRateIsFoundAgainAndAgain() throws {
        let rates = try (1...12).map { try #require(try searchQueue(seed: $0)) / Self.highestRate }
        #expect(rates.allSatisfy { abs($0 - 1) <= 0.05 }, "\(rates)")
        #expect(try #require(rates.max()) / #require(rates.min()) <= 1.05, "\(rates)")
        #expect(try searchQueue(seed: 1) == searchQueue(seed: 1))
    }
}
