import Foundation
import Memory
import Testing

@testable import ItemIndex

@Suite struct IndexFileTests {
    static let factories = ["Flat", "HNSW4", "IVF3,Flat"]

    /// A file of 50 rows of 4.
    private func file(_ factory: String, _ folder: TemporaryFolder, _ metric: Metric = .innerProduct) throws
        -> FaissFileBytes
    {
        try StockFaiss(factory, metric, Vectors.random(50, 4, seed: 1)).write(to: folder.file("whole.faiss"))
        return try FaissFileBytes(path: folder.file("whole.faiss"))
    }

    /// The words with which loading these bytes is refused, nil if they load.
    private func refusal(_ file: FaissFileBytes, _ folder: TemporaryFolder) throws -> String? {
        let path = folder.file("damaged.faiss")
        try file.write(to: path)
        do {
            let index = try ItemIndex(path: path)
            // What loads has to be searchable.
            let scratch = SearchScratch(for: index)
            let query = [Float](repeating: 0.5, count: index.dimension)
            _ = try index.search(query, k: 7, scratch: scratch)
            _ = try index.search(query, k: 7, parameters: SearchParameters(exact: true), scratch: scratch)
            return nil
        } catch let error as ItemIndexError {
            #expect(error.description.hasPrefix(path + ": "))
            return String(error.description.dropFirst(path.count + 2))
        }
    }

    struct Damage: Sendable, CustomTestStringConvertible {
        let factory: String
        let message: String
        let apply: @Sendable (inout FaissFileBytes) -> Void
        var testDescription: String { "\(factory): \(message)" }

        init(_ factory: String, _ message: String, _ apply: @escaping @Sendable (inout FaissFileBytes) -> Void) {
            self.factory = factory
            self.message = message
            self.apply = apply
        }
    }

