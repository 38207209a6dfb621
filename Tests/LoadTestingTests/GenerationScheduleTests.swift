import Foundation
import Testing

@testable import LoadTesting

extension GenerationTests {
    /// Instants by arithmetic, and traces from files.
    @Suite struct Schedules {
        private let second: UInt64 = 1_000_000_000

        private func schedule(
            _ arrival: Arrival, _ rate: Double, seconds: Double = 1, warmup: Double = 0, seed: UInt64 = 1
        ) throws -> Schedule {
            try Schedule(
                arrival: arrival, phases: [.init(rate: rate, nanoseconds: UInt64(seconds * 1e9))],
                warmupNanoseconds: UInt64(warmup * 1e9), seed: seed)
        }

        /// At rate r a second holds r instants, of which the i-th lies at i / r; at 49/s too, where 49 * (1 / 49) < 1.
        @Test func constantRatesAreExact() throws {
            let wrong = try (1...2000).filter { rate in
                let instants = try schedule(.constant, Double(rate)).instants
                return instants != (0..<UInt64(rate)).map { $0 * 1_000_000_000 / UInt64(rate) }
            }
            #expect(wrong == [])
        }

        @Test func burstsStandAtOneInstant() throws {
            for (size, rate) in [(1, 490), (7, 343), (10, 1000), (100, 4900)] {
                let instants = try schedule(.bursts(size: size), Double(rate)).instants
                #expect(instants.count == rate)
                for (index, instant) in instants.enumerated() {
                    let burst = UInt64(index / size)
                    #expect(instant == burst * UInt64(size) * second / UInt64(rate))
                }
            }
        }

        @Test func theWarmupIsPartOfTheInstantsAndNotOfTheRate() throws {
            let made = try schedule(.constant, 100, seconds: 2, warmup: 0.5)
            #expect(made.instants.count == 250)
            #expect(made.warmupCount == 50)
            #expect(made.instants[50] == 500 * millisecond)
            #expect(made.endNanoseconds == 2500 * millisecond)
            #expect(made.rate == 100)
            #expect(try schedule(.constant, 100).warmupCount == 0)
        }

        @Test func phasesHaveTheirOwnRates() throws {
            let made = try Schedule(
                arrival: .constant, phases: [100.0, 300, 100].map { .init(rate: $0, nanoseconds: second) },
                warmupNanoseconds: second, seed: 1)
            func count(_ from: UInt64, _ to: UInt64) -> Int {
                made.instants.count { $0 >= from * second && $0 < to * second }
            }
            let counts = [count(0, 1), count(1, 2), count(2, 3), count(3, 4)]
            #expect(counts == [100, 100, 300, 100] as [Int])
            #expect(made.instants.count == 600)
            #expect(made.endNanoseconds == 4 * second)
            #expect(abs(made.rate - 500.0 / 3) < 1e-9)
            let random = try Schedule(
                arrival: .poisson, phases: [1000.0, 9000, 1000].map { .init(rate: $0, nanoseconds: second) },
                warmupNanoseconds: 0, seed: 4)
            let thirds = (0..<3).map { third in
                random.instants.count { $0 / second == UInt64(third) }
            }
            // Five deviations of Poisson counts.
            for (seen, expected) in zip(thirds, [1000.0, 9000, 1000]) {
                #expect(abs(Double(seen) - expected) < 5 * expected.squareRoot())
            }
            #expect(random.instants == random.instants.sorted())
        }

        /// The same seed at another rate is the same pattern, stretched.
        @Test func anotherRateStretchesThePattern() throws {
            let slow = try schedule(.poisson, 500, seconds: 8, seed: 3).instants
            let fast = try schedule(.poisson, 2000, seconds: 2, seed: 3).instants
            #expect(slow.count == fast.count)
            #expect(slow.count > 3000)
            for (one, other) in zip(slow, fast) { #expect(abs(Double(one) - 4 * Double(other)) <= 8) }
            // A longer run begins as a shorter one does.
            let longer = try schedule(.poisson, 2000, seconds: 3, seed: 3).instants
            #expect(Array(longer.prefix(fast.count)) == fast)
        }

        @Test func aTraceIsCutAndPlayed() throws {
            let recorded: [UInt64] = [0, 5, 5, 1_000_000_000, 2_500_000_000]
            let whole = try Schedule(arrival: .trace(recorded), phases: [], warmupNanoseconds: 0, seed: 1)
            #expect(whole.instants == recorded)
            #expect(whole.endNanoseconds == 2_500_000_001)
            let cut = try Schedule(
                arrival: .trace(recorded), phases: [.init(rate: 0, nanoseconds: 2 * second)],
                warmupNanoseconds: second, seed: 1)
            #expect(cut.instants == [0, 5, 5, 1_000_000_000])
            #expect(cut.warmupCount == 3)
            #expect(cut.rate == 1)
            #expect(throws: LoadTestError.usage("the trace holds no arrival within the duration")) {
                try Schedule(arrival: .trace([]), phases: [], warmupNanoseconds: 0, seed: 1)
            }
        }

