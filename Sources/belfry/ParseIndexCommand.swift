internal import ArgumentParser
internal import ItemIndex

/// `belfry parse-index PATH`: what the daemon runs in a process of its own before it reads an index itself.
struct ParseIndex: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Parse an index file and exit; for the daemon, which does not trust it.", shouldDisplay: false)

    @Argument(help: "The file.")
    var path: String

    func run() throws {
        do throws(ItemIndexError) {
            try IndexParsing.parse(path: path)
        } catch {
            throw CommandFailure("\(error)")
        }
    }
}
