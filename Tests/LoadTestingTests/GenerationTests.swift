import Dispatch
import Foundation
import Histogram
import InjectedServer
import Synchronization
import Testing

@testable import LoadTesting

/// The parts that send requests and note what became of them. One after the other: each uses a core or two.
@Suite(.serialized) enum GenerationTests {}

let millisecond: UInt64 = 1_000_000

/// Ends the process if a run does not end: a thread that hangs cannot be cancelled.
func withWatchdog<Result>(seconds: Int = 120, _ body: () throws -> Result) rethrows -> Result {
    let bite = DispatchWorkItem { fatalError("the run did not end within \(seconds) s") }
    DispatchQueue.global().asyncAfter(deadline: .now() + .seconds(seconds), execute: bite)
    defer { bite.cancel() }
    return try body()
}

/// A plan against a server, the run and what the server says about it.
struct TestRun {
    var behaviour = Behaviour()
    var arrival = Arrival.constant
    var rate = 400.0
    var nanoseconds = 400 * millisecond
    var warmup = 100 * millisecond
    var seed: UInt64 = 1
    var requestCount = 64
    /// Called with the plan before it runs.
    var change: (inout LoadPlan) -> Void = { _ in }

    /// What a run left behind.
    struct Result {
        let run: RunResult
        let instants: [UInt64]
        let truth: Truth
        let requests: [LoadRequest]
    }

    init(_ behaviour: Behaviour = Behaviour()) {
        self.behaviour = behaviour
        // No test here needs the server to be punctual, only not to be early.
        self.behaviour.isBusyPolling = false
    }

    static func requests(_ count: Int) -> [LoadRequest] {
        (0..<count).map {
            LoadRequest(body: #"{"request_id":"r-\#($0)","user":{"id":"u\#($0)"},"k":3}"#, k: 3)
        }
    }

    static func target(_ server: InjectedServer) throws -> Target {
        try Target("http://127.0.0.1:\(server.port)")
    }

    var schedule: Schedule {
        get throws {
            try Schedule(
                arrival: arrival, phases: [.init(rate: rate, nanoseconds: nanoseconds)], warmupNanoseconds: warmup,
                seed: seed)
        }
    }

    func plan(_ server: InjectedServer) throws -> LoadPlan {
        var plan = LoadPlan(
            target: try Self.target(server), mode: .open(try schedule), requests: Self.requests(requestCount))
        plan.connections = 4
        plan.seed = seed
        change(&plan)
        return plan
    }

    func run(
        progress: LoadProgress = LoadProgress(), until isSettled: ((SeenTruth) -> Bool)? = nil,
        disturbances: (InjectedServer) throws -> [any Disturbance] = { _ in [] }
    ) throws -> Result {
        let server = try InjectedServer(behaviour)
        server.start()
        let plan = try plan(server)
        var instants: [UInt64] = []
        if case .open(let schedule) = plan.mode { instants = schedule.instants }
        let acting = try disturbances(server)
        let result = try withWatchdog { try LoadRun.run(plan, progress: progress, disturbances: acting) }
        // The server learns a little later that a client has hung up.
        if let isSettled {
            let client = ControlClient(plan.target)
            for _ in 0..<500 where !isSettled(try SeenTruth(client)) { usleep(10_000) }
        }
        return Result(run: result, instants: instants, truth: server.stop(), requests: plan.requests)
    }
}

/// The server's counters while it runs.
struct SeenTruth: Decodable {
    let connections: Int
    let requests: Int
    let replies: Int
    let abandoned: Int

    init(_ client: ControlClient) throws {
        let reply = try client.send("GET", "/truth")
        self = try JSONDecoder().decode(SeenTruth.self, from: Data(reply.body))
    }
}

extension TestRun.Result {
    func count(_ kind: OutcomeKind) -> Int { run.outcomes.count { $0.kind == kind } }

    /// Each request of the schedule has its outcome.
    func expectComplete(_ location: SourceLocation = #_sourceLocation) {
        run.expectComplete(instants, location)
    }
}

extension RunResult {
    /// Each request of the schedule has its outcome, in the order due, and the histograms hold what the outcomes say.
    func expectComplete(_ instants: [UInt64], _ location: SourceLocation = #_sourceLocation) {
        #expect(outcomes.map(\.scheduled) == instants, sourceLocation: location)
        #expect(outcomes.allSatisfy { $0.kind != .pending }, sourceLocation: location)
        #expect(!isCut, sourceLocation: location)
        let sums = outcomes.filter { $0.lag + $0.wait + $0.service != $0.latency }
        #expect(sums.isEmpty, sourceLocation: location)
        let counted = outcomes.filter { $0.scheduled >= warmupEnd }
        #expect(Array(counted.map(\.scheduled)) == counted.map(\.scheduled), sourceLocation: location)
        let successes = counted.filter { $0.kind == .success }
        #expect(latency.totalCount == UInt64(successes.count), sourceLocation: location)
        #expect(service.totalCount == UInt64(successes.count), sourceLocation: location)
        #expect(sendLag.totalCount == UInt64(counted.count), sourceLocation: location)
        #expect(connectionWait.totalCount == UInt64(counted.count), sourceLocation: location)
        expect(latency.mean, isMeanOf: successes.map(\.latency), location)
        expect(service.mean, isMeanOf: successes.map(\.service), location)
        expect(connectionWait.mean, isMeanOf: counted.map(\.wait), location)
        expect(sendLag.mean, isMeanOf: counted.map(\.lag), location)
    }

    /// Three digits of each value, and never finer than 1 us.
    private func expect(_ mean: Double, isMeanOf values: [UInt64], _ location: SourceLocation) {
        guard !values.isEmpty else { return }
        let exact = values.reduce(0.0) { $0 + Double($1) } / Double(values.count)
        #expect(abs(mean - exact) <= 0.001 * exact + 1000, sourceLocation: location)
    }
}

/// Does something once, at an instant of the run, and marks when it was done.
struct Interruption: Disturbance {
    let instant: UInt64
    let action: @Sendable () -> Void

    init(at instant: UInt64, _ action: @escaping @Sendable () -> Void) {
        self.instant = instant
        self.action = action
    }

    func act(clock: () -> UInt64, isOver: () -> Bool) -> [RunResult.Mark] {
        while !isOver(), clock() < instant || clock() >= 1 << 63 { usleep(1000) }
        let start = clock()
        action()
        return [RunResult.Mark(kind: "interruption", label: "", start: start, end: clock())]
    }
}

/// A server that can be taken away from another thread: connections and the port are gone then.
final class RemovableServer: Sendable {
    private let server: Mutex<InjectedServer?>
    let target: Target

    init(_ behaviour: Behaviour) throws {
        let made = try InjectedServer(behaviour)
        made.start()
        target = try TestRun.target(made)
        server = Mutex(made)
    }

    func remove() {
        let removed = server.withLock { server in
            let removed = server
            server = nil
            return removed
        }
        removed?.stop()
    }
}
