#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Tells systemd how the service is, by the protocol of sd_notify(3) and without its library: one datagram of `NAME=value`
/// lines to the socket that `NOTIFY_SOCKET` names. Does nothing where no such socket is named, and never fails the daemon.
/// Any thread may call it.
///
///     let notifier = ServiceNotifier(environment: ProcessInfo.processInfo.environment)
///     notifier.ready(status: "serving 20260131T1200")
public final class ServiceNotifier: Sendable {
    /// How long a call may wait for a systemd that does not read. Losing `READY` would have the service stopped.
    static let sendMicrosecondsMax = 250_000
    /// A status is one line for people.
    static let statusByteCountMax = 1024

    private let descriptor: Int32
    // The name as `sockaddr_un` has it: a path and its 0, or a 0 and an abstract name.
    private let name: [UInt8]

    /// Whether somebody is told.
    public var isEnabled: Bool { descriptor >= 0 }

    /// Reads `NOTIFY_SOCKET`: a path that begins with `/`, or `@` and an abstract name. Anything else is as if it were not set.
    public init(environment: [String: String]) {
        guard let name = ServiceNotifier.name(environment["NOTIFY_SOCKET"] ?? "") else {
            self.name = []
            descriptor = -1
            return
        }
        self.name = name
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        var wait = timeval(tv_sec: 0, tv_usec: ServiceNotifier.sendMicrosecondsMax)
        _ = setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    // MARK: Messages

    /// Start-up, or a reload, is over. Returns whether the datagram was taken, as all of these do.
    @discardableResult public func ready(status: String) -> Bool {
        send("READY=1\n" + statusLine(status))
    }

    /// What `systemctl status` shows.
    @discardableResult public func status(_ status: String) -> Bool {
        send(statusLine(status))
    }

    /// A reload begins; `ready` ends it. With the instant, which systemd compares with that of its own request.
    @discardableResult public func reloading() -> Bool {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return send("RELOADING=1\nMONOTONIC_USEC=\(now.tv_sec * 1_000_000 + now.tv_nsec / 1000)\n")
    }

    /// The service stops.
    @discardableResult public func stopping() -> Bool {
        send("STOPPING=1\n")
    }

    /// Start-up, reload or stop, whichever goes on, may take this much longer from now on.
    @discardableResult public func extendTimeout(microseconds: Int) -> Bool {
        send("EXTEND_TIMEOUT_USEC=\(max(microseconds, 0))\n")
    }

    // MARK: Sending

    private func statusLine(_ status: String) -> String {
        "STATUS=" + ServiceNotifier.line(status) + "\n"
    }

    /// The text without line ends and other control characters, which would begin another assignment, and cut to its limit.
    static func line(_ text: String) -> String {
        var line = String.UnicodeScalarView()
        var byteCount = 0
        for scalar in text.unicodeScalars {
            let clean = scalar.properties.generalCategory == .control ? " " : scalar
            byteCount += UTF8.width(clean)
            guard byteCount <= statusByteCountMax else { break }
            line.append(clean)
        }
        return String(line)
    }

    /// A socket's name in `sockaddr_un`; nil if the text is none or too long.
    private static func name(_ text: String) -> [UInt8]? {
        let bytes = Array(text.utf8)
        let capacity = MemoryLayout.size(ofValue: sockaddr_un().sun_path)
        guard bytes.count > 1, !bytes.contains(0) else { return nil }
        switch bytes[0] {
        case UInt8(ascii: "/"): return bytes.count < capacity ? bytes + [0] : nil
        case UInt8(ascii: "@"): return bytes.count <= capacity ? [0] + bytes[1...] : nil
        default: return nil
        }
    }

    private func send(_ message: String) -> Bool {
        guard descriptor >= 0 else { return false }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let length = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)! + name.count
        let bytes = Array(message.utf8)
        return withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                while true {
                    let flags = Int32(MSG_NOSIGNAL)
                    let count = sendto(descriptor, bytes, bytes.count, flags, address, socklen_t(length))
                    if count < 0 && errno == EINTR { continue }
                    return count == bytes.count
                }
            }
        }
    }
}
