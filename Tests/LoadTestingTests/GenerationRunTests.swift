import Foundation
import Histogram
import InjectedServer
import Testing

@testable import LoadTesting

extension GenerationTests {
    /// What runs record, held against the server's own books.
    @Suite(.serialized) struct Runs {
        // MARK: Where the time went

        @Test func everyRequestHasOneOutcome() throws {
            let result = try TestRun().run()
            result.expectComplete()
            #expect(result.instants.count == 200)
            #expect(result.count(.success) == 200)
            #expect(result.run.outcomes.allSatisfy { $0.status == 200 })
            #expect(result.truth.requests == 200)
            #expect(result.truth.replies == 200)
            #expect(result.truth.connections == 4)
            #expect(result.run.reconnections == 0)
            // 0.1 s of 400/s warm up.
            #expect(result.run.counted.count == 160)
            #expect(result.run.latency.totalCount == 160)
            #expect(result.run.isOpenLoop)
            #expect(abs(result.run.scheduledRate - 400) < 1e-6)
            #expect(result.run.end == 500 * millisecond)
        }

        @Test func aDelayIsNeverMissed() throws {
            var behaviour = Behaviour()
            behaviour.delayNanoseconds = 20 * millisecond
            var test = TestRun(behaviour)
            test.rate = 100
            let result = try test.run()
            result.expectComplete()
            #expect(result.count(.success) == 50)
            // Ticks of 16 ns are rounded down.
            #expect(result.run.outcomes.allSatisfy { $0.service + 16 >= 20 * millisecond })
            #expect(result.run.outcomes.allSatisfy { $0.latency >= $0.service })
        }

        /// On one connection the n-th outcome is the n-th request that the server read. With the run's start on the monotonic
        /// clock unknown but the same for all, each send lies before its reading, and each end after the reply's sending.
        @Test func instantsAgreeWithTheServersClock() throws {
            var behaviour = Behaviour()
            behaviour.delayNanoseconds = 2 * millisecond
            behaviour.slow = .every(20)
            behaviour.slowDelayNanoseconds = 30 * millisecond
            var test = TestRun(behaviour)
            test.arrival = .poisson
            test.change = { $0.connections = 1 }
            let result = try test.run()
            result.expectComplete()
            try #require(result.truth.exchanges.count == result.run.outcomes.count)
            var latestOrigin = Int64.max
            var earliestOrigin = Int64.min
            for (outcome, exchange) in zip(result.run.outcomes, result.truth.exchanges) {
                let sent = outcome.scheduled + outcome.lag + outcome.wait
                latestOrigin = min(latestOrigin, Int64(exchange.read) - Int64(sent))
                earliestOrigin = max(
                    earliestOrigin, Int64(exchange.sending) - Int64(outcome.scheduled + outcome.latency))
            }
            #expect(earliestOrigin <= latestOrigin + 200)
        }

        /// A burst of 20 at a server that takes 25 ms for each, one connection: the n-th waits for those before it.
        @Test func aQueueIsInTheLatency() throws {
            var behaviour = Behaviour()
            behaviour.delayNanoseconds = 25 * millisecond
            behaviour.isSerial = true
            var test = TestRun(behaviour)
            test.arrival = .bursts(size: 20)
            test.rate = 100
            test.nanoseconds = 100 * millisecond
            test.warmup = 0
            test.change = { $0.connections = 1 }
            let result = try test.run()
            result.expectComplete()
            #expect(result.instants == [UInt64](repeating: 0, count: 20))
            #expect(result.count(.success) == 20)
            for (index, outcome) in result.run.outcomes.enumerated() {
                let number = UInt64(index)
                #expect(outcome.service + 16 >= 25 * millisecond)
                #expect(outcome.wait + 64 >= number * 25 * millisecond)
                #expect(outcome.latency + 64 >= (number + 1) * 25 * millisecond)
                #expect(outcome.latency + 64 >= outcome.service + number * 25 * millisecond)
            }
            let waits = result.run.outcomes.reduce(0) { $0 + $1.wait }
            let lags = result.run.outcomes.reduce(0) { $0 + $1.lag }
            // 4.75 s of waiting, which is nobody's lag.
            #expect(waits + 20 * 64 >= 4750 * millisecond)
            #expect(lags < waits)
            // Half of them wait for nine others and more. A closed loop would report 25 ms.
            #expect(result.run.latency.valueAtPercentile(50) >= 249 * millisecond)
            #expect(result.run.latency.maxRecorded >= 499 * millisecond)
        }

