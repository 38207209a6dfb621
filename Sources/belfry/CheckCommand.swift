internal import ArgumentParser
internal import SnapshotCheck
internal import Snapshots

/// `belfry check SNAPSHOT`
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a snapshot: integrity, contents, golden queries, recall against exact search.",
        discussion: """
            Prints one line for each check that holds. At the first that does not, prints the file and the fault on \
            standard error and exits with status 1.
            """)

    @Argument(help: "The snapshot's directory, or a directory of snapshots with a 'current'.")
    var snapshot: String

    func run() throws {
        do throws(SnapshotError) {
            try SnapshotCheck(path: snapshot).run { print($0) }
        } catch {
            throw CommandFailure("\(error.stage.rawValue) check failed: \(error)")
        }
    }
}
