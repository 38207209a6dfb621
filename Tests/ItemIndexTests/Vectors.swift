import CFaiss
import Foundation
import TestSupport

@testable import ItemIndex

/// Row-major float32 vectors.
struct Vectors {
    let dimension: Int
    var values: [Float]
    var count: Int { values.count / dimension }

    func row(_ row: Int) -> [Float] {
        Array(values[row * dimension..<(row + 1) * dimension])
    }

    static func random(_ count: Int, _ dimension: Int, seed: UInt64) -> Vectors {
        var generator = SeededRandom(seed: seed)
        return Vectors(dimension: dimension, values: (0..<count * dimension).map { _ in generator.normal() })
    }

    /// Points close around a few centres, where a graph is harder to walk than among random ones.
    static func clustered(_ count: Int, _ dimension: Int, clusters: Int, seed: UInt64) -> Vectors {
        let centres = random(clusters, dimension, seed: 77)
        var generator = SeededRandom(seed: seed)
        var values: [Float] = []
        for _ in 0..<count {
            let centre = Int.random(in: 0..<clusters, using: &generator)
            values += centres.row(centre).map { $0 + 0.1 * generator.normal() }
        }
        return Vectors(dimension: dimension, values: values)
    }
}

/// A folder that is removed with the object.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "belfry-index-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func file(_ name: String) -> String { path + "/" + name }
}

struct FaissFailure: Error {
    let message = FaissIndex.message
}

/// Stock FAISS: builds, writes, and searches as the oracle.
struct StockFaiss {
    let index: FaissIndex

    /// - efConstruction: 0 for FAISS's own.
    init(_ factory: String, _ metric: Metric, _ items: Vectors, efConstruction: Int32 = 0) throws {
        var handle: OpaquePointer?
        guard
            belfry_faiss_build(
                factory, metric.faissNumber, items.values, items.count, items.dimension, efConstruction, 1, nil, nil,
                &handle) == 0, let handle
        else { throw FaissFailure() }
        index = FaissIndex(owning: handle)
    }

    func write(to path: String) throws {
        guard belfry_faiss_write(index.handle, path) == 0 else { throw FaissFailure() }
    }

    func setEF(_ ef: Int) {
        _ = belfry_faiss_set_ef(index.handle, Int32(ef))
    }

    /// Rows and FAISS's scores, without the missing ones.
    func search(
        _ query: [Float], k: Int, ef: Int = 0, nprobe: Int = 0, eligible: EligibleRows? = nil
    ) throws -> (rows: [Int], scores: [Float]) {
        var rows = [Int64](repeating: -1, count: k)
        var scores = [Float](repeating: 0, count: k)
        guard
            belfry_faiss_search(
                index.handle, query, k, ef, nprobe, eligible?.words.baseAddress, &rows, &scores) == 0
        else { throw FaissFailure() }
        let found = rows.firstIndex(of: -1) ?? k
        return (rows[..<found].map { Int($0) }, Array(scores[..<found]))
    }
}

/// Builds an index with FAISS, writes it and loads it.
func loadedIndex(
    _ factory: String, _ metric: Metric, _ items: Vectors, efConstruction: Int32 = 0, set: InstructionSet = .best
) throws -> (index: ItemIndex, stock: StockFaiss) {
    let folder = try TemporaryFolder()
    let stock = try StockFaiss(factory, metric, items, efConstruction: efConstruction)
    try stock.write(to: folder.file("index.faiss"))
    return (try ItemIndex(path: folder.file("index.faiss"), instructionSet: set), stock)
}

extension Hits {
    /// Copies that outlive the next search.
    var copy: (rows: [Int], scores: [Float]) { (rows.map { Int($0) }, Array(scores)) }
}

/// The best rows in Double, ties by row: what every exact search has to find, up to rounding.
func reference(_ items: Vectors, _ query: [Float], _ metric: Metric) -> [(row: Int, score: Double)] {
    // Plain loops over pointers: this is most of the tests' time.
    var scored: [(row: Int, score: Double)] = []
    scored.reserveCapacity(items.count)
    items.values.withUnsafeBufferPointer { values in
        query.withUnsafeBufferPointer { query in
            for row in 0..<items.count {
                var sum = 0.0
                var component = 0
                while component < items.dimension {
                    let left = Double(query[component])
                    let right = Double(values[row &* items.dimension &+ component])
                    sum += metric == .innerProduct ? left * right : -(left - right) * (left - right)
                    component &+= 1
                }
                scored.append((row, sum))
            }
        }
    }
    return scored.sorted { $0.score > $1.score || ($0.score == $1.score && $0.row < $1.row) }
}

/// The share of the truth's first k that was found.
func recall(_ found: [Int], _ truth: [(row: Int, score: Double)], _ k: Int) -> Double {
    let wanted = Set(truth.prefix(k).map(\.row))
    return Double(found.prefix(k).filter(wanted.contains).count) / Double(min(k, truth.count))
}

extension SearchParameters {
    /// A walk or lists as asked for, although these catalogues are small enough to be compared whole.
    static func literally(ef: Int? = nil, nprobe: Int? = nil) -> SearchParameters {
        var parameters = SearchParameters(ef: ef, nprobe: nprobe)
        parameters.isLiteral = true
        return parameters
    }
}