        /// 400 ms of silence in which requests go on being due: each waits for the rest of it.
        @Test func aStallIsInTheLatency() throws {
            var behaviour = Behaviour()
            behaviour.stall = .init(
                nanoseconds: 400 * millisecond, periodNanoseconds: 3_600_000 * millisecond,
                offsetNanoseconds: 200 * millisecond)
            var test = TestRun(behaviour)
            test.rate = 200
            test.nanoseconds = 700 * millisecond
            test.change = { $0.connections = 1 }
            let result = try test.run()
            result.expectComplete()
            #expect(result.count(.success) == result.instants.count)
            let stall = try #require(result.truth.stalls.first)
            // The latest start of the run that the server's clock allows.
            let origin = zip(result.run.outcomes, result.truth.exchanges).map {
                $1.read - ($0.scheduled + $0.lag + $0.wait)
            }.min()!
            // Due within the stall, by that start: not answered before its end. The first of them stands in the service time
            // of a single request, the others wait.
            let due = result.run.outcomes.filter {
                origin + $0.scheduled > stall.start && origin + $0.scheduled < stall.end
            }
            // The start may be a little earlier than `origin`; what a request loses by that it has waited before.
            let slack = 30 * millisecond
            #expect(due.count > 40)
            for outcome in due {
                #expect(origin + outcome.scheduled + outcome.latency + slack >= stall.end)
            }
            let waits = due.reduce(0) { $0 + $1.wait }
            let lags = due.reduce(0) { $0 + $1.lag }
            #expect(waits > 10 * 190 * millisecond)
            #expect(lags < waits)
        }

        // MARK: Connections

        @Test func closesAreCountedAndConnectionsOpenedAgain() throws {
            var behaviour = Behaviour()
            behaviour.closes = .every(50)
            let result = try TestRun(behaviour).run()
            result.expectComplete()
            #expect(result.truth.requests == 200)
            #expect(result.truth.closed == 4)
            #expect(result.count(.closed) == 4)
            #expect(result.count(.success) == 196)
            #expect(result.run.reconnections == 4)
            #expect(result.truth.connections == 4 + 4)
            #expect(result.run.outcomes.filter { $0.kind == .closed }.allSatisfy { $0.status == 0 })
        }

        @Test(arguments: [
            (Behaviour.Oddity.garbage, OutcomeKind.malformed), (.endlessHead, .timeout), (.shortBody, .closed),
            (.chunked, .success), (.brokenChunks, .malformed), (.split, .success), (.doubled, .malformed),
            (.closing, .success), (.untilClose, .success),
        ])
        func oddRepliesEndAsTheyMust(_ oddity: Behaviour.Oddity, _ kind: OutcomeKind) throws {
            var behaviour = Behaviour()
            behaviour.odd = [.init(share: .every(10), oddity: oddity)]
            var test = TestRun(behaviour)
            test.change = {
                $0.keptShare = 1
                // None waits for a connection that another keeps busy.
                $0.connections = 32
                // Of the endless head 64 KiB come within 1.3 s and more.
                $0.timeoutNanoseconds = oddity == .endlessHead ? 300 * millisecond : 20_000 * millisecond
            }
            let result = try test.run()
            result.expectComplete()
            #expect(result.truth.requests == 200)
            #expect(result.truth.odd == 20)
            if kind == .success {
                #expect(result.count(.success) == 200)
            } else {
                #expect(result.count(kind) == 20)
                #expect(result.count(.success) == 180)
            }
            let keeps: Set<Behaviour.Oddity> = [.chunked, .split]
            #expect(result.run.reconnections == (keeps.contains(oddity) ? 0 : 20))
            // Whatever the form, the body is the one that belongs to the request.
            #expect(result.run.kept.count == Int(result.run.latency.totalCount))
            for kept in result.run.kept {
                let body = try JSONSerialization.jsonObject(with: Data(kept.body)) as? [String: Any]
                #expect(body?["request_id"] as? String == "r-\(kept.request)")
            }
        }

