internal import ArgumentParser

/// The command line: `belfry serve`, `belfry check`, `belfry publish`, `belfry snapshots ...`, `belfry index ...`,
/// `belfry loadtest`.
@main
struct Belfry: AsyncParsableCommand {
    /// As reports name the program.
    static let version = "belfry 0.1"

    static let configuration = CommandConfiguration(
        commandName: "belfry",
        abstract: "Low-latency retrieval for two-tower models.",
        subcommands: [
            Serve.self, Check.self, Publish.self, SnapshotsCommand.self, Index.self, LoadTestCommand.self,
            ParseIndex.self,
        ])
}

/// An error of a command: one line that says what is wrong and what to do, exit status 1.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