    static let damages: [Damage] = [
        Damage("Flat", "unsupported index kind IxPq; flat, HNSW over flat and IVF over flat are searched") {
            $0.bytes.replaceSubrange(0..<4, with: Array("IxPq".utf8))
        },
        Damage("Flat", "unsupported index kind ??x?; flat, HNSW over flat and IVF over flat are searched") {
            $0.bytes.replaceSubrange(0..<4, with: [0x1B, 0, 0x78, 0xFF])
        },
        Damage("Flat", "the index's dimension is 0 and must be in 1...4096") { $0.put(Int32(0), "dimension") },
        Damage("Flat", "the index's dimension is -4 and must be in 1...4096") { $0.put(Int32(-4), "dimension") },
        Damage("Flat", "the index's dimension is 2000000000 and must be in 1...4096") {
            $0.put(Int32(2_000_000_000), "dimension")
        },
        Damage("Flat", "the number of the index's floats is 200 and must be 250") { $0.put(Int32(5), "dimension") },
        Damage("Flat", "the number of the index's floats is 200 and must be 204") { $0.put(Int64(51), "count") },
        Damage("Flat", "the index's row count is -1 and must be in 0...2147483646") { $0.put(Int64(-1), "count") },
        Damage("Flat", "the index's row count is 9223372036854775807 and must be in 0...2147483646") {
            $0.put(Int64.max, "count")
        },
        Damage("Flat", "the index's trained flag is 0 and must be 1") { $0.put(UInt8(0), "trained") },
        Damage("Flat", "the index's metric is 1 and must be 0") { $0.put(Int32(1), "metric") },
        Damage("Flat", "the index's metric is 23 and must be in 0...1") { $0.put(Int32(23), "metric") },
        Damage("Flat", "the number of the index's floats is 1099511627776 and must be 200") {
            $0.put(Int64(1) << 40, "floats count")
        },
        Damage("Flat", "the number of the index's floats is 9223372036854775807 and must be 200") {
            $0.put(UInt64.max, "floats count")
        },
        Damage("Flat", "the index ends at byte 845, and 3 more bytes follow") { $0.bytes += [0, 0, 0] },
        Damage("Flat", "component 1 of row 2 is not finite") { $0.put(UInt32(0x7FC0_0000), "floats", element: 9) },
        Damage("Flat", "component 3 of row 49 is not finite") {
            $0.put(UInt32(0xFF80_0000), "floats", element: 199)
        },
        Damage("HNSW4", "the number of level probabilities is 1152921504606846976 and must be in 0...256") {
            $0.put(Int64(1) << 60, "probabilities count")
        },
        Damage("HNSW4", "the number of links per level is 1 and must be in 2...257") {
            $0.put(Int64(1), "level ends count")
        },
        Damage("HNSW4", "links per level[0] is 8 and must be 0") { $0.put(Int32(8), "level ends") },
        Damage("HNSW4", "links per level[2] is 4 and must be in 8...65544") {
            $0.put(Int32(4), "level ends", element: 2)
        },
        Damage("HNSW4", "the number of levels is 49 and must be 50") { $0.put(Int64(49), "levels count") },
        Damage("HNSW4", "levels[7] is 0 and must be in 1...") { $0.put(Int32(0), "levels", element: 7) },
        Damage("HNSW4", "levels[7] is 100 and must be in 1...") { $0.put(Int32(100), "levels", element: 7) },
        Damage("HNSW4", "the number of offsets is 50 and must be 51") { $0.put(Int64(50), "offsets count") },
        Damage("HNSW4", "offsets[0] is 4 and must be 0") { $0.put(Int64(4), "offsets") },
        Damage("HNSW4", "offsets[3] is 1099511627776 and must be") {
            $0.put(Int64(1) << 40, "offsets", element: 3)
        },
        Damage("HNSW4", "the number of links is 7 and must be") { $0.put(Int64(7), "links count") },
        Damage("HNSW4", "links[5] is 50 and must be in -1...49") { $0.put(Int32(50), "links", element: 5) },
        Damage("HNSW4", "links[5] is -2 and must be in -1...49") { $0.put(Int32(-2), "links", element: 5) },
        Damage("HNSW4", "the entry point is 50 and must be in 0...49") { $0.put(Int32(50), "entry point") },
        Damage("HNSW4", "the entry point is -1 and must be in 0...49") { $0.put(Int32(-1), "entry point") },
        Damage("HNSW4", "the maximum level is 200 and must be in 0...") { $0.put(Int32(200), "maximum level") },
        Damage("HNSW4", "ef search is 0 and must be in 1...2147483647") { $0.put(Int32(0), "ef search") },
        Damage("HNSW4", "unsupported index kind IHNf over IxSQ;") {
            let begin = $0.place("storage fourcc")
            $0.bytes.replaceSubrange(begin..<begin + 4, with: Array("IxSQ".utf8))
        },
        Damage("HNSW4", "the storage's row count is 49 and must be 50") { $0.put(Int64(49), "storage count") },
        Damage("HNSW4", "the storage's dimension is 5 and must be 4") { $0.put(Int32(5), "storage dimension") },
        Damage("HNSW4", "the storage's metric is 1 and must be 0") { $0.put(Int32(1), "storage metric") },
        Damage("IVF3,Flat", "the number of lists is 0 and must be in 1...2147483646") { $0.put(Int64(0), "lists") },
        Damage("IVF3,Flat", "the centroids' index's row count is 3 and must be 4") { $0.put(Int64(4), "lists") },
        Damage("IVF3,Flat", "nprobe is 0 and must be in 1...") { $0.put(Int64(0), "nprobe") },
        Damage("IVF3,Flat", "unsupported index kind IwFl over IHNf;") {
            let begin = $0.place("centroids fourcc")
            $0.bytes.replaceSubrange(begin..<begin + 4, with: Array("IHNf".utf8))
        },
        Damage("IVF3,Flat", "the direct map's type is 2 and must be in 0...1") {
            $0.put(UInt8(2), "direct map type")
        },
        Damage("IVF3,Flat", "unsupported index kind IwFl with lists ilod;") {
            let begin = $0.place("lists fourcc")
            $0.bytes.replaceSubrange(begin..<begin + 4, with: Array("ilod".utf8))
        },
        Damage("IVF3,Flat", "the lists' code size is 4611686018427387904 and must be 16") {
            $0.put(Int64(1) << 62, "code size")
        },
        Damage("IVF3,Flat", "list sizes[1] is 51 and must be in 0...50") { $0.put(Int64(51), "sizes", element: 1) },
        Damage("IVF3,Flat", "the sum of the list sizes is ") {
            $0.put($0.integer("sizes", as: Int64.self) - 1, "sizes")
        },
        Damage("IVF3,Flat", "the rows of list 0[0] is 50 and must be in 0...49") {
            let size = Int($0.integer("sizes", as: Int64.self))
            $0.put(Int64(50), "list data", element: size * 2)
        },
        Damage("IVF3,Flat", " stands in list 0 and once before") {
            let rows = Int($0.integer("sizes", as: Int64.self)) * 2
            let first = $0.integer(at: $0.place("list data") + rows * 8, as: Int64.self)
            $0.put(first, "list data", element: rows + 1)
        },
    ]

