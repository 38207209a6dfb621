import Testing

@testable import LoadTesting

@Suite struct StatisticsDecisionTests {
    /// The exact sums of the binomial's terms, to 60 digits: at most `over` of `count`.
    private static let sums: [(over: Int, count: Int, share: Double, chance: Double)] = [
        (0, 1, 0.5, 0.5), (0, 10, 0.5, 0.0009765625), (3, 10, 0.5, 0.171875), (5, 10, 0.5, 0.623046875),
        (9, 10, 0.5, 0.9990234375), (0, 10, 0.1, 0.3486784401), (1, 10, 0.1, 0.7360989291), (5, 10, 0.1, 0.9998530974),
        (9, 10, 0.1, 0.9999999999), (0, 459, 0.01, 0.0099209742010406251), (1, 459, 0.01, 0.055918218224047161),
        (4, 459, 0.01, 0.51455392587275283), (20, 459, 0.01, 0.99999998512266837),
        (0, 1000, 0.001, 0.36769542477096404), (1, 1000, 0.001, 0.7357589130301873),
        (5, 1000, 0.001, 0.99941192989823702), (0, 1000, 0.01, 4.3171247410658242e-5),
        (2, 1000, 0.01, 0.0026794319937915335), (10, 1000, 0.01, 0.58304080330109818),
        (20, 1000, 0.01, 0.99850351845229076), (40, 1000, 0.01, 0.99999999999988994),
        (300, 1000, 0.5, 8.8328390039750686e-38), (450, 1000, 0.5, 0.0008652680424881588),
        (500, 1000, 0.5, 0.5126125090891804), (550, 1000, 0.5, 0.99930412920278896), (700, 1000, 0.5, 1),
        (50, 10_000, 0.01, 2.1122399326323791e-8), (80, 10_000, 0.01, 0.02213082935598379),
        (100, 10_000, 0.01, 0.52656253405815882), (130, 10_000, 0.01, 0.99837818155424348),
        (200, 10_000, 0.01, 1), (700, 100_000, 0.01, 4.3875411406530078e-24),
        (900, 100_000, 0.01, 0.00066084133345015111), (1000, 100_000, 0.01, 0.50840947335143268),
        (1100, 100_000, 0.01, 0.99917903008933866), (1300, 100_000, 0.01, 1),
        (0, 100_000, 0.001, 3.538527688343435e-44), (50, 100_000, 0.001, 2.3711826624976387e-8),
        (100, 100_000, 0.001, 0.52656220185507299), (150, 100_000, 0.001, 0.99999878309496102),
        (49_000, 100_000, 0.5, 1.2943580191734489e-10), (50_000, 100_000, 0.5, 0.50126156310709837),
        (51_000, 100_000, 0.5, 0.99999999987575886), (9000, 100_000, 0.1, 5.2352235318289559e-27),
        (9999, 100_000, 0.1, 0.49845808709932004), (10_500, 100_000, 0.1, 0.99999991920125318),
        (0, 100_000, 0.0001, 4.5377233958961151e-5), (3, 100_000, 0.0001, 0.010333402489831121),
        (10, 100_000, 0.0001, 0.58303975029725424), (25, 100_000, 0.0001, 0.99998234166905025),
        (89_000, 100_000, 0.9, 1.414437309744776e-25), (90_000, 100_000, 0.9, 0.50154191290066829),
        (91_000, 100_000, 0.9, 1),
    ]

    @Test func theBinomialIsExact() {
        for (over, count, share, chance) in Self.sums {
            let got = EarlyStopping.atMost(over, of: count, share: share)
            #expect(abs(got - chance) <= 1e-9 * chance, "\(over) of \(count) at \(share): \(got), not \(chance)")
        }
        #expect(EarlyStopping.atMost(7, of: 7, share: 0.3) == 1)
    }

    /// 0.99^459 is the first power below 0.01; the others are from the exact sums.
    @Test func itHoldsFromTheFirstCountThatShowsIt() {
        for (share, over, count) in [
            (0.01, 0, 459), (0.01, 1, 662), (0.01, 2, 838), (0.01, 10, 2010), (0.001, 0, 4603), (0.001, 1, 6636),
            (0.001, 2, 8403), (0.001, 10, 20_140), (0.1, 0, 44), (0.1, 1, 64), (0.1, 2, 81), (0.1, 10, 197),
        ] {
            let rule = EarlyStopping(allowedShare: share)
            #expect(rule.decide(over: over, of: count - 1) == .undecided, "\(over) of \(count - 1) at \(share)")
            #expect(rule.decide(over: over, of: count) == .holds, "\(over) of \(count) at \(share)")
        }
    }

    @Test func itIsBrokenFromTheFirstCountThatShowsIt() {
        for (share, over, count) in [
            (0.01, 2, 10), (0.01, 5, 100), (0.01, 19, 1000), (0.01, 125, 10_000), (0.001, 2, 100), (0.001, 5, 1000),
            (0.001, 19, 10_000), (0.1, 5, 10), (0.1, 19, 100), (0.1, 124, 1000), (0.1, 1071, 10_000),
        ] {
            let rule = EarlyStopping(allowedShare: share)
            #expect(rule.decide(over: over, of: count) == .broken, "\(over) of \(count) at \(share)")
            #expect(rule.decide(over: over - 1, of: count) == .undecided, "\(over - 1) of \(count) at \(share)")
        }
    }

    @Test func aShareOfNothingIsBrokenByOne() {
        let rule = EarlyStopping(allowedShare: 0)
        #expect(rule.decide(over: 0, of: 0) == .undecided)
        #expect(rule.decide(over: 0, of: 1_000_000) == .undecided)
        #expect(rule.decide(over: 1, of: 1_000_000) == .broken)
        #expect(EarlyStopping(allowedShare: 0.01).decide(over: 0, of: 0) == .undecided)
    }

    /// 0.99^299 = 0.0495 and 0.99^298 = 0.0500.
    @Test func lessConfidenceIsEnoughSooner() {
        let rule = EarlyStopping(allowedShare: 0.01, confidence: 0.95)
        #expect(rule.decide(over: 0, of: 298) == .undecided)
        #expect(rule.decide(over: 0, of: 299) == .holds)
    }
}