        @Test func anEndlessHeadThatComesFastIsMalformed() throws {
            var behaviour = Behaviour()
            behaviour.odd = [.init(share: .every(25), oddity: .endlessHead)]
            behaviour.pieceGapNanoseconds = 5000
            var test = TestRun(behaviour)
            test.rate = 100
            test.nanoseconds = 400 * millisecond
            test.change = { $0.timeoutNanoseconds = 60_000 * millisecond }
            let result = try test.run()
            result.expectComplete()
            #expect(result.count(.malformed) == 2)
            #expect(result.count(.success) == 48)
        }

        // MARK: Failures

        @Test func refusalsAreCountedAndTheirBodiesKept() throws {
            var behaviour = Behaviour()
            behaviour.refusals = [
                .init(share: .every(4), status: 503, retryAfterSeconds: 1), .init(share: .every(25), status: 418),
            ]
            let progress = LoadProgress()
            let result = try TestRun(behaviour).run(progress: progress)
            result.expectComplete()
            // Multiples of 100 are the first's.
            #expect(result.run.outcomes.count { $0.kind == .status && $0.status == 503 } == 50)
            #expect(result.run.outcomes.count { $0.kind == .status && $0.status == 418 } == 6)
            #expect(result.count(.status) == result.truth.refused)
            #expect(result.count(.success) == 144)
            #expect(result.run.reconnections == 0)
            #expect(result.run.errorBodies.keys.sorted() == [418, 503])
            #expect(result.run.errorBodies[503]?.contains("urn:belfry:problem:overloaded") == true)
            #expect(result.run.errorBodies[418]?.contains("\"status\":418") == true)
            #expect(progress.sent == 200)
            #expect(progress.done == 200)
            #expect(progress.errors == 56)
            #expect(progress.counted == 160)
            #expect(progress.countedErrors == result.run.counted.count { $0.kind == .status })
        }

        @Test func whatTakesTooLongTimesOut() throws {
            var behaviour = Behaviour()
            behaviour.delayNanoseconds = 2000 * millisecond
            behaviour.slow = .every(2)  // at once
            var test = TestRun(behaviour)
            test.rate = 40
            test.nanoseconds = 500 * millisecond
            test.warmup = 0
            test.change = {
                $0.connections = 20
                $0.timeoutNanoseconds = 300 * millisecond
            }
            let result = try test.run { $0.abandoned == 10 }
            result.expectComplete()
            #expect(result.truth.requests == 20)
            #expect(result.truth.abandoned == 10)
            #expect(result.count(.timeout) == 10)
            #expect(result.count(.success) == 10)
            #expect(result.run.reconnections == 10)
            // And the one that asked whether all have hung up.
            #expect(result.truth.connections == 30 + 1)
            for outcome in result.run.outcomes where outcome.kind == .timeout {
                #expect(outcome.service + 16 >= 300 * millisecond)
                #expect(outcome.status == 0)
            }
            // Latencies are those of successes.
            #expect(result.run.latency.totalCount == 10)
        }

        /// The first holds the only connection until it times out; by then those that were due with it have waited as long.
        @Test func whatWaitsTooLongTimesOutUnsent() throws {
            var behaviour = Behaviour()
            behaviour.delayNanoseconds = 10_000 * millisecond
            var test = TestRun(behaviour)
            test.arrival = .bursts(size: 10)
            test.rate = 100
            test.nanoseconds = 100 * millisecond
            test.warmup = 0
            test.change = {
                $0.connections = 1
                $0.timeoutNanoseconds = 60 * millisecond
            }
            let progress = LoadProgress()
            let result = try test.run(progress: progress) { $0.abandoned >= 1 }
            result.expectComplete()
            #expect(result.run.outcomes.count == 10)
            #expect(result.count(.timeout) == 10)
            let unsent = result.run.outcomes.filter { $0.service == 0 }
            #expect(result.truth.requests == 10 - unsent.count)
            #expect(!unsent.isEmpty)
            #expect(result.run.outcomes.allSatisfy { $0.latency + 64 >= 60 * millisecond })
            #expect(unsent.allSatisfy { $0.wait + $0.lag + 64 >= 60 * millisecond })
            #expect(progress.done == 10)
            #expect(progress.errors == 10)
        }