    @Test(arguments: damages)
    func aDamagedFieldIsRefusedWithItsNumbers(_ damage: Damage) throws {
        let folder = try TemporaryFolder()
        var file = try file(damage.factory, folder)
        damage.apply(&file)
        let refusal = try #require(try refusal(file, folder))
        #expect(refusal.contains(damage.message), "it says: \(refusal)")
    }

    /// A link of an upper level to a row that is not on it would be followed into another row's links.
    @Test func aLinkToARowBelowItsLevelIsRefused() throws {
        let folder = try TemporaryFolder()
        var file = try file("HNSW4", folder)
        let levels = (0..<50).map { file.integer(at: file.place("levels") + $0 * 4, as: Int32.self) }
        let high = try #require(levels.firstIndex { $0 > 1 })
        let low = try #require(levels.firstIndex(of: 1))
        let begin = Int(file.integer(at: file.place("offsets") + high * 8, as: Int64.self))
        file.put(Int32(low), "links", element: begin + 8)
        #expect(try refusal(file, folder) == "row \(high) links on level 1 to row \(low), which is not on that level")
    }

    @Test func anEntryPointBelowTheTopIsRefused() throws {
        let folder = try TemporaryFolder()
        var file = try file("HNSW4", folder)
        let low = try #require(
            (0..<50).first { file.integer(at: file.place("levels") + $0 * 4, as: Int32.self) == 1 })
        file.put(Int32(low), "entry point")
        let top = file.integer("maximum level", as: Int32.self)
        #expect(try refusal(file, folder) == "levels[\(low)] is 1 and must be \(top + 1)")
    }

    @Test(arguments: factories)
    func everyTruncationIsRefused(_ factory: String) throws {
        let folder = try TemporaryFolder()
        let whole = try file(factory, folder)
        #expect(try refusal(whole, folder) == nil)
        for length in 0..<whole.bytes.count {
            var cut = whole
            cut.bytes.removeSubrange(length...)
            let refusal = try #require(try refusal(cut, folder), "\(length) of \(whole.bytes.count) bytes loaded")
            #expect(refusal.contains("bytes, and the file has"), "it says: \(refusal)")
        }
    }

    /// Whatever a changed byte does, it is refused or leaves an index that can be searched; it never crashes.
    @Test(arguments: factories)
    func noChangedByteCrashes(_ factory: String) throws {
        let folder = try TemporaryFolder()
        let whole = try file(factory, folder)
        var refused = 0
        for place in 0..<whole.bytes.count {
            for change: UInt8 in [0x01, 0x80, 0xFF] {
                var changed = whole
                changed.bytes[place] ^= change
                if try refusal(changed, folder) != nil { refused += 1 }
            }
        }
        // Of a flat file little more than its header can be wrong.
        #expect(refused > 60)
    }

    @Test func aFileThatIsNoneIsRefused() throws {
        let folder = try TemporaryFolder()
        for path in [folder.file("none"), folder.path] {
            do {
                _ = try ItemIndex(path: path)
                Issue.record("\(path) was loaded")
            } catch {
                guard case .unreadable(let reason) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(reason.path == path)
            }
        }
    }

    @Test(arguments: factories, [Metric.innerProduct, .squaredL2])
    func whatFaissWritesLoads(_ factory: String, _ metric: Metric) throws {
        let folder = try TemporaryFolder()
        #expect(try refusal(try file(factory, folder, metric), folder) == nil)
        let index = try ItemIndex(path: folder.file("whole.faiss"))
        #expect(index.metric == metric)
        #expect(index.count == 50)
        #expect(index.dimension == 4)
    }

    /// More than half of the lists are empty: FAISS writes pairs instead of all sizes.
    @Test func sparseListSizesLoad() throws {
        let points = (0..<40).map { Float($0 % 4) }
        let (index, _) = try loadedIndex("IVF20,Flat", .squaredL2, Vectors(dimension: 1, values: points))
        let scratch = SearchScratch(for: index)
        let hits = try index.search([2], k: 10, scratch: scratch)
        #expect(hits.copy.rows == [2, 6, 10, 14, 18, 22, 26, 30, 34, 38])
    }
}
