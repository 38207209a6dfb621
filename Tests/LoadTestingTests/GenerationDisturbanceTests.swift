import Foundation
import InjectedServer
import Synchronization
import Testing

@testable import LoadTesting

extension GenerationTests {
    /// What is done to the server while a run lasts, and the client that is not measured.
    @Suite(.serialized) struct Disturbances {
        // MARK: Snapshots

        private func swapping(_ snapshots: [String], of behaviour: Behaviour = Behaviour()) throws -> TestRun.Result {
            var behaviour = behaviour
            behaviour.activationNanoseconds = 20 * millisecond
            var test = TestRun(behaviour)
            test.nanoseconds = 600 * millisecond
            test.change = { $0.connections = 2 }
            return try test.run(disturbances: { server in
                [
                    try SnapshotSwaps(
                        admin: try TestRun.target(server), snapshots: snapshots, first: 150 * millisecond,
                        every: 150 * millisecond, until: 700 * millisecond, settle: millisecond)
                ]
            })
        }

        @Test func swapsAreMarkedAndSeen() throws {
            let result = try swapping(["s2", "s1"])
            result.expectComplete()
            #expect(result.count(.success) == result.instants.count)
            let marks = result.run.marks
            try #require(!marks.isEmpty)
            // At 150, 300, 450 and 600 ms; a late thread skips none, it only comes later.
            #expect(marks.count <= 4)
            #expect(result.truth.administrative == marks.count)
            for (index, mark) in marks.enumerated() {
                #expect(mark.kind == "swap")
                #expect(mark.fault == nil)
                #expect(mark.label == (index % 2 == 0 ? "s2" : "s1"))
                #expect(mark.start >= UInt64(index + 1) * 150 * millisecond)
                // The server's answer and what it takes to settle.
                #expect(mark.end >= mark.start + 21 * millisecond)
            }
            #expect(result.run.snapshots == ["s1", "s2"])
            var seen = [0, 0]
            for outcome in result.run.outcomes {
                let sent = outcome.scheduled + outcome.lag + outcome.wait
                let done = outcome.scheduled + outcome.latency + 64
                #expect(outcome.snapshot < 2)
                // Wholly between two swaps: what serves is known.
                let before = marks.lastIndex { $0.end < sent }
                let after = marks.firstIndex { $0.start > done } ?? marks.count
                if after == (before ?? -1) + 1 {
                    let expected: UInt8 = before.map { marks[$0].label == "s2" ? 1 : 0 } ?? 0
                    #expect(outcome.snapshot == expected)
                    seen[Int(expected)] += 1
                }
            }
            #expect(seen[0] > 20)
            #expect(seen[1] > 0)
        }

        @Test func idsAreAskedForWhereNoneAreGiven() throws {
            var behaviour = Behaviour()
            behaviour.snapshots = ["old", "new", "newer"]
            let result = try swapping([], of: behaviour)
            let marks = result.run.marks
            // One request more: the list.
            #expect(result.truth.administrative == marks.count + 1)
            #expect(marks.allSatisfy { $0.fault == nil })
            #expect(Set(marks.map(\.label)).isSubset(of: ["old", "new", "newer"]))
            // What serves already is no swap to begin with.
            #expect(marks.first?.label == "new")
        }