        @Test func aServerThatGoesAwayEndsNothingButTheSuccesses() throws {
            let server = try RemovableServer(Behaviour())
            var test = TestRun()
            test.rate = 200
            test.nanoseconds = 700 * millisecond
            let schedule = try test.schedule
            var plan = LoadPlan(
                target: server.target, mode: .open(schedule), requests: TestRun.requests(test.requestCount))
            plan.connections = 3
            plan.timeoutNanoseconds = 200 * millisecond
            let run = try withWatchdog {
                try LoadRun.run(
                    plan, disturbances: [Interruption(at: 300 * millisecond) { server.remove() }])
            }
            run.expectComplete(schedule.instants)
            let gone = try #require(run.marks.first)
            #expect(run.outcomes.allSatisfy { [.success, .closed, .timeout].contains($0.kind) })
            #expect(run.outcomes.contains { $0.kind == .success })
            #expect(run.outcomes.contains { $0.kind == .timeout })
            #expect(run.outcomes.filter { $0.scheduled > gone.end }.allSatisfy { $0.kind != .success })
            #expect(run.reconnections >= 1)
        }

        @Test func aServerThatIsNotThereIsNamed() throws {
            // A port that was somebody's a moment ago.
            let port = try InjectedServer().port
            let target = try Target("http://127.0.0.1:\(port)/v1/retrieve")
            var test = TestRun()
            test.rate = 10
            let plan = LoadPlan(target: target, mode: .open(try test.schedule), requests: TestRun.requests(1))
            do {
                _ = try withWatchdog { try LoadRun.run(plan) }
                Issue.record("nobody listens there")
            } catch {
                guard case .failed(let text) = error as? LoadTestError else {
                    Issue.record("\(error)")
                    return
                }
                #expect(text.contains("http://127.0.0.1:\(port)/v1/retrieve"))
                #expect(text.contains("Connection refused"))
            }
        }

        @Test func plansWithoutSenseAreRefused() throws {
            let server = try InjectedServer()
            server.start()
            let good = try TestRun().plan(server)
            let changes: [(inout LoadPlan) -> Void] = [
                { $0.requests = [] }, { $0.threads = 0 }, { $0.threads = 5 }, { $0.connections = 0 },
            ]
            for change in changes {
                var plan = good
                change(&plan)
                do {
                    _ = try withWatchdog { try LoadRun.run(plan) }
                    Issue.record("a plan without sense was run")
                } catch {
                    guard case .usage = error as? LoadTestError else {
                        Issue.record("\(error)")
                        continue
                    }
                }
            }
        }

        // MARK: Samples

        @Test func aShareOfClientsHangsUp() throws {
            var behaviour = Behaviour()
            // Nobody is answered before the server can see that nobody is there.
            behaviour.delayNanoseconds = 100 * millisecond
            var test = TestRun(behaviour)
            test.nanoseconds = 200 * millisecond
            test.seed = 11
            test.change = {
                $0.disconnectShare = 0.2
                $0.connections = 64
            }
            let expected = Sample(share: 0.2, seed: 11, purpose: 2)
            let count = (0..<120).count { expected.contains($0) }
            try #require(count > 10 && count < 40)
            for threads in [1, 3] {
                var again = test
                let change = test.change
                again.change = {
                    change(&$0)
                    $0.threads = threads
                }
                let progress = LoadProgress()
                let result = try again.run(progress: progress) { $0.abandoned == count }
                result.expectComplete()
                let abandoned = result.run.outcomes.indices.filter { result.run.outcomes[$0].kind == .abandoned }
                #expect(abandoned == (0..<120).filter { expected.contains($0) })
                #expect(result.count(.success) == 120 - count)
                #expect(result.truth.abandoned == count)
                #expect(result.truth.requests == 120)
                #expect(result.run.reconnections == count)
                // On purpose is no error.
                #expect(progress.errors == 0)
            }
        }