        @Test func schedulesWithoutSenseAreRefused() {
            func refuse(_ arrival: Arrival, _ phases: [Schedule.Phase]) {
                do {
                    _ = try Schedule(arrival: arrival, phases: phases, warmupNanoseconds: 0, seed: 1)
                    Issue.record("\(arrival) with \(phases) was taken")
                } catch {
                    guard case .usage = error else {
                        Issue.record("\(error)")
                        return
                    }
                }
            }
            refuse(.poisson, [])
            for rate in [0, -1, .infinity, .nan, 1e300] { refuse(.constant, [.init(rate: rate, nanoseconds: second)]) }
            for size in [0, -1, 1 << 28, 1 << 40, .max] {
                refuse(.bursts(size: size), [.init(rate: 10, nanoseconds: second)])
            }
            refuse(.poisson, [.init(rate: 1e-9, nanoseconds: second)])
            refuse(.constant, [.init(rate: 10, nanoseconds: 0)])
        }

        // MARK: Files

        @Test func readsTraces() throws {
            #expect(
                try withLines("0\n0.5\n0.5\n1.25\n", TraceFile.read) == [0, 500_000_000, 500_000_000, 1_250_000_000])
            // From any origin, without a last newline, with blank lines and spaces.
            #expect(try withLines("100.5\n\n  101.5 \n102", TraceFile.read) == [0, second, 1_500_000_000])
            #expect(try withLines("-2\n-1e0\n0\n", TraceFile.read) == [0, second, 2 * second])
            #expect(try withLines("1700000000.25\n1700000000.5\n", TraceFile.read) == [0, 250_000_000])
            #expect(try withLines("7\n", TraceFile.read) == [0])
        }

        @Test func readsTracesWrittenOnWindows() throws {
            #expect(try withLines("0\r\n0.5\r\n\r\n1\r\n", TraceFile.read) == [0, 500_000_000, second])
        }

        @Test func saysWhatIsWrongWithATrace() throws {
            func fault(_ text: String) throws -> String {
                try withLines(text) { path in
                    do {
                        return "\(try TraceFile.read(path))"
                    } catch {
                        guard case .failed(let text) = error as? LoadTestError else { return "\(error)" }
                        #expect(text.contains(path))
                        return text.replacingOccurrences(of: path, with: "F")
                    }
                }
            }
            #expect(try fault("0\n2\n1\n") == "F:3: 1 is before the line above it")
            #expect(try fault("0\n\nx7\n") == "F:3: 'x7' is no number of seconds")
            #expect(try fault("1,5\n") == "F:1: '1,5' is no number of seconds")
            #expect(try fault("nan\n") == "F:1: 'nan' is no number of seconds")
            #expect(try fault("0\ninf\n") == "F:2: 'inf' is no number of seconds")
            #expect(try fault("0\n1e300\n") == "F:2: too far from the first")
            #expect(try fault("-1e300\n1\n") == "F:2: too far from the first")
            #expect(try fault("") == "the trace 'F' is empty")
            #expect(try fault("\n \n") == "the trace 'F' is empty")
            #expect(try fault("{\"at\":1}\n") == "F:1: '{\"at\":1}' is no number of seconds")
            #expect(throws: LoadTestError.failed("the trace '/nowhere/trace' cannot be read")) {
                try TraceFile.read("/nowhere/trace")
            }
        }

        @Test func arrivalsHaveNames() {
            #expect(Arrival.poisson.name == "poisson")
            #expect(Arrival.constant.name == "constant")
            #expect(Arrival.bursts(size: 8).name == "bursts:8")
            #expect(Arrival.trace([0]).name == "trace")
        }

        // MARK: Samples

        @Test func aSampleIsAShare() {
            for share in [0.01, 0.1, 0.5, 0.9] {
                for seed in [1, 2, UInt64.max] {
                    let sample = Sample(share: share, seed: seed, purpose: 1)
                    let count = (0..<100_000).count { sample.contains($0) }
                    // Six deviations of a binomial count.
                    #expect(abs(Double(count) - 1e5 * share) < 6 * (1e5 * share * (1 - share)).squareRoot())
                }
            }
            #expect((0..<1000).allSatisfy { Sample(share: 1, seed: 1, purpose: 1).contains($0) })
            #expect((0..<1000).allSatisfy { !Sample(share: 0, seed: 1, purpose: 1).contains($0) })
            let one = Sample(share: 0.5, seed: 1, purpose: 1)
            let other = Sample(share: 0.5, seed: 1, purpose: 2)
            let both = (0..<100_000).count { one.contains($0) && other.contains($0) }
            // Two purposes of a seed have nothing to do with each other.
            #expect(abs(both - 25_000) < 822)
            let largest = Sample(share: 1.0.nextDown, seed: 1, purpose: 1)
            #expect((0..<1000).allSatisfy { largest.contains($0) })
        }

        /// Two figures that other implementations of SplitMix64 give for the seed 1234567.
        @Test func theRandomNumbersAreSplitMix64() {
            var random = SplitMix64(seed: 1_234_567)
            #expect(random.next() == 6_457_827_717_110_365_317)
            #expect(random.next() == 3_203_168_211_198_807_973)
            for _ in 0..<10_000 {
                let unit = random.unit()
                #expect(unit > 0 && unit <= 1)
            }
        }
    }
}
