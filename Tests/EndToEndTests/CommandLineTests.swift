import Foundation
import TestSupport
import Testing

/// `belfry index build` and `belfry index bench` on files that are written here, without the product's code.
@Suite struct CommandLineTests {
    private let directory: TemporaryDirectory
    private let items: String
    private let queries: String
    private let truth: String

    private static let dimension = 8
    private static let itemCount = 400
    private static let queryCount = 20
    private static let width = 20

    init() throws {
        directory = try TemporaryDirectory()
        var random = SeededRandom(seed: 11)
        let vectors = Self.rows(Self.itemCount, &random)
        let questions = Self.rows(Self.queryCount, &random)
        items = try directory.write("items.fbin", Self.file(Self.dimension, vectors.map { $0.map(\.bitPattern) }))
        queries = try directory.write("queries.fbin", Self.file(Self.dimension, questions.map { $0.map(\.bitPattern) }))
        truth = try directory.write("truth.ibin", Self.file(Self.width, Self.best(of: vectors, questions)))
    }

    private static func rows(_ count: Int, _ random: inout SeededRandom) -> [[Float]] {
        (0..<count).map { _ in (0..<dimension).map { _ in Float(random.below(2001) - 1000) / 1000 } }
    }

    private static func best(of vectors: [[Float]], _ questions: [[Float]]) -> [[UInt32]] {
        questions.map { question in
            let scores = vectors.map { zip($0, question).map(*).reduce(0, +) }
            return scores.indices.sorted { scores[$0] > scores[$1] }.prefix(width).map { UInt32($0) }
        }
    }

    private static func file(_ width: Int, _ rows: [[UInt32]]) -> Data {
        var data = Data()
        for value in [UInt32(rows.count), UInt32(width)] + rows.joined() {
            withUnsafeBytes(of: value.littleEndian) { data.append(contentsOf: $0) }
        }
        return data
    }

    private func bench(_ arguments: [String]) throws -> BelfryRun {
        try BelfryRun(["index", "bench", "--items", items, "--queries", queries, "--truth", truth] + arguments)
    }

