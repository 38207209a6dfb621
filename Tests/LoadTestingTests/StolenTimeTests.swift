import Foundation
import Testing

@testable import LoadTesting

/// What the hypervisor took, of `/proc/stat`.
@Suite struct StolenTimeTests {
    private let before = ProcessorTimes(
        """
        cpu  300 0 100 1000 0 0 0 10 0 0
        cpu0 100 0 50 600 0 0 0 10 0 0
        cpu1 200 0 50 400 0 0 0 0 0 0
        intr 17 0
        """)
    // Of core 0 100 ticks have passed, 5 of them stolen; of core 1 100, 25 of them stolen. Guests' ticks are in user's.
    private let after = ProcessorTimes(
        """
        cpu  400 0 100 1070 0 0 0 40 50 0
        cpu0 150 0 60 635 0 0 0 15 50 0
        cpu1 220 5 60 430 5 3 2 25 0 0
        cpux 1 1 1 1 1 1 1 1
        cpu9 1 1 1
        """)

    @Test func sharesAreOfWhatPassed() {
        #expect(after.stolenShare(since: before) == 30.0 / 200)
        #expect(after.stolenShare(since: before) { $0 == 0 } == 0.05)
        #expect(after.stolenShare(since: before) { $0 == 1 } == 0.25)
        #expect(after.stolenShare(since: after) == nil)
        #expect(after.stolenShare(since: before) { $0 == 9 } == nil)
    }

    @Test func thisMachineSaysIt() throws {
        let start = ProcessorTimes.current()
        // Until the next tick.
        var share: Double?
        for _ in 0..<200 where share == nil {
            usleep(10_000)
            share = ProcessorTimes.current().stolenShare(since: start)
        }
        #expect((0...1).contains(try #require(share)))
    }

    @Test func muchIsWarnedOf() throws {
        #expect(StolenTime(all: 0.01, own: 0).warning == nil)
        #expect(StolenTime(all: 0.02, own: 0).warning?.contains("2 %") == true)
        #expect(StolenTime(all: 0, own: 0.051).warning?.contains("5.1 %") == true)
        var run = SyntheticRun(seconds: 2).result
        run.stolen = StolenTime(all: 0.05, own: 0.03)
        var context = Report.Context(target: "t", arrival: "constant")
        context.machine = .current()
        let report = Report(runs: [run], context: context)
        #expect(report.machine.stolen == StolenTime(all: 0.05, own: 0.03))
        #expect(report.text.split(separator: "\n").count { $0.hasPrefix("WARNING: the hypervisor took 5 %") } == 1)
        let json = String(decoding: try report.json(), as: UTF8.self)
        #expect(json.contains("\"all_share\" : 0.05") && json.contains("\"own_share\" : 0.03"))
        #expect(try Report(json: Data(json.utf8), name: "r").machine.stolen == report.machine.stolen)
        run.stolen = StolenTime(all: 0.001, own: 0.001)
        #expect(!Report(runs: [run], context: context).text.contains("WARNING"))
        // Of several runs by their length: 2 and 4 seconds after a second of warm-up each.
        var longer = SyntheticRun(seconds: 4).result
        longer.stolen = StolenTime(all: 0.08, own: 0)
        run.stolen = StolenTime(all: 0, own: 0.08)
        let both = Report(runs: [run, longer], context: context).machine.stolen
        #expect(abs(try #require(both?.all) - 0.05) < 1e-12)
        #expect(abs(try #require(both?.own) - 0.03) < 1e-12)
    }
}
