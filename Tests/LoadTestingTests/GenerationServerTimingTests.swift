import TestSupport
import Testing

@testable import LoadTesting

extension GenerationTests {
    @Suite struct ServerTimings {
        private func nanoseconds(_ field: String) -> UInt64? {
            let bytes = Array(field.utf8)
            return bytes.withUnsafeBytes { ServerTiming.totalNanoseconds($0) }
        }

        @Test(
            arguments: [
                (" total;dur=0.183\r\n", 183_000), ("total;dur=12", 12_000_000), ("total ; dur = 1.5 ", 1_500_000),
                ("cache;desc=\"a, total;dur=9\";dur=2.5, total;dur=3", 3_000_000),
                ("miss, db;dur=53, total;desc=all;dur=7", 7_000_000), ("total;dur=1;dur=2", 1_000_000),
                ("total;dur=\"0.25\"", 250_000), ("total;dur=0.0000019", 1), ("total;dur=.5", 500_000),
                ("total;dur=3600000", 3_600_000_000_000), ("a;desc=\"\\\"\",total;dur=1", 1_000_000),
            ] as [(String, UInt64)])
        func readsTheTotal(_ field: String, _ expected: UInt64) {
            #expect(nanoseconds(field) == expected)
        }

        @Test(arguments: [
            "", "\r\n", "total", "total;dur", "total;dur=", "total;dur=x", "total;dur=-1", "total;dur=1e3",
            "total;dur=.",
            "db;dur=5", "total;desc=\"dur=5\"", "total;dur=3600001", "total;dur=99999999999999999999",
            "a b, total;dur=1",
            "total;dur=1.2.3", "total;dur=x;dur=5", "total;dur=20000000000000", "total;dur=1796049600000000",
            "total;dur=3600000000000", "total;dur=3600000000001", "total;dur=18446744073709551615",
            "a;desc=\"total;dur=5", "=;=,total;dur=1", "a;desc=\"\\",
        ])
        func whatIsNoTotalIsNone(_ field: String) {
            #expect(nanoseconds(field) == nil)
        }

        @Test func randomFieldsAreReadToTheirEnd() {
            var random = SeededRandom(seed: 71)
            let pieces = [
                "total", "dur", "=", ";", ",", "\"", "\\", "1", ".", " ", "x", "\u{0}", "9999999999", "17960496",
            ]
            for _ in 0..<Repetitions.count(20_000, long: 1_000_000) {
                let field = (0..<random.below(12)).map { _ in pieces[random.below(pieces.count)] }.joined()
                if let value = nanoseconds(field) { #expect(value <= 3_600_000_000_000) }
            }
        }
    }
}
