internal import ArgumentParser
internal import Foundation
internal import JSON
internal import Publishing
internal import Snapshots

/// `belfry snapshots list | load | activate | rollback | prune`
struct SnapshotsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshots",
        abstract: "See and change what a daemon serves, and remove old snapshots.",
        discussion: """
            All of these ask a daemon's admin plane: --admin, or the environment's BELFRY_ADMIN, or \
            \(AdminClient.defaultAddress).
            """,
        subcommands: [List.self, Load.self, Activate.self, Rollback.self, Prune.self])

    /// Where the daemon is.
    struct Daemon: ParsableArguments {
        @Option(help: "The daemon's admin plane: http://HOST:PORT or unix:PATH.")
        var admin: String?

        @Option(help: "Seconds to wait for an answer.")
        var timeout = 600

        func validate() throws {
            guard (1...86_400).contains(timeout) else { throw ValidationError("--timeout must be 1 to 86400") }
        }

        /// Runs a command's body with the daemon; whatever it throws becomes one line.
        func asking(_ body: (AdminClient) throws -> Void) throws {
            do {
                try body(try AdminClient(admin, timeoutSeconds: timeout))
            } catch let error as AdminClient.Unreachable {
                throw CommandFailure("\(error.reason): is `belfry serve` running there? --admin says where it listens")
            }
        }
    }

    /// `belfry snapshots list`
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the daemon's snapshots with their states.")

        @OptionGroup var daemon: Daemon

        @Flag(help: "Print the daemon's reply as it is.")
        var json = false

        func run() throws {
            try daemon.asking { admin in
                let snapshots = try admin.snapshots()
                print(json ? snapshots.text : snapshots.table)
            }
        }
    }

    /// `belfry snapshots load ID`
    struct Load: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have a snapshot verified, loaded and warmed, ready to serve.")

        @Argument(help: "The snapshot's id.", transform: snapshotID)
        var id: String

        @OptionGroup var daemon: Daemon

        func run() throws {
            try daemon.asking { print(try state(try $0.send("POST", "/v1/snapshots/\(id):load"))) }
        }
    }

    /// `belfry snapshots activate ID`
    struct Activate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have a snapshot served; it is loaded first if it is not.")

        @Argument(help: "The snapshot's id.", transform: snapshotID)
        var id: String

        @OptionGroup var daemon: Daemon

        @Flag(inversion: .prefixedNo, help: "Wait until it serves.")
        var wait = true

        func run() throws {
            let path = "/v1/snapshots/\(id):activate" + (wait ? "" : "?wait=0")
            try daemon.asking { print(try state(try $0.send("POST", path))) }
        }
    }

    /// `belfry snapshots rollback`
    struct Rollback: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Go back to the snapshot that served before.")

        @OptionGroup var daemon: Daemon

        func run() throws {
            try daemon.asking { print(try state(try $0.send("POST", "/v1/snapshots:rollback"))) }
        }
    }

    /// `belfry snapshots prune`
    struct Prune: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove all snapshots but the newest.",
            discussion: """
                What 'current' names stays, and so does what the daemon serves, served last, or is loading. Then the \
                daemon forgets the pauses of items that no snapshot holds any more. Drafts of killed publishers that are \
                older than an hour go too.
                """)

        @Option(help: "How many of the newest to keep, by time of publication.")
        var keep: Int

        @Option(help: "The directory of snapshots. (default: the one the daemon names)")
        var snapshots: String?

        @Flag(help: "Prune --snapshots although no daemon answers; only 'current' is known to be in use then.")
        var offline = false

        @Option(help: "Seconds to wait for a publisher.")
        var lockTimeout = 600

        @OptionGroup var daemon: Daemon

        func validate() throws {
            guard keep >= 1 else { throw ValidationError("--keep must be at least 1") }
            guard (0...86_400).contains(lockTimeout) else { throw ValidationError("--lock-timeout must be 0 to 86400") }
        }

        func run() throws {
            let admin: AdminClient
            let known: DaemonSnapshots
            do {
                admin = try AdminClient(daemon.admin, timeoutSeconds: daemon.timeout)
                known = try admin.snapshots()
            } catch let error as AdminClient.Unreachable {
                guard offline, let snapshots else {
                    throw CommandFailure(
                        "\(error.reason): what it serves is unknown, and nothing was removed; if no daemon serves from "
                            + "the directory, give --snapshots DIR --offline")
                }
                return try prune(snapshots) { [] }
            }
            try prune(snapshots ?? known.directory) {
                do {
                    return try admin.snapshots().inUse
                } catch let error as AdminClient.Unreachable {
                    throw CommandFailure("\(error.reason): the daemon is gone meanwhile, and nothing was removed")
                }
            }
            do {
                let reply = try JSONDocument(try admin.send("POST", "/v1/items:prune")).root
                print("dropped the pauses of \(try reply.member("dropped").integer()) items that no snapshot holds")
            } catch {
                let reason = (error as? AdminClient.Unreachable)?.reason ?? "\(error)"
                throw CommandFailure("snapshots were removed, but not the pauses of items that were in them: \(reason)")
            }
        }

        private func prune(_ directory: String, protected: () throws -> Set<String>) throws {
            let retention = SnapshotRetention(directory: directory, keeping: keep, lockTimeoutSeconds: lockTimeout)
            do {
                let pruning = try retention.prune(protected: protected)
                let leftovers =
                    pruning.leftovers.isEmpty ? "" : "; left by the killed: \(pruning.leftovers.joined(separator: " "))"
                print(
                    "\(directory): removed \(pruning.removed.count) (\(words(pruning.removed))), kept "
                        + "\(pruning.kept.count) (\(words(pruning.kept)))\(leftovers)")
            } catch let error as PublishingError {
                throw CommandFailure("\(error)")
            }
        }

        private func words(_ ids: [String]) -> String { ids.isEmpty ? "none" : ids.joined(separator: " ") }
    }
}

/// The answer to an order, `ID is STATE`.
private func state(_ body: [UInt8]) throws -> String {
    do throws(JSONDocumentError) {
        let reply = try JSONDocument(body).root
        return "\(try reply.member("id").string()) is \(try reply.member("state").string())"
    } catch {
        throw CommandFailure("the daemon's answer is not understood here: \(error)")
    }
}

@Sendable private func snapshotID(_ text: String) throws -> String {
    guard Manifest.isID(text) else { throw ValidationError("'\(text)' does not match [A-Za-z0-9_-]{1,64}") }
    return text
}
