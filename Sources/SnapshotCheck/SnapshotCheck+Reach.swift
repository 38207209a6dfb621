internal import Identifiers
internal import ItemIndex
internal import Memory
internal import Snapshots

extension SnapshotCheck {
    private static let namedItemCount = 5
    private static let namedScalarCount = 32

    /// Refuses a graph with items that no walk comes to: they are in the catalogue and are never retrieved, and golden requests
    /// need not notice. A single one is refused: `belfry index build` leaves none, and a share that may be lost is what the
    /// recall's floor is for.
    func checkReach(_ snapshot: Snapshot, _ report: (String) -> Void) throws(SnapshotError) {
        guard snapshot.index.kind == .hnsw else { return }
        let unreachable: UnreachableRows
        do throws(ItemIndexError) {
            unreachable = try snapshot.index.unreachableRows(limit: SnapshotCheck.namedItemCount)
        } catch {
            throw SnapshotError(.index, file: "index.faiss", error.fault)
        }
        guard unreachable.count == 0 else {
            let names = unreachable.first.map { SnapshotCheck.name(of: $0, in: snapshot.items.ids) }
            let rest = unreachable.count > names.count ? ", ..." : ""
            throw SnapshotError(
                .index, file: "index.faiss",
                "the graph's links do not lead to \(unreachable.count) of \(snapshot.index.count) items "
                    + "(\(names.joined(separator: ", "))\(rest)): build it with more links or a higher efConstruction, "
                    + "or with 'belfry index build', which repairs it")
        }
        report("ok reach: the graph's links lead to every item")
    }

    /// An item's id, cut off and escaped, so that whatever it holds the message stays one short line.
    private static func name(of row: Int, in ids: Identifiers) -> String {
        switch ids {
        case .numbers(let table): return "\(table.id(of: row))"
        case .texts(let table):
            var start = String.UnicodeScalarView()
            start.append(contentsOf: table.text(of: row).string.unicodeScalars.prefix(namedScalarCount))
            return String(start).debugDescription
        }
    }
}
