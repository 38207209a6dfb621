import DaemonState
import Foundation
import HTTPServer
import ItemIndex
import Memory
import Metrics
import RetrievalAPI
import Snapshots
import Synchronization
import TestSupport
import Testing

@testable import SnapshotLife

/// Requests, swaps, rollbacks, pauses, reports and the end, all at once. Each reply has to be, byte for byte, what one of the
/// snapshots answers when it is alone; the thread and address sanitizers watch the rest.
@Suite struct SnapshotLifeStressTests {
    /// What one request may be answered, by snapshot, without pauses and with them.
    private struct Case: Sendable {
        let message: Data
        let unpaused: [String: Data]
        let paused: [String: Data]
    }

    /// Where pauses stand; grows by one with each step. Of four: resumed, being paused, paused, being resumed.
    private final class Standing: Sendable {
        let step = Atomic<Int>(0)
        let isEnding = Atomic<Bool>(false)
    }

    private final class Tally: @unchecked Sendable {
        // Guarded by `lock`.
        private let lock = NSLock()
        private var counts: [String: Int] = [:]
        private var texts: [String] = []
        func count(_ name: String) { lock.withLock { counts[name, default: 0] += 1 } }
        func fault(_ text: String) { lock.withLock { texts.append(text) } }
        var outcome: (counts: [String: Int], faults: [String]) { lock.withLock { (counts, texts) } }
    }

    private static func post(_ path: String, _ body: String) -> Data { AdminPlane.message("POST", path, body) }

    /// A snapshot alone, and what it answers.
    private static func answers(_ path: String, paused: [String], _ messages: [Data]) throws -> [Data] {
        let snapshot = try Snapshot(loading: try SnapshotFiles(path: path))
        let rows = paused.compactMap { snapshot.items.ids.row(ofText: $0) }
        let serving = Swappable<Generation>(readerCount: 1)
        serving.swap(Generation(snapshot: snapshot, workerCount: 1, pausedRows: rows))
        let readiness = Readiness()
        readiness.set(true)
        let server = HTTPServer(configuration: HTTPConfiguration(address: try ListenAddress("127.0.0.1:0"))) { worker in
            let handler = RetrievalHandler(serving: serving, reader: worker, readiness: readiness)
            return { handler.handle($0) }
        }
        try server.start()
        defer { server.stop() }
        let connection = try Connection(port: UInt16(server.boundAddress!.port!), timeout: 60)
        return try messages.map { message in
            connection.write(message)
            let reply = try connection.readReply()
            #expect(reply.status == 200, "\(String(decoding: reply.body, as: UTF8.self))")
            return reply.body
        }
    }

    /// That a reply's items and scores are those of plain arithmetic over the snapshot that it names.
    private func checkByArithmetic(_ body: String, _ reply: Data, _ path: String, ids: [String]) throws {
        let generation = Generation(snapshot: try Snapshot(loading: try SnapshotFiles(path: path)), workerCount: 1)
        let embedding = try Asker().ask(body, generation, worker: 0).embedding.map(Double.init)
        let index = generation.snapshot.index
        let scores = (0..<index.count).map { row -> Double in
            let vector = index.vector(row)
            return generation.snapshot.manifest.metric == .innerProduct
                ? zip(embedding, vector).reduce(0) { $0 + $1.0 * Double($1.1) }
                : -zip(embedding, vector).reduce(0) { $0 + ($1.0 - Double($1.1)) * ($1.0 - Double($1.1)) }
        }
        let best = (0..<index.count).sorted { scores[$0] > scores[$1] }.prefix(20)
        let json = try #require(try JSONSerialization.jsonObject(with: reply) as? [String: Any])
        #expect((json["snapshot"] as? [String: String])?["id"] == generation.snapshot.manifest.id)
        #expect(json["ids"] as? [String] == best.map { ids[$0] })
        for (got, row) in zip(try #require(json["scores"] as? [Double]), best) {
            #expect(abs(got - scores[row]) <= 1e-4 * max(1, abs(scores[row])))
        }
    }

