import Foundation
import SnapshotCheck
import SnapshotDamage
import Snapshots
import TestSupport
import Testing

/// Graphs that are well-formed and do not lead to every item.
@Suite struct GraphReachTests {
    @Test(arguments: refused) func refuses(damage: Damage) throws {
        try damage.run()
    }

    @Test(arguments: ["plain", "graph-alone"]) func aWholeGraphIsReported(fixture: String) throws {
        var lines: [String] = []
        try SnapshotCheck(path: try Fixtures.path(fixture)).run { lines.append($0) }
        #expect(lines.contains("ok reach: the graph's links lead to every item"))
    }

    @Test func otherKindsHaveNoReach() throws {
        var lines: [String] = []
        try SnapshotCheck(path: try Fixtures.path("cross-only")).run { lines.append($0) }
        #expect(!lines.contains { $0.hasPrefix("ok reach") })
    }

    /// The golden requests ask for neither of two items of 1200, so that recall alone would not tell.
    static let refused: [Damage] = [
        .sealed(
            "a graph without links", .index, "index.faiss", "do not lead to 1199 of 1200 items (\"i", ", ...): ",
            "belfry index build"
        ) { try $0.edit("index.faiss") { bytes in editLinks(&bytes) { _, _ in -1 } } },
        .sealed(
            "no link to two items", .index, "index.faiss",
            "do not lead to 2 of 1200 items (\"i7\", \"i1100\"): build it with more links or a higher efConstruction"
        ) {
            // A link to the row that has it leads nowhere, and those behind it stay.
            try $0.edit("index.faiss") { bytes in
                editLinks(&bytes) { row, link in link == 7 || link == 1100 ? Int32(row) : link }
            }
        },
        .sealed(
            "no link to an item of a number, without vectors", .index, "index.faiss",
            "do not lead to 1 of 900 items (15755400384260043839): ", in: "graph-alone"
        ) {
            try $0.edit("index.faiss") { bytes in editLinks(&bytes) { row, link in link == 2 ? Int32(row) : link } }
        },
    ]

    /// Changes every link of a graph's file.
    static func editLinks(_ bytes: inout Data, _ change: (_ row: Int, _ link: Int32) -> Int32) {
        var file = [UInt8](bytes)
        func integer<Number: FixedWidthInteger>(_ offset: Int, _: Number.Type) -> Number {
            file.withUnsafeBytes { Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Number.self)) }
        }
        // Behind the header: level probabilities, links per level, levels, offsets, links; each behind its count.
        var place = 37
        for size in [8, 4, 4] { place += 8 + size * Int(integer(place, Int64.self)) }
        let offsets = place + 8
        let rowCount = Int(integer(place, Int64.self)) - 1
        let links = offsets + 8 * (rowCount + 1) + 8
        for row in 0..<rowCount {
            let begin = Int(integer(offsets + 8 * row, Int64.self))
            let end = Int(integer(offsets + 8 * (row + 1), Int64.self))
            for element in begin..<end {
                let new = change(row, integer(links + 4 * element, Int32.self))
                file.replaceSubrange(
                    links + 4 * element..<links + 4 * (element + 1), with: SnapshotCopy.littleEndian(new))
            }
        }
        bytes = Data(file)
    }
}
