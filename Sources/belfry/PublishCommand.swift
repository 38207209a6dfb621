internal import ArgumentParser
internal import Foundation
internal import Publishing

/// `belfry publish SNAPSHOT --to DIR`
struct Publish: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Publish a snapshot into a directory that daemons serve from.",
        discussion: """
            Copies it into DIR/ID.tmp, holding every byte against the manifest, waits until all is on the disk and renames \
            it to ID. It may be killed at any point: readers see a whole snapshot or none, and the next publisher of the \
            id removes what was left. Publishers of one directory wait for each other.
            """)

    @Argument(help: "The snapshot's directory, or a directory of snapshots with a 'current'.")
    var snapshot: String

    @Option(name: .customLong("to"), help: "The directory of snapshots; it must exist.")
    var directory: String

    @Flag(help: "Set 'current' to it, so that daemons that watch the directory serve it.")
    var activate = false

    @Option(help: "The id to publish it under. (default: its own)")
    var id: String?

    @Option(help: "Seconds to wait for another publisher.")
    var lockTimeout = 600

    func validate() throws {
        guard (0...86_400).contains(lockTimeout) else { throw ValidationError("--lock-timeout must be 0 to 86400") }
    }

    func run() throws {
        // A limit on files' sizes is an error with a name then, and not a signal that ends us.
        signal(SIGXFSZ, SIG_IGN)
        let start = ContinuousClock.now
        let publisher = SnapshotPublisher(directory: directory, lockTimeoutSeconds: lockTimeout)
        do throws(PublishingError) {
            let publication = try publisher.publish(snapshot, id: id, activates: activate)
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            print(sentence(publication, seconds))
        } catch {
            throw CommandFailure("\(error)")
        }
    }

    private func sentence(_ publication: SnapshotPublisher.Publication, _ seconds: Double) -> String {
        let size = "\(publication.fileCount) files, \(publication.byteCount) bytes"
        let done =
            publication.isNew
            ? "published \(publication.path): \(size) in \(String(format: "%.2f", seconds)) s"
            : "\(publication.path) is published already with the same contents: \(size)"
        guard activate else { return done }
        return done + (publication.isActivated ? "; 'current' names it now" : "; 'current' named it before")
    }
}
