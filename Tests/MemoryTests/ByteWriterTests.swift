import Foundation
import Memory
import Testing

@Suite struct ByteWriterTests {
    @Test func growsAndKeepsWhatWasWritten() {
        var writer = ByteWriter(capacity: 1)
        for index in 0..<100_000 { writer.append(UInt8(truncatingIfNeeded: index)) }
        #expect(writer.count == 100_000)
        writer.withUnsafeBytes { bytes in
            #expect((0..<100_000).allSatisfy { bytes[$0] == UInt8(truncatingIfNeeded: $0) })
        }
        writer.removeAll()
        writer.append("ab")
        writer.append(text: "ö")
        writer.append(atMost: 10) {
            $0.storeBytes(of: 33, as: UInt8.self); return 1
        }
        writer.withUnsafeBytes { #expect(Array($0) == Array("abö!".utf8)) }
    }

    @Test func mapsAFileAndSaysWhyNot() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try Data("tower".utf8).write(to: path)
        let file = try MappedFile(path: path.path)
        try FileManager.default.removeItem(at: path)
        #expect(Array(file.bytes) == Array("tower".utf8))
        let missing = try #require(throws: FileError.self) { try MappedFile(path: path.path) }
        #expect(missing.code == ENOENT)
        #expect(throws: FileError.self) { try MappedFile(path: "/") }
    }
}
