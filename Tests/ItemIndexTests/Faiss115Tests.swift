import Foundation
import Testing

@testable import ItemIndex

/// Trainers write with today's FAISS, and 1.7.3 reads.
@Suite struct Faiss115Tests {
    private let items = Vectors(dimension: 2, values: (0..<24).flatMap { [Float($0 % 5), Float($0 / 5)] })

    private func write(_ base64: String, _ folder: TemporaryFolder) throws -> String {
        let path = folder.file("index.faiss")
        try #require(Data(base64Encoded: base64)).write(to: URL(fileURLWithPath: path))
        return path
    }

    private func expectAllFound(_ index: ItemIndex) throws {
        #expect(index.count == 24)
        #expect(index.dimension == 2)
        let scratch = SearchScratch(for: index)
        for row in 0..<24 {
            #expect(Array(index.vector(row)) == items.row(row))
            let query = items.row(row)
            let truth = reference(items, query, index.metric).prefix(6).map(\.row)
            for exact in index.kind == .ivfFlat ? [true] : [false, true] {
                let parameters = SearchParameters(exact: exact)
                #expect(try index.search(query, k: 6, parameters: parameters, scratch: scratch).copy.rows == truth)
            }
        }
    }

    @Test func itsFlatFileLoads() throws {
        let folder = try TemporaryFolder()
        let index = try ItemIndex(path: write(Faiss115Files.flat, folder))
        #expect(index.kind == .flat)
        #expect(index.metric == .squaredL2)
        try expectAllFound(index)
    }

    @Test func itsGraphLoads() throws {
        let folder = try TemporaryFolder()
        let index = try ItemIndex(path: write(Faiss115Files.graph, folder))
        #expect(index.kind == .hnsw)
        #expect(index.metric == .innerProduct)
        #expect(index.defaults == SearchParameters(ef: 16))
        try expectAllFound(index)
    }

    @Test func itsInvertedFileLoads() throws {
        let folder = try TemporaryFolder()
        let index = try ItemIndex(path: write(Faiss115Files.invertedFile, folder))
        #expect(index.kind == .ivfFlat)
        #expect(index.metric == .squaredL2)
        try expectAllFound(index)
    }

    /// The vectors of a snapshot may stand in another file than the graph.
    @Test func itsGraphWithoutVectorsTakesThemFromElsewhere() throws {
        let folder = try TemporaryFolder()
        let path = try write(Faiss115Files.graphWithoutVectors, folder)
        do {
            _ = try ItemIndex(path: path)
            Issue.record("a graph without vectors was loaded")
        } catch {
            #expect(
                error.description
                    == "\(path): the graph was written without vectors, and none were given with it")
        }
        try items.values.withUnsafeBufferPointer { values in
            try expectAllFound(ItemIndex(path: path, externalVectors: values.baseAddress))
        }
        var damaged = items.values
        damaged[7] = .nan
        try damaged.withUnsafeBufferPointer { values in
            do {
                _ = try ItemIndex(path: path, externalVectors: values.baseAddress)
                Issue.record("vectors that are not finite were loaded")
            } catch let error as ItemIndexError {
                #expect(error.description == "\(path): component 1 of row 3 is not finite")
            }
        }
    }

    @Test func vectorsMayNotBeGivenTwice() throws {
        let folder = try TemporaryFolder()
        let path = try write(Faiss115Files.graph, folder)
        try items.values.withUnsafeBufferPointer { values in
            do {
                _ = try ItemIndex(path: path, externalVectors: values.baseAddress)
                Issue.record("vectors were taken twice")
            } catch let error as ItemIndexError {
                #expect(error.description == "\(path): the index holds vectors, and others were given with it")
            }
        }
    }
}
