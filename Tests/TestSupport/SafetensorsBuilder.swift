public import Foundation

/// Writes safetensors files for tests, byte by byte and without the product's code.
public struct SafetensorsBuilder {
    private var entries: [String] = []
    private var data = Data()

    /// Starts a file of an embedding space.
    public init(spaceID: String? = nil) {
        if let spaceID { entries.append(#""__metadata__":{"space_id":"\#(spaceID)"}"#) }
    }

    /// Adds an F32 tensor.
    public mutating func add(_ name: String, shape: [Int], _ values: [Float]) {
        add(name, "F32", shape: shape, values.flatMap { value in withUnsafeBytes(of: value) { Array($0) } })
    }

    /// Adds a U64 tensor with one dimension.
    public mutating func add(_ name: String, numbers: [UInt64]) {
        add(name, "U64", shape: [numbers.count], numbers.flatMap { value in withUnsafeBytes(of: value) { Array($0) } })
    }

    /// Adds texts as `NAME.offsets` and `NAME.bytes`, padded so that what follows is aligned.
    public mutating func add(_ name: String, texts: [String]) {
        var offsets: [UInt64] = [0]
        for text in texts { offsets.append(offsets.last! + UInt64(text.utf8.count)) }
        add("\(name).offsets", numbers: offsets)
        pendingBytes.append(("\(name).bytes", texts.flatMap { Array($0.utf8) }))
    }

    // Tensors of bytes go last, because they leave what follows them unaligned.
    private var pendingBytes: [(name: String, bytes: [UInt8])] = []

    private mutating func add(_ name: String, _ dtype: String, shape: [Int], _ bytes: [UInt8]) {
        entries.append(
            #""\#(name)":{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":[\#(data.count),\#(data.count + bytes.count)]}"#
        )
        data.append(contentsOf: bytes)
    }

    /// The file's bytes.
    public func build() -> Data {
        var copy = self
        for (name, bytes) in pendingBytes { copy.add(name, "U8", shape: [bytes.count], bytes) }
        var header = "{" + copy.entries.joined(separator: ",") + "}"
        header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
        var file = Data()
        withUnsafeBytes(of: UInt64(header.utf8.count)) { file.append(contentsOf: $0) }
        file.append(contentsOf: header.utf8)
        file.append(copy.data)
        return file
    }

    /// Writes the file under a temporary name, hands its path over, and removes it.
    public func withFile<Result>(_ body: (String) throws -> Result) throws -> Result {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).safetensors")
        try build().write(to: path)
        defer { try? FileManager.default.removeItem(at: path) }
        return try body(path.path)
    }
}
