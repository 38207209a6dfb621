import Foundation
import Histogram
import InjectedServer
import Testing

@testable import LoadTesting

extension GenerationTests {
    /// `LoadTest` from its options to its findings, in this process.
    @Suite(.serialized) struct LoadTestRun {
        private static let demo = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("models/demo").path

        /// Short, constant, and never too late: it is not the machine that is tested here.
        private static func options(_ server: InjectedServer, k: String = "10", excluding: Double = 1) throws
            -> LoadTestOptions
        {
            let draws = SnapshotRequests.Options(
                userCountMax: 100, unknownUserShare: 0.1, excludingShare: excluding, k: try KMix(k))
            var options = LoadTestOptions(
                target: try TestRun.target(server), method: "POST", source: .snapshot(demo, draws))
            options.rate = 200
            options.duration = 300 * millisecond
            options.warmup = 0
            options.arrival = .constant
            options.connections = 4
            options.validatedShare = 1
            options.recallCount = 0
            options.sendLagMax = 60_000 * millisecond
            return options
        }

        private func server(_ behaviour: Behaviour = Behaviour()) throws -> InjectedServer {
            var behaviour = behaviour
            behaviour.isBusyPolling = false
            let server = try InjectedServer(behaviour)
            server.start()
            return server
        }

        private func findings(_ options: LoadTestOptions) throws -> LoadTestFindings {
            try withWatchdog { try LoadTest(options, isQuiet: true).run() }
        }

        @Test func aServerWithoutFaultPasses() throws {
            let server = try server()
            var options = try Self.options(server)
            options.warmup = 100 * millisecond
            options.thresholds = try ["errors<=0%", "invalid<=0%", "rate>=99%", "refused<=0%"].map {
                try Threshold($0)
            }
            let findings = try findings(options)
            #expect(findings.verdict == .passed)
            #expect(findings.invalid == [])
            #expect(findings.thresholds.map(\.verdict) == [.holds, .holds, .holds, .holds])
            #expect(findings.thresholds.map(\.observed) == [0, 0, 200, 0])
            let validation = try #require(findings.validation)
            #expect(validation.checked == 60)
            #expect(validation.invalid == 0)
            #expect(validation.share == 1)
            #expect(findings.recall == nil)
            #expect(findings.sweep == nil && findings.findMax == nil && findings.overload == nil)
            #expect(findings.runs.count == 1)
            #expect(findings.latency.totalCount == 60)
            #expect(server.stop().requests == 80)
        }

        /// Each way in which the server is wrong, and as which fault each of its wrong answers is found.
        @Test(arguments: [
            (Behaviour.RetrievalFault.unsorted, "unsorted", "10"), (.duplicate, "duplicate", "10"),
            (.excluded, "excluded", "10"), (.count, "count", "1"), (.snapshot, "malformed", "10"),
        ])
        func wrongAnswersAreFound(_ fault: Behaviour.RetrievalFault, _ name: String, _ k: String) throws {
            var behaviour = Behaviour()
            behaviour.wrong = [.init(share: .every(6), fault: fault)]
            let server = try server(behaviour)
            let findings = try findings(try Self.options(server, k: k))
            #expect(server.stop().wrong == 10)
            let validation = try #require(findings.validation)
            #expect(validation.checked == 60)
            #expect(validation.invalid == 10)
            #expect(validation.faults == [name: 10])
            #expect(!validation.examples.isEmpty)
            // Nobody asked for it.
            let added = try #require(findings.thresholds.last)
            #expect(findings.thresholds.count == 1)
            #expect(added.expression == "invalid<=0%")
            #expect(added.verdict == .fails)
            #expect(abs((added.observed ?? 0) - 1.0 / 6) < 1e-12)
            #expect(findings.verdict == .failed)
            #expect(findings.verdict.exitStatus == 99)
        }

        @Test func aThresholdOfTheirOwnIsTheLimit() throws {
            var behaviour = Behaviour()
            behaviour.wrong = [.init(share: .every(6), fault: .unsorted)]
            let server = try server(behaviour)
            var options = try Self.options(server)
            options.thresholds = [try Threshold("invalid<20%")]
            let findings = try findings(options)
            #expect(findings.thresholds.map(\.expression) == ["invalid<20%"])
            #expect(findings.verdict == .passed)
            #expect(findings.validation?.invalid == 10)
        }

