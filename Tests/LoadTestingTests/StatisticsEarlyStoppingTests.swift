import Testing

@testable import LoadTesting

@Suite struct StatisticsEarlyStoppingTests {
    /// Sums of binomial terms in rational arithmetic.
    @Test(arguments: [
        (0, 458, 0.01, 0.010021186061657198), (0, 459, 0.01, 0.009920974201040626),
        (1, 661, 0.01, 0.0100009677465179), (10, 1000, 0.01, 0.5830408033010982),
        (18, 1000, 0.01, 0.9930950052324192), (50, 5000, 0.01, 0.5375171649663754),
        (34, 5000, 0.01, 0.010478968241121328), (9, 5000, 0.001, 0.9682444804718927), (3, 10, 0.5, 0.171875),
        (0, 10_000, 0.001, 4.517334597704865e-05), (5, 10_000, 0.001, 0.06699137339752725), (7, 7, 0.5, 1),
    ])
    func tailsAreExact(over: Int, count: Int, share: Double, chance: Double) {
        let computed = EarlyStopping.atMost(over, of: count, share: share)
        #expect(abs(computed - chance) <= chance * 1e-9, "\(computed)")
    }

    /// The fewest requests that show p(99) with 0, 1, 2 ... over: the same exact sums.
    @Test(arguments: [(0, 459), (1, 662), (2, 838), (3, 1001), (4, 1157), (5, 1307)])
    func itHoldsFromTheFewestRequestsOn(over: Int, count: Int) {
        let stopping = EarlyStopping(allowedShare: 0.01)
        #expect(stopping.decide(over: over, of: count - 1) == .undecided)
        #expect(stopping.decide(over: over, of: count) == .holds)
    }

    /// The fewest over the limit that show that p(99) is missed.
    @Test(arguments: [(5, 100), (12, 500), (19, 1000), (68, 5000)])
    func itIsBrokenFromTheFewestOverOn(over: Int, count: Int) {
        let stopping = EarlyStopping(allowedShare: 0.01)
        #expect(stopping.decide(over: over - 1, of: count) == .undecided)
        #expect(stopping.decide(over: over, of: count) == .broken)
    }

    @Test func theEndsOfTheRange() {
        #expect(EarlyStopping(allowedShare: 0.01).decide(over: 0, of: 0) == .undecided)
        #expect(EarlyStopping(allowedShare: 0).decide(over: 0, of: 1_000_000) == .undecided)
        #expect(EarlyStopping(allowedShare: 0).decide(over: 1, of: 1_000_000) == .broken)
        #expect(EarlyStopping(allowedShare: 0.01).decide(over: 100, of: 100) == .broken)
        #expect(EarlyStopping(allowedShare: 0.01).decide(over: 1000, of: 10_000_000) == .holds)
    }
}
