internal import ArgumentParser
internal import Glibc
internal import InjectedServer

/// `injected-server`: the server as a process of its own, so that it can be given a core of its own (`taskset`).
@main struct InjectedServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "injected-server",
        abstract: "A punctual HTTP server that is slow, wrong or gone in known ways, to hold a load tester to.",
        discussion: """
            A SHARE is 1/N for exactly every N-th request, or a fraction such as 0.01 drawn by --seed. Durations are in \
            milliseconds and may have a fraction.
            """)

    @Option(help: "The port on 127.0.0.1; 0 for any that is free.") var port: UInt16 = 0
    @Option(help: "Decides shares that are fractions.") var seed: UInt64 = 1
    @Option(help: "Milliseconds from a request to its reply.") var delay = 0.0
    @Flag(help: "One request after the other: a single-server queue whose service time is the delay.")
    var serial = false
    @Option(help: "SHARE of requests that take --slow-delay.") var slow: Share?
    @Option(help: "Milliseconds that slow requests take.") var slowDelay = 50.0
    @Option(help: "Milliseconds for which the whole server stands still; 0 for never.") var stall = 0.0
    @Option(help: "Milliseconds from one stall's start to the next one's.") var stallPeriod = 5000.0
    @Option(help: "Milliseconds from the start to the first stall.") var stallOffset = 5000.0
    @Option(help: "SHARE of requests whose connection is closed in place of a reply.") var closes: Share?
    @Option(help: "Replies with another status, SHARE:STATUS[:RETRY-AFTER]; may be given several times.")
    var refuse: [Refusal] = []
    @Option(help: "Requests per second beyond which 503 comes at once.") var capacity: Double?
    @Option(help: "How many requests the capacity lets through at once.") var capacityBurst = 10.0
    @Option(
        help: """
            Odd replies, SHARE:KIND; kinds: \(Behaviour.Oddity.allCases.map(\.rawValue).joined(separator: ", ")). May be \
            given several times.
            """)
    var odd: [Odd] = []
    @Option(help: "The size of the pieces of a split reply.") var pieceBytes = 16
    @Option(help: "Milliseconds from one piece to the next.") var pieceGap = 1.0
    @Option(help: "The size of the body of /; 0 is the text ok.") var bodyBytes = 0
    @Option(
        help: """
            Wrong answers to /v1/retrieve, SHARE:KIND; kinds: \
            \(Behaviour.RetrievalFault.allCases.map(\.rawValue).joined(separator: ", ")). May be given several times.
            """)
    var wrong: [Wrong] = []
    @Option(help: "How many of each ten of the best items are missed unless the search is exact.") var missedOfTen = 0
    @Option(help: "Ids of the snapshots, separated by commas; the first serves.") var snapshots = "s1,s2"
    @Option(help: "Milliseconds until an activation is in force.") var activation = 0.0
    @Option(help: "Milliseconds that data replies take longer while an activation lasts.") var activationBump = 0.0
    @Flag(inversion: .prefixedNo, help: "Spin instead of sleeping; by default if any reply is delayed.")
    var busyPoll: Bool?
    @Option(help: "How many exchanges GET /truth is computed from.") var ring = 1 << 20

    mutating func validate() throws {
        let durations = [delay, slowDelay, stall, stallPeriod, stallOffset, pieceGap, activation, activationBump]
        guard durations.allSatisfy({ $0 >= 0 && $0 < 1e9 }) else { throw ValidationError("a duration is out of range") }
        guard stall == 0 || stallPeriod > stall else {
            throw ValidationError("--stall-period must be longer than --stall")
        }
        guard (0...9).contains(missedOfTen) else { throw ValidationError("--missed-of-ten is 0 to 9") }
        guard bodyBytes >= 0, pieceBytes > 0, ring > 0 else { throw ValidationError("a size is out of range") }
        guard capacity.map({ $0 > 0 }) ?? true else { throw ValidationError("--capacity must be above 0") }
        guard !snapshots.isEmpty else { throw ValidationError("--snapshots names none") }
    }

    func run() throws {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        // Blocked before the server's thread is made, which inherits it: the signals come to `sigwait` below.
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        let server = try InjectedServer(behaviour, port: port, ringCapacity: ring)
        server.start()
        let line = "listening on 127.0.0.1:\(server.port)\n"
        _ = write(STDERR_FILENO, line, line.utf8.count)
        var received: Int32 = 0
        sigwait(&signals, &received)
        server.stop()
    }

    private var behaviour: Behaviour {
        func nanoseconds(_ milliseconds: Double) -> UInt64 { UInt64(milliseconds * 1e6) }
        var behaviour = Behaviour()
        behaviour.seed = seed
        behaviour.delayNanoseconds = nanoseconds(delay)
        behaviour.isSerial = serial
        behaviour.slow = slow?.value ?? .none
        behaviour.slowDelayNanoseconds = slow == nil ? 0 : nanoseconds(slowDelay)
        if stall > 0 {
            behaviour.stall = .init(
                nanoseconds: nanoseconds(stall), periodNanoseconds: nanoseconds(stallPeriod),
                offsetNanoseconds: nanoseconds(stallOffset))
        }
        behaviour.closes = closes?.value ?? .none
        behaviour.refusals = refuse.map(\.value)
        behaviour.capacityPerSecond = capacity
        behaviour.capacityBurst = capacityBurst
        behaviour.odd = odd.map(\.value)
        behaviour.pieceByteCount = pieceBytes
        behaviour.pieceGapNanoseconds = nanoseconds(pieceGap)
        behaviour.bodyByteCount = bodyBytes
        behaviour.wrong = wrong.map(\.value)
        behaviour.missedOfTen = missedOfTen
        behaviour.snapshots = snapshots.split(separator: ",").map(String.init)
        behaviour.activationNanoseconds = nanoseconds(activation)
        behaviour.activationBumpNanoseconds = nanoseconds(activationBump)
        behaviour.isBusyPolling = busyPoll
        return behaviour
    }
}