        /// A score that is off and a list that is short show only beside what they should be.
        @Test(arguments: [(Behaviour.RetrievalFault.score, "score"), (.count, "count")])
        func expectationsFindWhatLooksRight(_ fault: Behaviour.RetrievalFault, _ name: String) throws {
            let bodies = (0..<20).map { #"{"user":{"id":"u\#($0)"},"k":5,"exclude":["i1"]}"# }
            let honest = try server()
            let client = ControlClient(try TestRun.target(honest))
            var lines = ""
            for body in bodies {
                let reply = try client.send("POST", "/v1/retrieve", body: body)
                let json = try JSONSerialization.jsonObject(with: Data(reply.body)) as! [String: Any]
                let items = json["items"] as! [[String: Any]]
                let ids = items.map { "\"\($0["id"]!)\"" }.joined(separator: ",")
                let scores = items.map { "\($0["score"]!)" }.joined(separator: ",")
                lines += #"{"request":\#(body),"top":{"ids":[\#(ids)],"scores":[\#(scores)]}}"# + "\n"
            }
            var behaviour = Behaviour()
            behaviour.wrong = [.init(share: .every(6), fault: fault)]
            let server = try server(behaviour)
            try withLines(lines) { path in
                var options = try Self.options(server)
                options.source = .file(path)
                let blind = try findings(options)
                #expect(blind.validation?.invalid == 0)
                options.expectations = [path]
                let findings = try findings(options)
                #expect(findings.validation?.compared == 60)
                #expect(findings.validation?.faults == [name: 10])
                #expect(findings.verdict == .failed)
                if fault == .score {
                    #expect(abs((findings.validation?.worstScoreDifference ?? 0) - 0.01) < 1e-6)
                }
            }
            #expect(server.stop().wrong == 20)
        }

        @Test func recallIsWhatTheServerMisses() throws {
            for missed in [0, 1, 3] {
                var behaviour = Behaviour()
                behaviour.missedOfTen = missed
                let server = try server(behaviour)
                var options = try Self.options(server, k: "100")
                options.recallCount = 20
                options.thresholds = [try Threshold("recall@100>=0.85")]
                let findings = try findings(options)
                let recall = try #require(findings.recall)
                #expect(recall.requests == 20)
                #expect(recall.skipped == [:])
                #expect(recall.estimates.map(\.at) == [10, 100])
                for estimate in recall.estimates {
                    #expect(abs(estimate.mean - (1 - Double(missed) / 10)) < 1e-12)
                    #expect(estimate.low <= estimate.mean && estimate.mean <= estimate.high)
                }
                #expect(findings.verdict == (missed == 3 ? .failed : .passed))
                #expect(findings.validation?.invalid == 0)
                // The repetitions come after the run.
                #expect(server.stop().requests == 60 + 20)
            }
        }

        @Test func overloadIsTheMiddleThird() throws {
            var behaviour = Behaviour()
            // One more than a hundred at once, then none in the time of the test.
            behaviour.capacityPerSecond = 0.001
            behaviour.capacityBurst = 100
            let server = try server(behaviour)
            var options = try Self.options(server)
            options.rate = 100
            options.duration = 1500 * millisecond
            options.overload = 3
            let findings = try findings(options)
            let overload = try #require(findings.overload)
            #expect(overload.factor == 3)
            #expect(overload.phases.map(\.name) == ["before", "overload", "after"])
            for (phase, rate) in zip(overload.phases, [100.0, 300, 100]) {
                #expect(abs(phase.scheduledRate - rate) < 1e-6)
            }
            #expect(findings.runs[0].outcomes.count == 250)
            #expect(server.stop().refused == 150)
            #expect(overload.phases[0].refusedShare == 0)
            // 50 of the hundred are gone with the first third; the second has 150 requests.
            #expect(abs(overload.phases[1].refusedShare - 2.0 / 3) < 0.1)
            #expect(overload.phases[2].refusedShare == 1)
            #expect(overload.phases[0].goodput == 100)
            #expect(overload.phases[2].goodput == 0)
        }

        @Test func aSweepHasARowForEachValue() throws {
            let server = try server()
            var options = try Self.options(server)
            options.sweep = .init(parameter: "ef", values: [16, 64, 256])
            options.recallCount = 10
            options.duration = 200 * millisecond
            let findings = try findings(options)
            let rows = try #require(findings.sweep)
            #expect(rows.map(\.parameter) == ["ef", "ef", "ef"])
            #expect(rows.map(\.value) == [16, 64, 256])
            #expect(rows.allSatisfy { abs(($0.scheduledRate ?? 0) - 200) < 1e-6 })
            #expect(rows.allSatisfy { abs($0.achievedRate - 200) < 1e-6 })
            #expect(rows.allSatisfy { $0.latency.count == 40 && $0.errorShare == 0 && $0.invalid == [] })
            #expect(rows.allSatisfy { $0.recall.map(\.mean) == [1] })
            #expect(findings.runs.count == 1)
            #expect(server.stop().requests == 3 * 50)
        }

        @Test func runsAreRepeatedWithOtherSeeds() throws {
            let server = try server()
            var options = try Self.options(server)
            options.arrival = .poisson
            options.runs = 3
            options.seed = 9
            options.duration = 200 * millisecond
            let findings = try findings(options)
            #expect(findings.runs.count == 3)
            for (number, run) in findings.runs.enumerated() {
                let expected = try Schedule(
                    arrival: .poisson, phases: [.init(rate: 200, nanoseconds: 200 * millisecond)],
                    warmupNanoseconds: 0, seed: 9 + UInt64(number))
                #expect(run.outcomes.map(\.scheduled) == expected.instants)
            }
            let count = findings.runs.reduce(0) { $0 + $1.outcomes.count }
            #expect(findings.latency.totalCount == UInt64(count))
            #expect(findings.validation?.checked == count)
            #expect(server.stop().requests == count)
        }

        @Test func aClosedLoopRuns() throws {
            var behaviour = Behaviour()
            behaviour.delayNanoseconds = 2 * millisecond
            let server = try server(behaviour)
            var options = try Self.options(server)
            options.isClosedLoop = true
            options.rate = nil
            options.thresholds = [try Threshold("errors<=0%")]
            let findings = try findings(options)
            #expect(findings.verdict == .passed)
            #expect(!findings.runs[0].isOpenLoop)
            #expect(findings.validation?.invalid == 0)
            #expect(server.stop().requests == findings.runs[0].outcomes.count)
        }

        @Test func aGetHasNoAnswerToCheck() throws {
            let server = try server()
            var options = try Self.options(server)
            options.method = "GET"
            options.source = .none
            options.target = try Target("http://127.0.0.1:\(server.port)/", defaultPath: "/")
            let findings = try findings(options)
            #expect(findings.validation == nil)
            #expect(findings.recall == nil)
            #expect(findings.runs[0].outcomes.allSatisfy { $0.kind == .success })
            options.thresholds = [try Threshold("invalid<=0%")]
            #expect(throws: LoadTestError.usage("'invalid<=0%': replies are not checked (--validate 0%)")) {
                try LoadTest(options, isQuiet: true)
            }
        }

