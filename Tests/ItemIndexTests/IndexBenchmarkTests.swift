import Foundation
import Testing

@testable import ItemIndex

@Suite struct IndexBenchmarkTests {
    @Test(arguments: ["HNSW8", "IVF16,Flat", "Flat"])
    func findsASettingThatReachesTheRecall(_ factory: String) throws {
        let folder = try TemporaryFolder()
        let items = Vectors.random(1500, 16, seed: 1)
        let queries = try Vectors.random(30, 16, seed: 2).mapped(folder, "queries.fbin")
        let (index, _) = try loadedIndex(factory, .innerProduct, items, efConstruction: 40)
        let truth = try IndexBenchmark.exactTruth(index: index, queries: queries, k: 50)
        #expect(truth.width == 50)
        #expect(truth.queryCount == 30)
        for query in 0..<30 {
            let expected = reference(items, Array(queries.row(query)), .innerProduct).prefix(50).map(\.row)
            #expect(truth.rows[query * 50..<(query + 1) * 50].map { Int($0) } == expected)
        }

        let report = try IndexBenchmark(index: index, queries: queries, truth: truth).run(ks: [5, 50], recall: 0.9)
        #expect(report.rows.map(\.k) == [5, 50])
        for row in report.rows {
            #expect(row.recall >= 0.9 && row.recall <= 1)
            #expect(row.usP50 > 0 && row.usP99 >= row.usP50 && row.usMean > 0)
            #expect(abs(row.queriesPerSecond * row.usMean - 1e6) < 1)
            #expect(row.bytesPerItem == Double(index.byteCount) / 1500)
            #expect(row.bytesPerItem >= 64)
            switch index.kind {
            case .flat: #expect(row.parameters == .init(SearchParameters()))
            case .hnsw: #expect(row.parameters.exact == true || row.parameters.ef ?? 0 >= row.k)
            case .ivfFlat: #expect(row.parameters.exact == true || row.parameters.nprobe ?? 0 >= 1)
            }
            // The setting has the recall that is reported.
            let scratch = SearchScratch(for: index)
            let parameters = SearchParameters(
                ef: row.parameters.ef, nprobe: row.parameters.nprobe, exact: row.parameters.exact ?? false)
            var found = 0
            for query in 0..<30 {
                let wanted = Set(truth.rows[query * 50..<query * 50 + row.k].map { UInt32($0) })
                let hits = try index.search(
                    queries.row(query).baseAddress!, k: row.k, parameters: parameters, scratch: scratch)
                found += hits.rows.filter(wanted.contains).count
            }
            #expect(Double(found) / Double(30 * row.k) == row.recall)
        }
    }

    @Test func theReportHasTheContractsKeys() throws {
        let folder = try TemporaryFolder()
        let queries = try Vectors.random(4, 8, seed: 3).mapped(folder, "queries.fbin")
        let (index, _) = try loadedIndex("HNSW8", .squaredL2, Vectors.random(300, 8, seed: 4))
        let truth = try IndexBenchmark.exactTruth(index: index, queries: queries, k: 10)
        let report = try IndexBenchmark(index: index, queries: queries, truth: truth).run(ks: [10], recall: 0.9)
        let data = try JSONEncoder().encode(report)
        let object = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(
            Set(object.keys) == [
                "rows", "items", "dimension", "queries", "metric", "kind", "instruction_set", "target_recall",
            ])
        #expect(object["metric"] as? String == "l2")
        #expect(object["kind"] as? String == "hnsw")
        let rows = try #require(object["rows"] as? [[String: Any]])
        #expect(
            Set(rows[0].keys) == [
                "k", "parameters", "recall", "us_p50", "us_p99", "us_mean", "queries_per_second", "bytes_per_item",
            ])
        let parameters = try #require(rows[0]["parameters"] as? [String: Any])
        #expect(parameters.count == 1)
    }

    /// Of items that score alike, truth names some and a search others; both are right.
    @Test func tiesCountWhicheverTheTruthNames() throws {
        let folder = try TemporaryFolder()
        let distinct = Vectors.random(10, 4, seed: 5)
        let items = Vectors(dimension: 4, values: (0..<10).flatMap { _ in distinct.values })
        let queries = try Vectors.random(6, 4, seed: 6).mapped(folder, "queries.fbin")
        let (index, _) = try loadedIndex("Flat", .innerProduct, items)
        // Rows i, i + 10, ... are the same vector. Our ties go to the lower row, this truth names the highest.
        let best = (0..<6).map { reference(distinct, Array(queries.row($0)), .innerProduct)[0].row }
        let truth = Truth(width: 3, rows: best.flatMap { row in [90, 80, 70].map { Int32($0 + row) } })
        let report = try IndexBenchmark(index: index, queries: queries, truth: truth).run(ks: [3], recall: 1)
        #expect(report.rows[0].recall == 1)
    }

    @Test func whatDoesNotBelongTogetherIsRefused() throws {
        let folder = try TemporaryFolder()
        let (index, _) = try loadedIndex("HNSW4", .innerProduct, Vectors.random(100, 8, seed: 7))
        let queries = try Vectors.random(3, 8, seed: 8).mapped(folder, "queries.fbin")
        let other = try Vectors.random(3, 4, seed: 8).mapped(folder, "other.fbin")
        let none = try Vectors(dimension: 8, values: []).mapped(folder, "none.fbin")
        let truth = try IndexBenchmark.exactTruth(index: index, queries: queries, k: 10)
        #expect(throws: IndexBenchmarkError.dimension(queries: 4, index: 8)) {
            try IndexBenchmark(index: index, queries: other, truth: truth)
        }
        #expect(throws: IndexBenchmarkError.dimension(queries: 4, index: 8)) {
            try IndexBenchmark.exactTruth(index: index, queries: other, k: 10)
        }
        #expect(throws: IndexBenchmarkError.queryCount(queries: 3, truth: 2)) {
            try IndexBenchmark(index: index, queries: queries, truth: Truth(width: 1, rows: [0, 1]))
        }
        #expect(throws: IndexBenchmarkError.queryCount(queries: 0, truth: 0)) {
            try IndexBenchmark(index: index, queries: none, truth: Truth(width: 1, rows: []))
        }
        #expect(throws: IndexBenchmarkError.truthRow(query: 1, row: 100, count: 100)) {
            try IndexBenchmark(index: index, queries: queries, truth: Truth(width: 2, rows: [0, 1, 2, 100, 4, 5]))
        }
        #expect(throws: IndexBenchmarkError.truthTooNarrow(k: 101, width: 100)) {
            try IndexBenchmark.exactTruth(index: index, queries: queries, k: 101)
        }
        let benchmark = try IndexBenchmark(index: index, queries: queries, truth: truth)
        #expect(throws: IndexBenchmarkError.truthTooNarrow(k: 11, width: 10)) {
            try benchmark.run(ks: [10, 11], recall: 0.5)
        }
        #expect(throws: IndexBenchmarkError.k(0)) { try benchmark.run(ks: [0], recall: 0.5) }
        #expect(throws: IndexBenchmarkError.targetRecall(1.5)) { try benchmark.run(ks: [1], recall: 1.5) }
    }
}
