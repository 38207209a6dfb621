import Foundation
import ItemIndex
import SnapshotCheck
import Snapshots
import TestSupport
import Testing

/// Thousands of random damages behind intact checksums: each is accepted or refused, and none ends the process. If one
/// does, the damaged copy is still in the temporary directory.
@Suite(.serialized) struct MutationTests {
    @Test(arguments: [
        ("users.safetensors", 250), ("items.safetensors", 100), ("item_state.safetensors", 100),
        ("user_tower.safetensors", 100), ("item_tower.safetensors", 100),
    ]) func survivesMutatedHeaders(file: String, count: Int) throws {
        let copy = try SnapshotCopy(of: "cs3-three-cycles")
        let header = SnapshotCopy.headerBounds(try copy.bytes(of: file))
        try mutateInPlace(copy, file, 0..<header.end, count: Mutator.count(count)) { files in
            _ = try Snapshot(loading: files)
        }
    }

    @Test func survivesMutatedWords() throws {
        let copy = try SnapshotCopy(of: "cascade-only")
        let end = try copy.bytes(of: "attributes.json").count
        try mutateInPlace(copy, "attributes.json", 0..<end, count: Mutator.count(100)) { files in
            _ = try Snapshot(loading: files)
        }
    }

    @Test func survivesMutatedManifests() throws {
        let copy = try SnapshotCopy(of: "cs3-three-cycles")
        let files = try SnapshotFiles(path: copy.path)
        let whole = [UInt8](try copy.bytes(of: "manifest.json"))
        var mutator = Mutator(seed: 1)
        var acceptedCount = 0
        let count = Mutator.count(1000)
        for _ in 0..<count {
            var bytes = whole
            mutator.mutate(&bytes, in: 0..<whole.count)
            do {
                let manifest = try bytes.withUnsafeBytes { bytes in try Manifest(json: bytes) }
                _ = try Snapshot(loading: files, manifest: manifest)
                acceptedCount += 1
            } catch let error as SnapshotError {
                #expect(!error.fault.isEmpty)
            }
        }
        // Training, digests and seeds may be anything, so that some must have come through, and not most.
        #expect(acceptedCount > 0 && acceptedCount < count)
    }

    @Test(arguments: [("cascade-only", 400), ("cross-only", 400), ("cs3-three-cycles", 200)])
    func survivesMutatedIndexes(fixture: String, count: Int) throws {
        let copy = try SnapshotCopy(of: fixture)
        let path = copy.path(of: "index.faiss")
        let whole = [UInt8](try copy.bytes(of: "index.faiss"))
        var mutator = Mutator(seed: 2)
        for number in 0..<Mutator.count(count) {
            var bytes = whole
            // Most fields stand at the beginning; what follows are floats, or links.
            mutator.mutate(&bytes, in: number % 2 == 0 ? 0..<400 : 0..<whole.count)
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            do {
                try search(try ItemIndex(path: path))
            } catch is ItemIndexError {
                continue
            }
        }
    }

    @Test func survivesMutatedGoldenAnswers() throws {
        let copy = try SnapshotCopy(of: "cascade-only")
        let lines = String(decoding: try copy.bytes(of: "golden.jsonl"), as: UTF8.self).split(separator: "\n")
        let whole = Array(lines[0...1].joined(separator: "\n").utf8)
        var mutator = Mutator(seed: 3)
        for _ in 0..<Mutator.count(50) {
            var bytes = whole
            mutator.mutate(&bytes, in: 0..<whole.count)
            try copy.write("golden.jsonl", Data(bytes))
            try copy.seal()
            do {
                try SnapshotCheck(path: copy.path).run { _ in }
            } catch {
                #expect(error.file == "golden.jsonl", "\(error)")
            }
        }
    }

    /// A walk and a scan, so that a link that leads nowhere is followed here.
    private func search(_ index: ItemIndex) throws {
        let scratch = SearchScratch(for: index)
        let query = (0..<index.dimension).map { Float($0 % 5) - 2 }
        let k = 20
        for exact in [false, true] {
            let count = try query.withUnsafeBufferPointer { query in
                try index.search(
                    query.baseAddress!, k: k, parameters: SearchParameters(exact: exact), scratch: scratch
                ).count
            }
            #expect(count == min(k, index.count))
        }
    }

    /// Mutates bytes of a file, hands the unverified snapshot over, and expects refusals to name that file.
    private func mutateInPlace(
        _ copy: SnapshotCopy, _ file: String, _ range: Range<Int>, count: Int, _ body: (SnapshotFiles) throws -> Void
    ) throws {
        let files = try SnapshotFiles(path: copy.path)
        let handle = try #require(FileHandle(forUpdatingAtPath: copy.path(of: file)))
        let whole = [UInt8](try copy.bytes(of: file).prefix(range.upperBound))
        var mutator = Mutator(seed: UInt64(range.upperBound))
        var refusedCount = 0
        for _ in 0..<count {
            var bytes = whole
            mutator.mutate(&bytes, in: range)
            try handle.seek(toOffset: 0)
            try handle.write(contentsOf: Data(bytes))
            do {
                try body(files)
            } catch let error as SnapshotError {
                refusedCount += 1
                #expect(error.file == file, "\(error)")
            }
        }
        #expect(refusedCount > 0)
    }
}