        @Test func swapsAndSlowClientsAndDisconnectsTogether() throws {
            let server = try server()
            var options = try Self.options(server)
            options.duration = 600 * millisecond
            options.swaps = .init(
                every: 200 * millisecond, snapshots: ["s2", "s1"], admin: try TestRun.target(server),
                settle: 10 * millisecond)
            options.slowClients = 3
            options.disconnectShare = 0.1
            options.thresholds = [try Threshold("errors<=0%"), try Threshold("errors[status]<=0%")]
            let findings = try findings(options)
            #expect(findings.verdict == .passed)
            let run = findings.runs[0]
            #expect(Set(run.marks.map(\.kind)) == ["swap", "slow clients"])
            #expect(run.marks.filter { $0.kind == "swap" }.allSatisfy { $0.start >= 100 * millisecond })
            let abandoned = run.outcomes.count { $0.kind == .abandoned }
            #expect(abandoned > 0)
            #expect(run.outcomes.count { $0.kind == .success } == 120 - abandoned)
            #expect(findings.validation?.checked == 120 - abandoned)
        }

        @Test func aStoppedTestTellsWhatItHas() throws {
            var behaviour = Behaviour()
            behaviour.delayNanoseconds = millisecond
            let server = try server(behaviour)
            var options = try Self.options(server)
            options.duration = 60_000 * millisecond
            options.runs = 3
            let current = CurrentRun()
            let target = options.target
            Foundation.Thread.detachNewThread {
                let client = ControlClient(target)
                while let seen = try? SeenTruth(client), seen.requests < 30 { usleep(10_000) }
                current.stop()
            }
            let test = try LoadTest(options, isQuiet: true, current: current)
            let findings = try withWatchdog { try test.run() }
            #expect(findings.runs.count == 1)
            #expect(findings.runs[0].isCut)
            #expect(findings.runs[0].outcomes.count >= 30)
            #expect(findings.invalid == ["the run was stopped before its end"])
            #expect(findings.verdict == .invalid)
            #expect(throws: LoadTestError.failed("stopped before the first run")) { try test.run() }
        }

        @Test func aServerThatIsNotThereFails() throws {
            // A port that was somebody's a moment ago.
            let port = try InjectedServer().port
            var options = try Self.options(try server())
            options.target = try Target("http://127.0.0.1:\(port)")
            do {
                _ = try findings(options)
                Issue.record("nobody listens there")
            } catch {
                guard case .failed(let text) = error as? LoadTestError else {
                    Issue.record("\(error)")
                    return
                }
                #expect(text.contains("cannot connect to http://127.0.0.1:"))
            }
        }

