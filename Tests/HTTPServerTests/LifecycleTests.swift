import Foundation
import Glibc
import HTTPServer
import Memory
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct LifecycleTests {
    private let info = "GET /info HTTP/1.1\r\nHost: x\r\n\r\n"
    private let slow = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"

    private func server(on address: ListenAddress) -> HTTPServer {
        HTTPServer(configuration: HTTPConfiguration(address: address)) { _ in { $0.reply.append("other") } }
    }

    private func temporarySocketPath() -> String {
        FileManager.default.temporaryDirectory
            .appendingPathComponent("belfry-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))").path
    }

    @Test func picksAFreePort() throws {
        let first = try TestServer(workers: 2)
        let second = try TestServer("127.0.0.1:0", workers: 2)
        let ports = [first.address.port, second.address.port]
        #expect(ports[0] != 0 && ports[1] != 0 && ports[0] != ports[1])
        #expect(try second.client().exchange(info).status == 200)
    }

    @Test func refusesASecondServerOnTheSameAddress() throws {
        let first = try TestServer(workers: 2)
        let expected = HTTPServerError.servedAlready(first.address)
        #expect(throws: expected) { try server(on: first.address).start() }
        #expect("\(expected)" == "\(first.address) is already served by another belfry; stop it or listen elsewhere")
        // All addresses include this one; the lock has another name, but the port is taken.
        let everywhere = ListenAddress.ipv4(host: "0.0.0.0", port: first.address.port!)
        #expect(throws: HTTPServerError.addressInUse(everywhere)) { try server(on: everywhere).start() }
        #expect(try first.client().exchange(info).status == 200)
    }

    @Test(arguments: [false, true]) func refusesAnAddressThatAnotherProgramHas(_ isShared: Bool) throws {
        let other = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(other) }
        var one: Int32 = 1
        // A program of the same user that shares its port would get half of our connections.
        if isShared { setsockopt(other, SOL_SOCKET, SO_REUSEPORT, &one, 4) }
        var raw = sockaddr_in()
        raw.sin_family = sa_family_t(AF_INET)
        inet_pton(AF_INET, "127.0.0.1", &raw.sin_addr)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &raw) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                #expect(bind(other, $0, length) == 0 && listen(other, 1) == 0)
                #expect(getsockname(other, $0, &length) == 0)
            }
        }
        let address = ListenAddress.ipv4(host: "127.0.0.1", port: UInt16(bigEndian: raw.sin_port))
        #expect(throws: HTTPServerError.addressInUse(address)) { try server(on: address).start() }
    }

    /// A worker that polls keeps its core for as long as it was told to, and then sleeps.
    @Test func pollsAndThenSleeps() throws {
        let polling = try TestServer(idlePollMicros: 100_000)
        let client = try polling.client()
        #expect(try client.exchange(info).status == 200)
        let afterReply = processorSeconds()
        usleep(400_000)
        let polled = processorSeconds() - afterReply
        #expect(polled > 0.01 && polled < 0.3, "\(polled) s of processor time in 0.4 s, of which 0.1 s of polling")
        #expect(try client.exchange(info).status == 200)

        let sleeping = try TestServer()
        let other = try sleeping.client()
        #expect(try other.exchange(info).status == 200)
        usleep(200_000)  // the first server's worker sleeps by now
        let before = processorSeconds()
        usleep(400_000)
        #expect(processorSeconds() - before < 0.01)
    }

    private func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    @Test func freesTheAddressWhenStopped() throws {
        let first = try TestServer(workers: 2)
        let client = try first.client()
        #expect(try client.exchange(info).status == 200)
        first.server.stop()
        first.server.stop()
        first.server.drain(timeout: .seconds(1))
        #expect(first.server.boundAddress == nil)
        #expect(client.isClosedByServer())
        #expect(throws: TestClient.Failure.connect(ECONNREFUSED)) { try TestClient(first.address) }
        #expect(throws: HTTPServerError.startedBefore) { try first.server.start() }
        // The closed connection is still winding down in the kernel.
        let next = try TestServer("\(first.address)", workers: 2)
        #expect(try next.client().exchange(info).status == 200)
        #expect(first.server.counters.requests == 1)
    }

    @Test func freesTheAddressWhenForgotten() throws {
        var first: TestServer? = try TestServer()
        let address = try #require(first?.address)
        first = nil
        _ = try TestServer("\(address)")
    }

    @Test func servesIPv6() throws {
        let server = try TestServer("[::1]:0")
        #expect(try server.client().exchange(info).status == 200)
        #expect("\(server.address)".hasPrefix("[::1]:"))
    }

    @Test func servesAUnixSocket() throws {
        let path = temporarySocketPath()
        let address = ListenAddress.unix(path: path)
        let first = try TestServer("unix:\(path)", workers: 2)
        #expect(first.address == address)
        for _ in 0..<20 { #expect(try first.client().exchange(info).text == "GET /info query=none x=none") }
        #expect(throws: HTTPServerError.servedAlready(address)) { try server(on: address).start() }
        // Another spelling of the same file.
        let file = URL(fileURLWithPath: path)
        let folder = file.deletingLastPathComponent()
        let detour = ListenAddress.unix(path: "\(folder.path)/../\(folder.lastPathComponent)/\(file.lastPathComponent)")
        #expect(throws: HTTPServerError.servedAlready(detour)) { try server(on: detour).start() }
        first.server.drain(timeout: .seconds(5))
        #expect(access(path, F_OK) != 0)
        #expect(throws: TestClient.Failure.connect(ENOENT)) { try TestClient(address) }
    }

    @Test func replacesOnlyADeadUnixSocket() throws {
        let path = temporarySocketPath()
        defer { unlink(path) }
        let address = ListenAddress.unix(path: path)
        close(open(path, O_CREAT | O_WRONLY, 0o600))
        #expect(throws: HTTPServerError.notASocket(path: path)) { try server(on: address).start() }
        unlink(path)

        let other = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var raw = sockaddr_un()
        raw.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &raw.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        withUnsafePointer(to: &raw) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                #expect(bind(other, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0 && listen(other, 1) == 0)
            }
        }
        #expect(throws: HTTPServerError.addressInUse(address)) { try server(on: address).start() }
        close(other)  // and the file stays, as after kill -9
        let mine = try TestServer("unix:\(path)")
        #expect(try mine.client().exchange(info).status == 200)
    }

    @Test func saysWhyItCannotListen() throws {
        let elsewhere = ListenAddress.ipv4(host: "192.0.2.1", port: 8080)
        #expect(throws: HTTPServerError.addressNotAvailable(elsewhere)) { try server(on: elsewhere).start() }
        let nowhere = ListenAddress.unix(path: "/nowhere/socket")
        #expect(throws: HTTPServerError.addressNotAvailable(nowhere)) { try server(on: nowhere).start() }
        let wrong = ListenAddress.ipv4(host: "localhost", port: 1)
        #expect(throws: HTTPServerError.invalidAddress("localhost:1", reason: "localhost is not an IPv4 address")) {
            try server(on: wrong).start()
        }
    }

    @Test func namesItsThreads() throws {
        let server = try TestServer(workers: 2)
        var names: Set<String> = []
        for _ in 0..<100 where names.count < 2 {
            names.insert(try server.client().exchange("GET /thread HTTP/1.1\r\nHost: x\r\n\r\n").text)
        }
        #expect(names == ["belfry-0\n", "belfry-1\n"])
    }

    @Test func spreadsConnectionsOverWorkers() throws {
        let server = try TestServer(workers: 2)
        var counts = [0, 0]
        let clients = try (0..<200).map { _ in try server.client() }
        for client in clients {
            let worker = try client.exchange("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n").headers["worker"]
            counts[try #require(worker.flatMap { Int($0) })] += 1
        }
        // The kernel spreads by a hash: with even odds, fewer than 60 of 200 has a chance of one in a hundred million.
        #expect(counts.min()! >= 60)
    }

    @Test func drainFinishesWhatIsUnderWay() throws {
        let server = try TestServer()
        let idle = try server.client()
        #expect(try idle.exchange(info).status == 200)
        let half = try server.client()
        try half.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        #expect(server.reaches { $0.connections == 2 })
        let busy = try server.client()
        try busy.send(slow)
        usleep(100_000)  // The handler sleeps now, and this connection waits in the kernel's queue.
        let waiting = try server.client()
        try waiting.send(info)

        let drain = Thread { server.server.drain(timeout: .seconds(20)) }
        let slowReply = try busy.receive()
        #expect(slowReply.text == "slow")
        #expect(slowReply.closesConnection)
        let last = try waiting.receive()
        #expect(last.status == 200)
        #expect(idle.isClosedByServer())
        try half.send("def")
        let reply = try half.receive()
        #expect(reply.text == "abcdef")
        #expect(reply.closesConnection)
        #expect(half.isClosedByServer())
        drain.join()
        #expect(server.server.boundAddress == nil)
        #expect(throws: TestClient.Failure.connect(ECONNREFUSED)) { try TestClient(server.address) }
    }

    @Test func drainRefusesNewConnectionsAndEndsInTime() throws {
        let server = try TestServer()
        let half = try server.client()
        try half.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        #expect(server.reaches { $0.connections == 1 })
        usleep(50_000)
        let drain = Thread { server.server.drain(timeout: .milliseconds(600)) }
        usleep(300_000)
        #expect(throws: TestClient.Failure.connect(ECONNREFUSED)) { try TestClient(server.address) }
        #expect(server.server.boundAddress != nil)
        drain.join()
        #expect(half.isClosedByServer())
    }

    @Test func stopsUnderLoad() throws {
        for round in 0..<6 {
            let server = try TestServer(workers: 2)
            let isOver = Flag()
            let threads = (0..<4).map { number in
                Thread {
                    while !isOver.isSet {
                        // Connections end in any way while the server goes; only it must not crash.
                        guard let client = try? TestClient(server.address) else { continue }
                        client.setPatience(1000)
                        for _ in 0..<20 {
                            let path = number % 2 == 0 ? "/big" : "/info"
                            guard (try? client.exchange("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")) != nil else {
                                break
                            }
                        }
                    }
                }
            }
            #expect(server.reaches { $0.requests > 50 })
            if round % 2 == 0 { server.server.stop() } else { server.server.drain(timeout: .seconds(5)) }
            isOver.set()
            for thread in threads { thread.join() }
            #expect(server.server.counters.connections == 0)
        }
    }

    @Test func stopsFromSeveralThreadsAtOnce() throws {
        let server = try TestServer(workers: 2)
        let client = try server.client()
        #expect(try client.exchange(info).status == 200)
        let threads = (0..<8).map { number in
            Thread { number % 2 == 0 ? server.server.stop() : server.server.drain(timeout: .seconds(3)) }
        }
        for thread in threads { thread.join() }
        #expect(server.server.boundAddress == nil)
    }
}

private final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
}
