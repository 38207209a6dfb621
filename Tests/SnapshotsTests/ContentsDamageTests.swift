import Foundation
import SnapshotDamage
import Snapshots
import TestSupport
import Testing

private let userTower = "user_tower.safetensors"
private let itemTower = "item_tower.safetensors"
private let items = "items.safetensors"
private let users = "users.safetensors"
private let itemState = "item_state.safetensors"

/// Safetensors files and words that are sealed and do not fit the manifest.
@Suite struct ContentsDamageTests {
    @Test(arguments: [userTower, itemTower, items, users, itemState])
    func refusesAnotherSpaceAndHeadersThatLie(file: String) throws {
        let copy = try SnapshotCopy(of: "cs3-three-cycles")
        let whole = try copy.bytes(of: file)
        func expect(_ words: String..., damage: () throws -> Void) throws {
            try damage()
            try copy.seal()
            try expectRefusal(of: copy.path, .contents, file, words)
            try copy.write(file, whole)
        }
        try expect("belongs to space 'another'") { try copy.setSpace(file, "another") }
        try expect("belongs to space ''") { try copy.setSpace(file, "") }
        try expect("names no space_id") { try copy.setSpace(file, nil) }
        try expect("names no space_id") { try copy.editHeader(file) { $0["__metadata__"] = nil } }
        try expect("/__metadata__/space_id: expected a string") {
            try copy.editHeader(file) { $0["__metadata__"] = ["space_id": 7] }
        }
        try expect("tensor 'extra' is not part of the model") {
            try copy.editHeader(file) { header in
                header["extra"] = [
                    "dtype": "U8", "shape": [0],
                    "data_offsets": [0, 0],
                ]
            }
        }
        try expect("too few for the length of a header") { try copy.write(file, Data([1, 2, 3])) }
        try expect("states a header of 100000001 bytes, the limit is") {
            try copy.edit(file) { $0.replaceSubrange(0..<8, with: SnapshotCopy.littleEndian(UInt64(100_000_001))) }
        }
        try expect("states a header of \(UInt64.max) bytes, the limit is") {
            try copy.edit(file) { $0.replaceSubrange(0..<8, with: SnapshotCopy.littleEndian(UInt64.max)) }
        }
        try expect("states a header of 99999999 bytes, and") {
            try copy.edit(file) { $0.replaceSubrange(0..<8, with: SnapshotCopy.littleEndian(UInt64(99_999_999))) }
        }
        try expect("header: objects and lists nested too deeply") {
            try copy.replaceHeader(file, by: String(repeating: "[", count: 1_000_000))
        }
        try expect("header: no JSON value") { try copy.replaceHeader(file, by: "") }
        try expect("header: expected an object") { try copy.replaceHeader(file, by: "[]") }
        try expect("bytes after its last tensor") { try copy.replaceHeader(file, by: "{}") }
        try expect("bytes after its last tensor") { try copy.append(file, "x") }
        try expect("is not within the") { try copy.truncate(file, to: whole.count - 1) }
    }

    @Test(arguments: ContentsDamage.all) func refuses(damage: Damage) throws {
        try damage.run()
    }
}