        @Test func theSameRepliesAreKept() throws {
            var test = TestRun()
            test.seed = 5
            test.change = { $0.keptShare = 0.3 }
            let first = try test.run()
            let second = try test.run()
            test.seed = 6
            let other = try test.run()
            test.seed = 5
            test.change = {
                $0.keptShare = 0.3
                $0.threads = 3
            }
            let threaded = try test.run()
            let sample = Sample(share: 0.3, seed: 5, purpose: 1)
            let expected = (40..<200).filter { sample.contains($0) }
            try #require(expected.count > 25 && expected.count < 75)
            #expect(first.run.kept.map(\.outcome) == expected)
            #expect(second.run.kept.map(\.outcome) == expected)
            #expect(threaded.run.kept.map(\.outcome).sorted() == expected)
            #expect(other.run.kept.map(\.outcome) != expected)
            #expect(first.run.keptShare == Double(expected.count) / 160)
            for result in [first, second, threaded] {
                for kept in result.run.kept { #expect(kept.request == kept.outcome % 64) }
            }
        }

        @Test func keptBodiesAreWhatTheServerSends() throws {
            let server = try InjectedServer()
            server.start()
            var test = TestRun()
            test.requestCount = 50
            test.change = {
                $0.keptShare = 1
                $0.threads = 2
            }
            let plan = try test.plan(server)
            let run = try withWatchdog { try LoadRun.run(plan) }
            #expect(run.kept.count == 160)
            #expect(run.keptShare == 1)
            let client = ControlClient(plan.target)
            let bodies = try plan.requests.map { try client.send("POST", "/v1/retrieve", body: $0.body).body }
            #expect(Set(bodies).count == 50)
            for kept in run.kept { #expect(kept.body == bodies[kept.request]) }
            #expect(Set(run.kept.map(\.outcome)) == Set(40..<200))
        }

        @Test func largeRepliesAndGetRequests() throws {
            var behaviour = Behaviour()
            behaviour.bodyByteCount = 300_000
            var test = TestRun(behaviour)
            test.rate = 100
            test.change = {
                $0.method = "GET"
                $0.target = try! Target("http://\($0.target.authority)/", defaultPath: "/")
                $0.requests = [LoadRequest(body: "", k: 0)]
                $0.keptShare = 1
            }
            let result = try test.run()
            result.expectComplete()
            #expect(result.count(.success) == 50)
            #expect(result.truth.requests == 50)
            #expect(result.run.snapshots.isEmpty)
            #expect(result.run.kept.allSatisfy { $0.body == [UInt8](repeating: UInt8(ascii: "x"), count: 300_000) })
        }

        // MARK: Threads and modes

        @Test func threadsShareOneSchedule() throws {
            var test = TestRun()
            test.arrival = .poisson
            let one = try test.run()
            test.change = {
                $0.threads = 3
                $0.connections = 7
                $0.keptShare = 1
            }
            let three = try test.run()
            one.expectComplete()
            three.expectComplete()
            #expect(one.instants == three.instants)
            #expect(three.truth.connections == 7)
            #expect(three.truth.requests == three.instants.count)
            #expect(three.count(.success) == three.instants.count)
            #expect(one.count(.success) == one.instants.count)
            for kept in three.run.kept {
                #expect(kept.request == kept.outcome % 64)
                #expect(String(decoding: kept.body, as: UTF8.self).contains("\"r-\(kept.request)\""))
            }
        }

        @Test func aClosedLoopHasNoSchedule() throws {
            var behaviour = Behaviour()
            behaviour.delayNanoseconds = 5 * millisecond
            var test = TestRun(behaviour)
            test.change = {
                $0.mode = .closed(warmupNanoseconds: 100 * millisecond, nanoseconds: 300 * millisecond)
                $0.threads = 2
                $0.connections = 5
                $0.keptShare = 1
            }
            let result = try test.run()
            #expect(!result.run.isOpenLoop)
            #expect(!result.run.isCut)
            #expect(result.run.scheduledRate == 0)
            #expect(result.run.warmupEnd == 100 * millisecond)
            #expect(result.run.end == 400 * millisecond)
            #expect(result.run.outcomes.allSatisfy { $0.kind == .success && $0.lag == 0 && $0.wait == 0 })
            #expect(result.run.outcomes.allSatisfy { $0.service + 16 >= 5 * millisecond })
            #expect(result.run.outcomes.allSatisfy { $0.scheduled < 400 * millisecond })
            #expect(result.truth.requests == result.run.outcomes.count)
            #expect(result.truth.connections == 5)
            // Each of five connections sends at most every 5 ms.
            #expect(result.run.outcomes.count <= 5 * 80)
            #expect(result.run.outcomes.count >= 5)
            #expect(result.run.outcomes.map(\.scheduled) == result.run.outcomes.map(\.scheduled).sorted())
            #expect(result.run.latency.totalCount == UInt64(result.run.counted.count))
            // By threads, each thread's in its order: request i of thread t is request 2 i + t.
            for kept in result.run.kept {
                #expect(String(decoding: kept.body, as: UTF8.self).contains("\"r-\(kept.request)\""))
            }
        }

        @Test func aRunCanBeStopped() throws {
            for isClosed in [false, true] {
                var behaviour = Behaviour()
                behaviour.delayNanoseconds = millisecond
                var test = TestRun(behaviour)
                test.nanoseconds = 60_000 * millisecond
                let change: (inout LoadPlan) -> Void = {
                    if isClosed {
                        $0.mode = .closed(warmupNanoseconds: 0, nanoseconds: 60_000 * millisecond)
                    }
                }
                test.change = change
                let progress = LoadProgress()
                let result = try test.run(
                    progress: progress,
                    disturbances: { _ in [Interruption(at: 250 * millisecond) { progress.stop() }] })
                #expect(result.run.isCut)
                #expect(result.count(.pending) == 0)
                #expect(result.truth.requests == result.run.outcomes.count)
                #expect(result.run.end < 60_000 * millisecond)
                #expect(result.run.end >= 250 * millisecond)
                #expect(result.run.outcomes.allSatisfy { $0.kind == .success && $0.scheduled <= result.run.end })
                if !isClosed {
                    // What was due before the stop was sent; nothing is missing in between.
                    #expect(
                        result.run.outcomes.map(\.scheduled)
                            == Array(result.instants.prefix(result.run.outcomes.count)))
                    #expect(result.run.scheduledRate > 0)
                }
            }
        }

        /// Waiting requests that were due before the stop are part of what the stopped run says: the slow ones are among them.
        @Test func aStopKeepsWhatWasDue() throws {
            var behaviour = Behaviour()
            behaviour.delayNanoseconds = 20 * millisecond
            behaviour.isSerial = true
            var test = TestRun(behaviour)
            test.arrival = .bursts(size: 20)
            test.rate = 20
            test.nanoseconds = 10_000 * millisecond
            test.warmup = 0
            test.change = { $0.connections = 1 }
            let progress = LoadProgress()
            let result = try test.run(
                progress: progress, disturbances: { _ in [Interruption(at: 100 * millisecond) { progress.stop() }] })
            #expect(result.run.isCut)
            #expect(result.run.outcomes.count >= 20)
            #expect(result.run.outcomes.count % 20 == 0)
            #expect(result.run.outcomes[19].latency + 64 >= 400 * millisecond)
        }

        /// Whoever stops a run because the server died has to see the requests that nobody took.
        @Test func aStopKeepsWhatNobodyTook() throws {
            let server = try RemovableServer(Behaviour())
            var test = TestRun()
            test.rate = 200
            test.nanoseconds = 60_000 * millisecond
            let schedule = try test.schedule
            var plan = LoadPlan(
                target: server.target, mode: .open(schedule), requests: TestRun.requests(test.requestCount))
            plan.connections = 2
            let progress = LoadProgress()
            let run = try withWatchdog {
                try LoadRun.run(
                    plan, progress: progress,
                    disturbances: [
                        Interruption(at: 150 * millisecond) { server.remove() },
                        Interruption(at: 800 * millisecond) { progress.stop() },
                    ])
            }
            #expect(run.isCut)
            let gone = run.marks[0].end
            let count = run.outcomes.count
            #expect(run.outcomes.map(\.scheduled) == Array(schedule.instants.prefix(count)))
            // 130 were due in that time, the two connections account for two.
            let unsent = run.outcomes.filter { $0.scheduled > gone }
            #expect(unsent.count > 10)
            #expect(unsent.allSatisfy { $0.kind == .closed && $0.service == 0 && $0.wait > 0 })
            #expect(progress.done == count)
        }
    }
}
