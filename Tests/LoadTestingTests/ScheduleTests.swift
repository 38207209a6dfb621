import LoadTesting
import Testing

@Suite struct ScheduleTests {
    private let second: UInt64 = 1_000_000_000

    @Test func theSameSeedGivesTheSameInstants() throws {
        let phases = [Schedule.Phase(rate: 5000, nanoseconds: 2 * second)]
        let one = try Schedule(arrival: .poisson, phases: phases, warmupNanoseconds: second, seed: 7)
        let two = try Schedule(arrival: .poisson, phases: phases, warmupNanoseconds: second, seed: 7)
        let other = try Schedule(arrival: .poisson, phases: phases, warmupNanoseconds: second, seed: 8)
        #expect(one.instants == two.instants)
        #expect(one.instants != other.instants)
        #expect(one.instants == one.instants.sorted())
        #expect(one.endNanoseconds == 3 * second)
    }

    /// 15,000 expected: four deviations are 490. Of exponential gaps e^-1 are longer than the mean.
    @Test func poissonGapsAreExponential() throws {
        let schedule = try Schedule(
            arrival: .poisson, phases: [.init(rate: 5000, nanoseconds: 3 * second)], warmupNanoseconds: 0, seed: 1)
        #expect(abs(schedule.instants.count - 15_000) < 490)
        let gaps = zip(schedule.instants, schedule.instants.dropFirst()).map { $1 - $0 }
        let longer = Double(gaps.count { $0 > 200_000 }) / Double(gaps.count)
        #expect(abs(longer - 0.3679) < 0.016)
    }

    @Test func constantGapsDoNotDrift() throws {
        let schedule = try Schedule(
            arrival: .constant, phases: [.init(rate: 3000, nanoseconds: second)], warmupNanoseconds: 0, seed: 1)
        #expect(schedule.instants.count == 3000)
        #expect(schedule.instants[2999] == 999_666_666)
    }

    @Test func burstsKeepTheRate() throws {
        let schedule = try Schedule(
            arrival: .bursts(size: 10), phases: [.init(rate: 1000, nanoseconds: second)], warmupNanoseconds: 0, seed: 1)
        #expect(schedule.instants.count == 1000)
        #expect(Set(schedule.instants).count == 100)
    }

    @Test func impossibleSchedulesAreRefused() {
        #expect(throws: LoadTestError.usage("a rate must be above 0")) {
            try Schedule(
                arrival: .poisson, phases: [.init(rate: 0, nanoseconds: second)], warmupNanoseconds: 0, seed: 1)
        }
        #expect(throws: LoadTestError.self) {
            try Schedule(
                arrival: .constant, phases: [.init(rate: 1e9, nanoseconds: 600 * second)], warmupNanoseconds: 0, seed: 1
            )
        }
        #expect(throws: LoadTestError.self) {
            try Schedule(
                arrival: .trace([1, 2]), phases: [.init(rate: 1, nanoseconds: 1)], warmupNanoseconds: 0, seed: 1)
        }
    }
}
