internal import JSON

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Activates one snapshot after the other through the admin plane while a run lasts (`--swap-every`).
public struct SnapshotSwaps: Disturbance {
    private let admin: Target
    private let snapshots: [String]
    private let first: UInt64
    private let every: UInt64
    private let until: UInt64
    private let settle: UInt64

    /// - admin: the admin plane's address.
    /// - snapshots: the ids to alternate between, at least two; empty asks the server for those it has.
    /// - first, every, until: when to swap, in nanoseconds from the start of the run.
    /// - settle: how much longer a swap's window lasts than the server's answer takes, in nanoseconds: what was evicted has
    ///   to be fetched again.
    public init(
        admin: Target, snapshots: [String], first: UInt64, every: UInt64, until: UInt64, settle: UInt64
    ) throws(LoadTestError) {
        guard every > 0 else { throw .usage("swaps need a distance in time") }
        self.admin = admin
        self.first = first
        self.every = every
        self.until = until
        self.settle = settle
        self.snapshots = snapshots.isEmpty ? try Self.known(to: admin) : snapshots
        guard Set(self.snapshots).count >= 2 else {
            throw .usage("swaps alternate between at least two snapshots, \(admin) has \(self.snapshots)")
        }
    }

    /// Ids of `GET /v1/snapshots` that can serve. The one that does comes last: activating it first would swap nothing.
    private static func known(to admin: Target) throws(LoadTestError) -> [String] {
        let reply = try ControlClient(admin).send("GET", "/v1/snapshots")
        guard reply.status == 200 else {
            throw .failed("\(admin): GET /v1/snapshots answers \(reply.status), so there is nothing to swap")
        }
        do throws(JSONDocumentError) {
            var ids: [String] = []
            var serving: [String] = []
            for snapshot in try JSONDocument(reply.body).root.member("snapshots").elements() {
                let id = try snapshot.member("id").string()
                switch try snapshot.member("state").string() {
                case "failed": break
                case "serving": serving.append(id)
                default: ids.append(id)
                }
            }
            return ids + serving
        } catch {
            throw .failed("\(admin): GET /v1/snapshots: \(error)")
        }
    }

    /// Swaps until the run is over.
    public func act(clock: () -> UInt64, isOver: () -> Bool) -> [RunResult.Mark] {
        let client = ControlClient(admin)
        var marks: [RunResult.Mark] = []
        var due = first
        var turn = 0
        while due < until {
            while !isOver(), clock() < due || clock() >= 1 << 63 { usleep(1000) }
            if isOver() { break }
            let id = snapshots[turn % snapshots.count]
            let start = clock()
            var fault: String?
            do throws(LoadTestError) {
                let reply = try client.send("POST", "/v1/snapshots/\(id):activate")
                if reply.status != 200 { fault = "status \(reply.status): \(reply.text.prefix(200))" }
            } catch {
                fault = error.description
            }
            marks.append(
                RunResult.Mark(kind: "swap", label: id, start: start, end: clock() + settle, fault: fault))
            turn += 1
            due = max(due + every, clock())
        }
        return marks
    }
}