    @Test func everyReplyBelongsToOneSnapshot() throws {
        let shelf = try Shelf(("cascade-only", "a"), ("plain", "b"))
        let ids = ["a": try shelf.itemIDs("a"), "b": try shelf.itemIDs("b")]
        let lines = try String(contentsOfFile: "\(try Fixtures.path("plain"))/warmup.jsonl", encoding: .utf8)
            .split(separator: "\n").prefix(6)
        let bodies = try lines.map { line in
            var object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            object["k"] = 20
            object["format"] = "columns"
            object["search"] = ["exact": true]
            return String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self)
        }
        let retrievals = bodies.map { Self.post("/v1/retrieve", $0) }
        let others =
            try lines.prefix(2).map { line -> Data in
                let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
                let user = try JSONSerialization.data(withJSONObject: try #require(object["user"]))
                return Self.post("/v1/embed", #"{"user":\#(String(decoding: user, as: UTF8.self))}"#)
            } + [AdminPlane.message("GET", "/v1/items/\(ids["a"]![3])")]
        let messages = retrievals + others
        var unpaused: [String: [Data]] = [:]
        for id in ["a", "b"] { unpaused[id] = try Self.answers("\(shelf.path)/\(id)", paused: [], messages) }
        for (index, body) in bodies.enumerated() {
            for id in ["a", "b"] {
                try checkByArithmetic(body, unpaused[id]![index], "\(shelf.path)/\(id)", ids: ids[id]!)
            }
        }
        // The best item of each snapshot for the first request, and one more of every other.
        var pausable: Set<String> = []
        for id in ["a", "b"] {
            for (index, rank) in [(0, 0), (1, 2), (2, 19)] {
                let json = try JSONSerialization.jsonObject(with: unpaused[id]![index]) as! [String: Any]
                pausable.insert((json["ids"] as! [String])[rank])
            }
        }
        let changing = pausable.sorted()
        var paused: [String: [Data]] = [:]
        for id in ["a", "b"] {
            paused[id] = try Self.answers("\(shelf.path)/\(id)", paused: changing, messages)
            #expect(paused[id]![0] != unpaused[id]![0] && paused[id]!.last == unpaused[id]!.last)
        }
        let cases = messages.indices.map { index in
            Case(
                message: messages[index], unpaused: unpaused.mapValues { $0[index] },
                paused: paused.mapValues { $0[index] })
        }
        try run(shelf, cases, changing)
    }

    private func run(_ shelf: Shelf, _ cases: [Case], _ changing: [String]) throws {
        let workerCount = 2
        let samples = (0..<workerCount).map { _ in RequestSample() }
        let requests = (0..<workerCount).map { _ in RequestMetrics() }
        let tested = try LifeUnderTest.started(shelf, readerCount: workerCount, samples: samples) {
            $0.keepsPrevious = true
        }
        let readiness = Readiness()
        let (serving, life) = (tested.serving, tested.life)
        let slot = Slot()
        let server = HTTPServer(
            configuration: HTTPConfiguration(
                address: try ListenAddress("127.0.0.1:0"), workers: workerCount, postponesReplies: true)
        ) { worker in
            // One of the workers sets every retrieval aside, and its searches give way whenever they can.
            var everything = LongRequests(yieldNanoseconds: 0)
            everything.searchNanosecondsMax = 0
            func makeHandler(reader: Int) -> RetrievalHandler {
                RetrievalHandler(
                    serving: serving, reader: reader, readiness: readiness,
                    longRequests: worker == 0 ? nil : everything, metrics: requests[worker], sample: samples[worker]
                ) { writer in
                    guard let server = slot.server else { return }
                    life.writeMetrics(
                        server: server, requests: requests, build: BuildInfo(version: "0", instructionSet: "none"),
                        to: &writer)
                }
            }
            let (handler, forLongOnes) = (makeHandler(reader: worker), makeHandler(reader: workerCount + worker))
            return { exchange in (exchange.isSetAside ? forLongOnes : handler).handle(exchange) }
        }
        slot.server = server
        try server.start()
        readiness.set(true)
        let admin = try AdminPlane(tested, data: server, requests: requests)
        let port = UInt16(try #require(server.boundAddress?.port))
        let (standing, tally) = (Standing(), Tally())
        let isOver = { @Sendable in standing.isEnding.load(ordering: .relaxed) }

        let clients = TestThreads(4) { number in
            Self.ask(port, cases, standing, tally, seed: UInt64(number))
        }
        let pauser = TestThreads(1) { _ in
            do {
                let pauses = life.pauses!
                while !isOver() {
                    for (change, name) in [(pauses.pause, "pauses"), (pauses.resume, "resumes")] {
                        standing.step.add(1, ordering: .sequentiallyConsistent)
                        _ = try change(changing)
                        standing.step.add(1, ordering: .sequentiallyConsistent)
                        tally.count(name)
                        usleep(2000)
                    }
                }
            } catch {
                // The state directory is closed at the end.
                if !isOver() { tally.fault("pausing: \(error)") }
            }
        }
        let reporter = TestThreads(1) { _ in
            do {
                let data = try Connection(port: port, timeout: 60)
                while !isOver() {
                    for path in ["/v1/snapshots", "/metrics"] {
                        let reply = try admin.get(path)
                        if reply.status != 200 { tally.fault("\(path): \(reply.status)") }
                    }
                    data.write(AdminPlane.message("GET", "/metrics"))
                    if try data.readReply().status != 200 { tally.fault("/metrics") }
                    tally.count("reports")
                    usleep(3000)
                }
            } catch {
                if !isOver() { tally.fault("reporting: \(error)") }
            }
        }

        let seconds = ProcessInfo.processInfo.environment["BELFRY_LONG"] == "1" ? 30.0 : 3.0
        let deadline = Date().addingTimeInterval(seconds)
        var random = SeededRandom(seed: 5)
        var swapCount = 0
        while Date() < deadline || swapCount < 6 {
            let other = life.choice.serving == "a" ? "b" : "a"
            switch random.below(5) {
            case 0, 1: #expect(try admin.post("/v1/snapshots/\(other):activate").status == 200)
            case 2:
                let status = try admin.post("/v1/snapshots:rollback").status
                #expect(status == 200 || (status == 409 && swapCount == 0))
            case 3:
                try shelf.setCurrent(other)
                try life.followCurrent().wait()
            default: #expect(try admin.post("/v1/snapshots/\(other):load").status == 200)
            }
            swapCount += 1
        }
        // The end comes while everything goes on.
        let last = life.activate(life.choice.serving == "a" ? "b" : "a")
        standing.isEnding.store(true, ordering: .sequentiallyConsistent)
        readiness.set(false)
        server.drain(timeout: .seconds(10))
        admin.server.drain(timeout: .seconds(1))
        tested.end()
        clients.join()
        pauser.join()
        reporter.join()
        #expect(eventually { last.isDone })
        let outcome = tally.outcome
        #expect(outcome.faults.isEmpty, "\(outcome.faults.prefix(4))")
        for name in ["a", "b", "a paused", "b paused", "pauses", "resumes", "reports"] {
            #expect(outcome.counts[name] ?? 0 > 0, "\(name): \(outcome.counts)")
        }
    }

    /// The data plane's server, which its own handlers report on. Set once, before the first request.
    private final class Slot: @unchecked Sendable {
        weak var server: HTTPServer?
    }

    /// One client: one connection, one request after the other, until the server ends.
    private static func ask(_ port: UInt16, _ cases: [Case], _ standing: Standing, _ tally: Tally, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        do {
            var connection = try Connection(port: port, timeout: 60)
            while true {
                if random.below(50) == 0 { connection = try Connection(port: port, timeout: 60) }
                let asked = random.element(cases)
                let before = standing.step.load(ordering: .sequentiallyConsistent)
                connection.write(asked.message)
                let reply = try connection.readReply()
                let after = standing.step.load(ordering: .sequentiallyConsistent)
                // Refused only once the server ends.
                if reply.status == 503, standing.isEnding.load(ordering: .sequentiallyConsistent) { return }
                let plain = asked.unpaused.first { $0.value == reply.body }?.key
                let reduced = asked.paused.first { $0.value == reply.body }?.key
                switch (plain, reduced) {
                case (nil, nil):
                    tally.fault(
                        "\(reply.status): no snapshot answers \(String(decoding: reply.body.prefix(300), as: UTF8.self))"
                    )
                case (let id?, nil):
                    tally.count(id)
                    if before == after, before % 4 == 2 { tally.fault("\(id) returned what is paused") }
                case (nil, let id?):
                    tally.count("\(id) paused")
                    if before == after, before % 4 == 0 { tally.fault("\(id) lacks what is resumed") }
                case (let id?, _?):
                    tally.count(id)
                }
                if reply.headers["connection"] == "close" { return }
                usleep(700)
            }
        } catch {
            if !standing.isEnding.load(ordering: .sequentiallyConsistent) { tally.fault("client: \(error)") }
        }
    }
}
