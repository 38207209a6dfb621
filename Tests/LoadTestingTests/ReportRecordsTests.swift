import Testing

@testable import LoadTesting

@Suite struct ReportRecordsTests {
    @Test func everyRequestHasItsLine() {
        var first = HandMade.outcome(at: 1_200_016, lag: 2096, wait: 32, service: 183_040)
        first.serverTicks = 151_008 / 16
        let lost = HandMade.outcome(at: 2_000_000, .timeout, service: 160)
        let refused = HandMade.outcome(at: 9, .status, status: 503)
        var later = HandMade.run([refused])
        later.startedAt = 1_800_000_000.25
        let text = String(
            decoding: RequestRecords.csv([HandMade.run([first, lost], warmupEnd: 1_500_000), later]), as: UTF8.self)
        #expect(
            text == """
                run,unix_ns,scheduled_ns,lag_ns,wait_ns,service_ns,server_ns,status,outcome
                1,1200016,1200016,2096,32,183040,151008,200,success
                1,2000000,2000000,0,0,160,,,timeout
                2,1800000000250000009,9,0,0,160000,,503,status

                """)
    }
}