    @Test(arguments: ["HNSW8", "HNSW24,Flat", "IVF8,Flat", "Flat"]) func buildsAndMeasures(_ factory: String) throws {
        let index = directory.file("index.faiss")
        let built = try BelfryRun([
            "index", "build", "--items", items, "--factory", factory, "--threads", "1", "--out", index,
        ])
        #expect(built.status == 0 && FileManager.default.fileExists(atPath: index), "\(built)")
        let json = directory.file("report.json")
        let run = try bench(["--index", index, "--k", "5", "--k", "10", "--recall", "0.9", "--json", json])
        #expect(run.status == 0, "\(run)")
        let report =
            try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: json))) as? [String: Any]
        let rows = try #require(report?["rows"] as? [[String: Any]])
        #expect(rows.map { $0["k"] as? Int } == [5, 10])
        for row in rows {
            #expect(
                Set(row.keys) == [
                    "k", "parameters", "recall", "us_p50", "us_p99", "us_mean", "queries_per_second", "bytes_per_item",
                ])
            #expect((row["recall"] as? Double ?? 0) >= 0.9 && (row["recall"] as? Double ?? 2) <= 1)
            #expect(row["parameters"] is [String: Any] && (row["bytes_per_item"] as? Double ?? 0) >= 32)
            for key in ["us_p50", "us_p99", "us_mean", "queries_per_second"] {
                #expect((row[key] as? Double ?? 0) > 0, "\(key)")
            }
        }
    }

    @Test(arguments: [("HNSW2", "4", true), ("HNSW24", "120", false)])
    func tellsWhatItRepaired(_ factory: String, _ efConstruction: String, _ isRepaired: Bool) throws {
        let run = try BelfryRun([
            "index", "build", "--items", items, "--factory", factory, "--ef-construction", efConstruction, "--threads",
            "1", "--out", directory.file("index.faiss"),
        ])
        #expect(run.status == 0, "\(run)")
        #expect(run.output.contains("items were out of the graph's reach") == isRepaired, "\(run)")
        #expect(run.output.contains("all are reached now") == isRepaired, "\(run)")
    }

    @Test func buildsTheSameFileAgainWithOneThread() throws {
        let files = try ["a", "b"].map { name in
            let path = directory.file(name)
            let run = try BelfryRun([
                "index", "build", "--items", items, "--factory", "HNSW8", "--threads", "1", "--out", path,
            ])
            #expect(run.status == 0)
            return try Data(contentsOf: URL(fileURLWithPath: path))
        }
        #expect(files[0] == files[1])
    }

    @Test func measuresWithoutAnIndexAndTakesDistancesBehindTheTruth() throws {
        var data = try Data(contentsOf: URL(fileURLWithPath: truth))
        data.append(Data(count: Self.queryCount * Self.width * 4))
        _ = try directory.write("truth.ibin", data)
        #expect(try bench(["--k", "10", "--recall", "0.9"]).status == 0)
    }

    @Test func refusesFilesThatDoNotFit() throws {
        let narrow = try bench(["--k", "21", "--recall", "0.5", "--factory", "Flat"])
        #expect(narrow.failedWithOneLine && narrow.errors.contains("truth"), "\(narrow)")

        let data = try Data(contentsOf: URL(fileURLWithPath: items))
        let wrong: [(String, Data)] = [
            ("empty", Data()), ("short-head", data.prefix(7)), ("cut", data.dropLast()), ("long", data + Data([0])),
            ("other-count", Data([0xFF, 0xFF, 0xFF, 0xFF]) + data.dropFirst(4)),
            ("no-dimension", data.prefix(4) + Data(count: 4)),
            ("not-finite", data.dropLast(4) + Data([0, 0, 0x80, 0x7F])), ("no-rows", Data(count: 4) + data[4..<8]),
        ]
        let out = directory.file("out.faiss")
        for (name, bytes) in wrong {
            let path = try directory.write(name, bytes)
            let run = try BelfryRun(["index", "build", "--items", path, "--factory", "HNSW8", "--out", out])
            #expect(run.failedWithOneLine && run.errors.contains(path), "\(name): \(run)")
            #expect(!FileManager.default.fileExists(atPath: out), "\(name)")
            let asQueries = try BelfryRun([
                "index", "bench", "--items", items, "--queries", path, "--truth", truth, "--factory", "Flat", "--k",
                "5",
            ])
            #expect(asQueries.failedWithOneLine, "\(name): \(asQueries)")
            let asTruth = try BelfryRun([
                "index", "bench", "--items", items, "--queries", queries, "--truth", path, "--factory", "Flat", "--k",
                "5",
            ])
            #expect(asTruth.failedWithOneLine, "\(name): \(asTruth)")
            let asIndex = try bench(["--index", path, "--k", "5"])
            #expect(asIndex.failedWithOneLine, "\(name): \(asIndex)")
        }
        for path in ["/nowhere.fbin", directory.path] {
            let run = try BelfryRun(["index", "build", "--items", path, "--factory", "Flat", "--out", out])
            #expect(run.failedWithOneLine, "\(run)")
        }
        let unwritable = try BelfryRun([
            "index", "build", "--items", items, "--factory", "Flat", "--out", "/nowhere/index.faiss",
        ])
        #expect(unwritable.failedWithOneLine, "\(unwritable)")
        let many = try BelfryRun(["index", "build", "--items", items, "--factory", "IVF401,Flat", "--out", out])
        #expect(many.failedWithOneLine, "\(many)")
    }

    @Test func refusesATruthThatIsNotTheBest() throws {
        let rows = (0..<Self.queryCount).map { _ in (0..<Self.width).map { UInt32($0) } }
        _ = try directory.write("truth.ibin", Self.file(Self.width, rows))
        let run = try bench(["--factory", "Flat", "--k", "5", "--recall", "1"])
        #expect(run.failedWithOneLine && run.errors.contains("truth"), "\(run)")
    }

    @Test(arguments: [
        ["build"], ["build", "--items", "x"], ["build", "--items", "x", "--factory", "PQ8", "--out", "y"],
        ["build", "--items", "x", "--factory", "HNSW1", "--out", "y"],
        ["build", "--items", "x", "--factory", "HNSW8", "--out", "y", "--metric", "cosine"],
        ["build", "--items", "x", "--factory", "HNSW8", "--out", "y", "--threads", "0"],
        ["build", "--items", "x", "--factory", "HNSW8", "--out", "y", "--ef-construction", "0"],
        ["bench", "--items", "x", "--queries", "y", "--truth", "z"],
        ["bench", "--items", "x", "--queries", "y", "--truth", "z", "--k", "0"],
        ["bench", "--items", "x", "--queries", "y", "--truth", "z", "--k", "ten"],
        ["bench", "--items", "x", "--queries", "y", "--truth", "z", "--k", "5", "--recall", "1.1"],
        ["bench", "--items", "x", "--queries", "y", "--truth", "z", "--k", "5", "--recall", "nan"],
        ["bench", "--items", "x", "--queries", "y", "--k", "5"], ["bench", "--nobody"],
    ])
    func wrongUsageExitsWith64(_ arguments: [String]) throws {
        let run = try BelfryRun(["index"] + arguments)
        #expect(run.status == 64, "\(run)")
    }
}