        @Test func aRefusedActivationIsMarked() throws {
            let result = try swapping(["nothing", "s2"])
            result.expectComplete()
            let first = try #require(result.run.marks.first)
            #expect(first.label == "nothing")
            #expect(first.fault?.contains("status 409") == true)
            #expect(first.fault?.contains("unknown-snapshot") == true)
            for mark in result.run.marks { #expect((mark.fault == nil) == (mark.label == "s2")) }
        }

        @Test func swapsNeedTwoSnapshotsAndAnAdminPlane() throws {
            var behaviour = Behaviour()
            behaviour.snapshots = ["lonely"]
            let server = try InjectedServer(behaviour)
            server.start()
            func refusal(_ admin: Target, _ snapshots: [String], every: UInt64 = 1) -> LoadTestError? {
                do {
                    _ = try SnapshotSwaps(
                        admin: admin, snapshots: snapshots, first: 0, every: every, until: 1, settle: 0)
                    return nil
                } catch {
                    return error
                }
            }
            let target = try TestRun.target(server)
            guard case .usage(let text)? = refusal(target, []) else {
                Issue.record("one snapshot is enough for a swap")
                return
            }
            #expect(text.contains("lonely"))
            guard case .usage? = refusal(target, ["a", "a"]), case .usage? = refusal(target, ["a", "b"], every: 0)
            else {
                Issue.record("swaps without sense were taken")
                return
            }
            #expect(refusal(target, ["a", "b"]) == nil)

            let plain = try ScriptedServer([
                [.send("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")],
                [.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
                [.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")],
            ])
            guard case .failed(let missing)? = refusal(plain.target, []),
                case .failed(let noJSON)? = refusal(plain.target, []),
                case .failed(let noList)? = refusal(plain.target, [])
            else {
                Issue.record("an admin plane that is none was taken")
                return
            }
            #expect(missing.contains("GET /v1/snapshots") && missing.contains("404"))
            #expect(missing.contains(plain.target.authority))
            #expect(noJSON.contains("GET /v1/snapshots"))
            #expect(noList.contains("snapshots"))
            guard case .failed(let nobody)? = refusal(try Target("unix:/nowhere/admin.socket"), []) else {
                Issue.record("nobody listens there")
                return
            }
            #expect(nobody.contains("unix:/nowhere/admin.socket"))
        }

        @Test func snapshotNamesAreFound() {
            func name(_ text: String) -> String { SnapshotNames.name(in: Array(text.utf8)) }
            #expect(name(#"{"snapshot":{"model":"m","id":"s-1","space_id":"x"},"items":[]}"#) == "s-1")
            #expect(name(#"{ "request_id" : "r", "snapshot" : { "id" : "s 2" } }"#) == "s 2")
            #expect(name(#"{"request_id":"id","snapshot":{"space_id":"x","id":"s3"}}"#) == "s3")
            for none in [
                "", "{", #"{"snapshot"#, #"{"snapshot""#, #"{"snapshot":{"id""#, #"{"snapshot":{"id":"#,
                #"{"snapshot":{"id":""#, #"{"snapshot":{"id":"open"#, #"{"snapshot":{"id":7}}"#,
                #"{"snapshot":{"id":""}}"#, #"{"items":[{"id":"a"}]}"#, #"{"snapshot":{"id"   "#,
            ] {
                #expect(name(none) == "", "\(none)")
            }
            // Only the first bytes are looked at.
            let far = #"{"x":""# + String(repeating: "y", count: 2000) + #"","snapshot":{"id":"s"}}"#
            #expect(name(far) == "")
            var names = SnapshotNames()
            func find(_ id: Int) -> UInt8 {
                Array("{\"snapshot\":{\"id\":\"\(id)\"}}".utf8).withUnsafeBytes { names.find(in: $0) }
            }
            #expect([find(0), find(1), find(0), find(1), find(1)] == [0, 1, 0, 1, 1])
            for id in 2..<255 { #expect(find(id) == UInt8(id)) }
            // 255 means none.
            #expect(find(255) == 255)
            #expect(find(254) == 254)
            #expect(names.names.count == 255)
        }

        /// A snapshot that one thread meets first and another last is one snapshot.
        @Test func threadsAgreeOnSnapshots() throws {
            var behaviour = Behaviour()
            behaviour.snapshots = ["a", "b"]
            var test = TestRun(behaviour)
            test.change = {
                $0.threads = 2
                $0.connections = 4
                $0.keptShare = 1
            }
            let result = try test.run(disturbances: { server in
                [
                    try SnapshotSwaps(
                        admin: try TestRun.target(server), snapshots: ["b", "a"], first: 120 * millisecond,
                        every: 60 * millisecond, until: 450 * millisecond, settle: 0)
                ]
            })
            for kept in result.run.kept {
                let seen = result.run.snapshots[Int(result.run.outcomes[kept.outcome].snapshot)]
                #expect(seen == SnapshotNames.name(in: kept.body))
            }
            #expect(result.run.snapshots.sorted() == ["a", "b"])
        }

        // MARK: Slow clients

        @Test func slowClientsAreNotCounted() throws {
            let result = try TestRun().run(disturbances: { server in
                [SlowClients(target: try TestRun.target(server), count: 5, request: TestRun.requests(1)[0])]
            })
            result.expectComplete()
            #expect(result.count(.success) == 200)
            // At a byte every 50 ms none of theirs is whole.
            #expect(result.truth.requests == 200)
            #expect(result.truth.connections == 4 + 5)
            let mark = try #require(result.run.marks.first)
            #expect(mark.kind == "slow clients")
            #expect(mark.label == "5 clients, 0 closed by the server")
            #expect(mark.fault == nil)
        }

        @Test func slowClientsThatAreThrownOutComeAgain() throws {
            // Closed after their first byte.
            let impatient = try ScriptedServer([[ScriptedServer.Step]](repeating: [], count: 1000))
            let clients = SlowClients(target: impatient.target, count: 3, request: TestRun.requests(1)[0])
            let start = monotonicNanoseconds()
            let marks = withWatchdog {
                clients.act(
                    clock: { monotonicNanoseconds() - start },
                    isOver: { impatient.connectionCount >= 7 })
            }
            let label = try #require(marks.first?.label)
            let closed = try #require(Int(label.split(separator: " ")[2]))
            #expect(label.hasPrefix("3 clients, "))
            #expect(closed >= 1)
        }

        // MARK: The client that is not measured

        @Test func theControlClientKeepsItsConnection() throws {
            let server = try InjectedServer()
            server.start()
            let client = ControlClient(try TestRun.target(server))
            for _ in 0..<5 { #expect(try client.send("GET", "/").text == "ok") }
            let answer = try client.send("POST", "/v1/retrieve", body: #"{"request_id":"r","user":{"id":"u"},"k":2}"#)
            #expect(answer.status == 200)
            #expect(answer.text.hasPrefix(#"{"request_id":"r","#))
            #expect(try client.send("GET", "/nothing").status == 404)
            #expect(try client.send("GET", "/readyz").status == 204)
            #expect(server.stop().connections == 1)
        }

        @Test(arguments: [
            Behaviour.Oddity.chunked, .split, .closing, .untilClose,
        ]) func theControlClientTakesEveryForm(_ oddity: Behaviour.Oddity) throws {
            var behaviour = Behaviour()
            behaviour.bodyByteCount = 700
            behaviour.odd = [.init(share: .every(2), oddity: oddity)]
            let server = try InjectedServer(behaviour)
            server.start()
            let client = ControlClient(try TestRun.target(server))
            for _ in 0..<6 {
                let reply = try client.send("GET", "/")
                #expect(reply.status == 200)
                #expect(reply.text == String(repeating: "x", count: 700))
            }
            let truth = server.stop()
            #expect(truth.requests == 6)
            #expect(truth.connections == ([.chunked, .split].contains(oddity) ? 1 : 3))
        }

        private static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

        @Test func theControlClientOpensAgainWhatWasClosed() throws {
            let server = try ScriptedServer([
                [.send(Self.ok), .send(Self.ok)],  // then the end, before a third request
                [.send(Self.ok), .close],  // the end in place of a reply
                [.send(Self.ok)],
            ])
            let client = ControlClient(server.target, timeoutSeconds: 20)
            for _ in 0..<4 { #expect(try client.send("GET", "/").text == "ok") }
            #expect(server.connectionCount == 3)
        }

        @Test func theControlClientTellsWhatWentWrong() throws {
            let server = try ScriptedServer([
                [.close], [.send("no such protocol\r\n\r\n")],
                [.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")],
            ])
            let client = ControlClient(server.target, timeoutSeconds: 20)
            var texts: [String] = []
            for _ in 0..<3 {
                do throws(LoadTestError) {
                    _ = try client.send("GET", "/")
                    Issue.record("that is no reply")
                } catch {
                    guard case .failed(let text) = error else {
                        Issue.record("\(error)")
                        return
                    }
                    texts.append(text)
                }
            }
            #expect(texts.allSatisfy { $0.hasPrefix("\(server.target): ") })
            #expect(texts[0].contains("the connection was closed"))
            #expect(texts[1].contains("the reply is no HTTP"))
            #expect(texts[2].contains("the connection was closed"))
        }

        /// What takes too long has arrived all the same: sending it again would do it twice.
        @Test func theControlClientSendsNothingTwiceThatTookTooLong() throws {
            let server = try ScriptedServer([
                [.send(Self.ok), .wait], [.send(Self.ok)],
            ])
            let client = ControlClient(server.target, timeoutSeconds: 1)
            #expect(try client.send("POST", "/1", body: "{}").text == "ok")
            #expect(throws: LoadTestError.self) { try client.send("POST", "/2", body: "{}") }
            #expect(try client.send("POST", "/3", body: "{}").text == "ok")
            #expect(server.requests.map { String($0.prefix(7)) } == ["POST /1", "POST /2", "POST /3"])
        }
    }
}

/// A server that answers each connection's requests as it was told, one connection after the other.
final class ScriptedServer: Sendable {
    enum Step: Sendable {
        case send(String)
        case close
        /// Nothing, until the client hangs up.
        case wait
    }

    let target: Target
    private let listener: Int32
    private let seen = Mutex<(connections: Int, requests: [String])>((0, []))

    /// A connection ends with the last of its steps, without reading a further request.
    init(_ connections: [[Step]]) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 100) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        try #require(isBound)
        self.listener = listener
        target = try Target("http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))")
        // The thread keeps the server until all is said; a test that leaves steps unused leaves it waiting.
        Foundation.Thread.detachNewThread { [self] in
            for steps in connections {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else { break }
                seen.withLock { $0.connections += 1 }
                play(steps, descriptor)
                close(descriptor)
            }
            close(listener)
        }
    }

    var connectionCount: Int { seen.withLock { $0.connections } }
    var requests: [String] { seen.withLock { $0.requests } }

    private func play(_ steps: [Step], _ descriptor: Int32) {
        for step in steps {
            guard let request = read(descriptor) else { return }
            seen.withLock { $0.requests.append(request) }
            switch step {
            case .send(let text): _ = text.withCString { send(descriptor, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
            case .close: return
            case .wait:
                _ = read(descriptor)
                return
            }
        }
    }

    /// A request, whose body has no line ends; nil at the end of the connection.
    private func read(_ descriptor: Int32) -> String? {
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            text += String(decoding: buffer[..<count], as: UTF8.self)
            if text.hasSuffix("\r\n\r\n") || text.hasSuffix("}") { return text }
        }
    }
}