        @Test func onlyFailuresAreNoFigures() throws {
            var behaviour = Behaviour()
            behaviour.refusals = [.init(share: .every(1), status: 500)]
            let server = try server(behaviour)
            let findings = try findings(try Self.options(server))
            #expect(findings.verdict == .invalid)
            #expect(findings.invalid == ["no request succeeded"])
        }

        // MARK: Wishes without sense

        @Test func contradictionsAreRefused() throws {
            let server = try server()
            let good = try Self.options(server)
            let bound = try Threshold("errors<1%")
            let cases: [(String, (inout LoadTestOptions) -> Void)] = [
                ("--closed", { $0.isClosedLoop = true }),
                ("--rate", { $0.rate = nil }),
                ("trace", { $0.arrival = .trace([0, 1]) }),
                ("duration", { ($0.isClosedLoop, $0.rate, $0.duration) = (true, nil, nil) }),
                (
                    "--find-max",
                    { ($0.findsMax, $0.isClosedLoop, $0.rate, $0.thresholds) = (true, true, nil, [bound]) }
                ),
                ("--find-max", { $0.findsMax = true }),
                ("--find-max", { ($0.findsMax, $0.thresholds, $0.runs) = (true, [bound], 2) }),
                ("--find-max", { ($0.findsMax, $0.thresholds, $0.overload) = (true, [bound], 2) }),
                (
                    "--find-max",
                    {
                        ($0.findsMax, $0.thresholds, $0.sweep) = (
                            true, [bound], .init(parameter: "ef", values: [1])
                        )
                    }
                ),
                ("--sweep", { ($0.sweep, $0.runs) = (.init(parameter: "ef", values: [1]), 2) }),
                ("--sweep", { ($0.sweep, $0.method) = (.init(parameter: "ef", values: [1]), "GET") }),
                ("--overload", { ($0.overload, $0.isClosedLoop, $0.rate) = (2, true, nil) }),
                ("--overload", { ($0.overload, $0.runs) = (2, 2) }),
                ("a duration", { $0.duration = 0 }),
                ("a timeout", { $0.timeout = 0 }),
                ("a timeout", { $0.timeout = 60_000_000_001 }),
                ("5 threads", { $0.threads = 5 }),
                ("recall@100", { $0.thresholds = [try! Threshold("recall@100>=0.5")] }),
                ("--swap-every", { $0.thresholds = [try! Threshold("p(99)[swap]<1s")] }),
            ]
            for (word, change) in cases {
                var options = good
                change(&options)
                do throws(LoadTestError) {
                    _ = try LoadTest(options, isQuiet: true)
                    Issue.record("taken: \(word)")
                } catch {
                    guard case .usage(let text) = error else {
                        Issue.record("\(error)")
                        continue
                    }
                    #expect(text.contains(word))
                }
            }
            _ = try LoadTest(good, isQuiet: true)
            #expect(server.stop().connections == 0)
        }

        @Test(arguments: [0.0, -1, .infinity, .nan]) func ratesWithoutSenseAreRefused(_ rate: Double) throws {
            let server = try server()
            var options = try Self.options(server)
            options.rate = rate
            try withLines(#"{"user":{"id":"u"},"k":1}"#) { path in
                options.source = .file(path)
                let test = try LoadTest(options, isQuiet: true)
                do throws(LoadTestError) {
                    _ = try test.run()
                    Issue.record("taken: \(rate)")
                } catch {
                    guard case .usage = error else {
                        Issue.record("\(error)")
                        return
                    }
                }
            }
        }

        @Test func targets() throws {
            let plain = try Target("http://127.0.0.1:8080")
            #expect(plain.path == "/v1/retrieve")
            #expect(plain.authority == "127.0.0.1:8080")
            #expect("\(plain)" == "http://127.0.0.1:8080/v1/retrieve")
            #expect(try Target("http://127.0.0.1:8080/").path == "/v1/retrieve")
            #expect(try Target("http://127.0.0.1/a?b=c").path == "/a?b=c")
            #expect(try plain.with(path: "/livez").path == "/livez")
            #expect("\(try Target("unix:/run/x"))" == "unix:/run/x")
            for text in [
                "", "http://", "127.0.0.1:80", "https://127.0.0.1", "http://127.0.0.1:0", "http://127.0.0.1:65536",
                "http://127.0.0.1:x", "http://127.0.0.1:", "http://:80", "http://127.0.0.1/a b",
                "http://127.0.0.1/\u{E9}",
                "unix:", "unix:" + String(repeating: "x", count: 108),
            ] {
                do {
                    _ = try Target(text)
                    Issue.record("taken: \(text)")
                } catch {
                    guard case .usage = error else {
                        Issue.record("\(text): \(error)")
                        continue
                    }
                }
            }
        }
    }
}
