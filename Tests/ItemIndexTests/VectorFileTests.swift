import Foundation
import Testing

@testable import ItemIndex

/// Bytes of an `.fbin` or `.ibin` file.
func binaryFile<Element>(_ count: UInt32, _ dimension: UInt32, _ elements: [Element]) -> Data {
    var data = Data()
    withUnsafeBytes(of: count.littleEndian) { data.append(contentsOf: $0) }
    withUnsafeBytes(of: dimension.littleEndian) { data.append(contentsOf: $0) }
    elements.withUnsafeBytes { data.append(contentsOf: $0) }
    return data
}

extension Vectors {
    /// Writes them to a file and maps it.
    func mapped(_ folder: TemporaryFolder, _ name: String) throws -> VectorFile {
        try binaryFile(UInt32(count), UInt32(dimension), values)
            .write(to: URL(fileURLWithPath: folder.file(name)))
        return try VectorFile(path: folder.file(name))
    }
}

@Suite struct VectorFileTests {
    private func written(_ data: Data, _ folder: TemporaryFolder) throws -> String {
        let path = folder.file("file.bin")
        try data.write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test func rowsAreThoseOfTheFile() throws {
        let folder = try TemporaryFolder()
        let vectors = Vectors.random(7, 5, seed: 1)
        let file = try vectors.mapped(folder, "items.fbin")
        #expect(file.count == 7)
        #expect(file.dimension == 5)
        for row in 0..<7 { #expect(Array(file.row(row)) == vectors.row(row)) }
        #expect(try VectorFile(path: written(binaryFile(0, 3, [Float]()), folder)).count == 0)
    }

    static let malformed: [(data: Data, message: String)] = [
        (Data(), "0 bytes are too few for the two counts of 8 bytes"),
        (Data([1, 0, 0, 0, 1, 0, 0]), "7 bytes are too few for the two counts of 8 bytes"),
        (binaryFile(1, 0, [Float]()), "the dimension is 0 and must be in 1...4096"),
        (binaryFile(1, 4097, [Float]()), "the dimension is 4097 and must be in 1...4096"),
        (binaryFile(2, 3, [1, 2, 3, 4, 5] as [Float]), "2 rows of 3 make 32 bytes, and the file has 28"),
        (binaryFile(2, 3, [1, 2, 3, 4, 5, 6, 7] as [Float]), "2 rows of 3 make 32 bytes, and the file has 36"),
        (binaryFile(2, 1, [1, 2] as [Float]) + [0], "2 rows of 1 make 16 bytes, and the file has 17"),
        (
            binaryFile(.max, 4096, [1] as [Float]),
            "4294967295 rows of 4096 make 70368744161288 bytes, and the file has 12"
        ),
        (binaryFile(2, 2, [1, 2, 3, .nan] as [Float]), "component 1 of row 1 is not finite"),
        (binaryFile(2, 2, [1, 2, -.infinity, 4] as [Float]), "component 0 of row 1 is not finite"),
    ]

    @Test(arguments: malformed.indices)
    func aMalformedFileIsRefusedWithItsNumbers(_ number: Int) throws {
        let folder = try TemporaryFolder()
        let path = try written(Self.malformed[number].data, folder)
        do {
            _ = try VectorFile(path: path)
            Issue.record("it was taken")
        } catch {
            #expect(error.description == "\(path): \(Self.malformed[number].message)")
        }
    }

    @Test func truthIsReadWithAndWithoutDistances() throws {
        let folder = try TemporaryFolder()
        let rows: [Int32] = [4, 0, 2, 1, 3, 5]
        let plain = try Truth(path: written(binaryFile(2, 3, rows), folder))
        #expect(plain.queryCount == 2)
        #expect(plain.width == 3)
        #expect(plain.rows == rows)
        let distances = rows.map { Float($0) }
        let data = binaryFile(2, 3, rows) + distances.withUnsafeBytes { Data($0) }
        #expect(try Truth(path: written(data, folder)).rows == rows)
        try plain.write(to: folder.file("copy.ibin"))
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder.file("copy.ibin"))) == binaryFile(2, 3, rows))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["copy.ibin", "file.bin"])
        #expect(throws: (any Error).self) { try plain.write(to: folder.file("none/copy.ibin")) }
    }

    static let malformedTruth: [(data: Data, message: String)] = [
        (Data([1]), "1 bytes are too few for the two counts of 8 bytes"),
        (binaryFile(1, 0, [Int32]()), "the dimension is 0 and must be in 1...1048576"),
        (binaryFile(2, 2, [1, 2, 3] as [Int32]), "2 rows of 2 make 24 or 40 bytes, and the file has 20"),
        (binaryFile(2, 2, [1, 2, 3, 4, 5] as [Int32]), "2 rows of 2 make 24 or 40 bytes, and the file has 28"),
        (binaryFile(2, 2, [1, 2, 3, -1] as [Int32]), "rank 1 of query 1 is row -1"),
    ]

    @Test(arguments: malformedTruth.indices)
    func malformedTruthIsRefusedWithItsNumbers(_ number: Int) throws {
        let folder = try TemporaryFolder()
        let path = try written(Self.malformedTruth[number].data, folder)
        do {
            _ = try Truth(path: path)
            Issue.record("it was taken")
        } catch {
            #expect(error.description == "\(path): \(Self.malformedTruth[number].message)")
        }
    }

    @Test func aMissingFileIsRefused() throws {
        let folder = try TemporaryFolder()
        #expect(throws: VectorFileError.self) { try VectorFile(path: folder.file("none.fbin")) }
        #expect(throws: VectorFileError.self) { try Truth(path: folder.file("none.ibin")) }
    }
}
