import Foundation
import Glibc
import ServiceNotification
import Testing

/// A socket such as systemd has.
final class NotificationSocket {
    /// What `NOTIFY_SOCKET` says.
    let name: String
    private let descriptor: Int32
    private let path: String?

    init(isAbstract: Bool) throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("belfry-\(UUID().uuidString)").path
        path = isAbstract ? nil : file
        name = isAbstract ? "@belfry-\(UUID().uuidString)" : file
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = isAbstract ? [0] + Array(name.utf8.dropFirst()) : Array(name.utf8) + [0]
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(2 + bytes.count)
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        try #require(descriptor >= 0 && status == 0)
    }

    deinit {
        close(descriptor)
        if let path { unlink(path) }
    }

    /// The next datagram; nil if there is none.
    func receive() -> String? {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
    }
}

@Suite struct ServiceNotifierTests {
    @Test(arguments: [false, true]) func saysWhatSystemdReads(isAbstract: Bool) throws {
        let socket = try NotificationSocket(isAbstract: isAbstract)
        let notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": socket.name, "OTHER": "x"])
        #expect(notifier.isEnabled)
        #expect(socket.receive() == nil)
        #expect(notifier.status("loading 20260131T1200"))
        #expect(socket.receive() == "STATUS=loading 20260131T1200\n")
        #expect(notifier.ready(status: "serving é"))
        #expect(socket.receive() == "READY=1\nSTATUS=serving é\n")
        #expect(notifier.extendTimeout(microseconds: 30_000_000))
        #expect(socket.receive() == "EXTEND_TIMEOUT_USEC=30000000\n")
        #expect(notifier.stopping())
        #expect(socket.receive() == "STOPPING=1\n")
        #expect(socket.receive() == nil)
    }

    @Test func aReloadHasItsInstant() throws {
        let socket = try NotificationSocket(isAbstract: false)
        let notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": socket.name])
        func now() -> UInt64 { DispatchTime.now().uptimeNanoseconds / 1000 }
        let before = now()
        #expect(notifier.reloading())
        let after = now()
        let lines = try #require(socket.receive()).split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 3 && lines[0] == "RELOADING=1" && lines[2] == "")
        let instant = try #require(UInt64(lines[1].dropFirst("MONOTONIC_USEC=".count)))
        #expect(lines[1].hasPrefix("MONOTONIC_USEC=") && before <= instant && instant <= after)
    }

    @Test func aStatusCannotSaySomethingElse() throws {
        let socket = try NotificationSocket(isAbstract: true)
        let notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": socket.name])
        notifier.status("refused:\nMAINPID=1\r\nSTOPPING=1\u{0}\u{1b}\u{85}x")
        #expect(socket.receive() == "STATUS=refused: MAINPID=1  STOPPING=1   x\n")
        notifier.ready(status: "\n")
        #expect(socket.receive() == "READY=1\nSTATUS= \n")
        // Cut between characters.
        notifier.status(String(repeating: "é", count: 5000))
        #expect(socket.receive() == "STATUS=" + String(repeating: "é", count: 512) + "\n")
        notifier.extendTimeout(microseconds: -5)
        #expect(socket.receive() == "EXTEND_TIMEOUT_USEC=0\n")
    }

    @Test(arguments: [
        nil, "", "/", "@", "relative", "vsock:1:2", "/" + String(repeating: "x", count: 107),
        "@" + String(repeating: "x", count: 108), "/a\u{0}b",
    ])
    func withoutASocketNothingHappens(name: String?) {
        let notifier = ServiceNotifier(environment: name.map { ["NOTIFY_SOCKET": $0] } ?? [:])
        #expect(!notifier.isEnabled)
        #expect(!notifier.ready(status: "x"))
        #expect(!notifier.reloading())
        #expect(!notifier.stopping())
    }

    @Test func namesAsLongAsTheyMayBe() throws {
        let notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": "@" + String(repeating: "x", count: 107)])
        #expect(notifier.isEnabled)
        #expect(ServiceNotifier(environment: ["NOTIFY_SOCKET": "/" + String(repeating: "x", count: 106)]).isEnabled)
    }

    @Test func nobodyIsThere() throws {
        let notifier: ServiceNotifier
        do {
            let socket = try NotificationSocket(isAbstract: false)
            notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": socket.name])
            #expect(notifier.stopping())
        }
        #expect(notifier.isEnabled)
        #expect(!notifier.stopping())
    }

    /// A systemd that does not read fills its queue; then each call gives up on its own.
    @Test func aFullQueueHoldsNobodyUp() throws {
        let socket = try NotificationSocket(isAbstract: true)
        let notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": socket.name])
        var sent = 0
        while notifier.stopping() { sent += 1 }
        #expect(sent > 0)
        while socket.receive() != nil {}
        #expect(notifier.stopping())
    }
}