/// `1/100` or `0.01`.
struct Share: ExpressibleByArgument {
    let value: Behaviour.Share

    init?(argument: String) {
        let parts = argument.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count == 2, parts[0] == "1", let distance = Int(parts[1]), distance > 0 {
            value = .every(distance)
        } else if let fraction = Double(argument), (0...1).contains(fraction) {
            value = .fraction(fraction)
        } else {
            return nil
        }
    }
}

/// `1/10:503:2`.
struct Refusal: ExpressibleByArgument {
    let value: Behaviour.Refusal

    init?(argument: String) {
        let parts = argument.split(separator: ":")
        guard (2...3).contains(parts.count), let share = Share(argument: String(parts[0])), let status = Int(parts[1]),
            (200...599).contains(status), parts.count == 2 || Int(parts[2]) != nil
        else { return nil }
        value = .init(
            share: share.value, status: status, retryAfterSeconds: parts.count == 3 ? Int(parts[2]) : nil)
    }
}

/// `1/10:garbage`.
struct Odd: ExpressibleByArgument {
    let value: Behaviour.Odd

    init?(argument: String) {
        let parts = argument.split(separator: ":")
        guard parts.count == 2, let share = Share(argument: String(parts[0])),
            let oddity = Behaviour.Oddity(rawValue: String(parts[1]))
        else { return nil }
        value = .init(share: share.value, oddity: oddity)
    }
}

/// `1/10:unsorted`.
struct Wrong: ExpressibleByArgument {
    let value: Behaviour.Wrong

    init?(argument: String) {
        let parts = argument.split(separator: ":")
        guard parts.count == 2, let share = Share(argument: String(parts[0])),
            let fault = Behaviour.RetrievalFault(rawValue: String(parts[1]))
        else { return nil }
        value = .init(share: share.value, fault: fault)
    }
}
