internal import JSON
internal import Memory

/// The header of a safetensors file, checked against the file's length.
struct SafetensorsHeader {
    /// More than any model needs: ten thousand tensors take about 1 MB.
    static let byteCountMax = 100_000_000
    /// Enough for every tensor, and small enough that products of extents do not overflow unnoticed.
    static let rankMax = 8

    let metadata: [String: String]
    let tensors: [String: SafetensorsFile.Tensor]

    init(bytes: UnsafeRawBufferPointer, file: String) throws(SafetensorsError) {
        func fault(_ text: String) -> SafetensorsError { SafetensorsError(file: file, fault: text) }

        guard bytes.count >= 8 else {
            throw fault("has \(bytes.count) bytes, too few for the length of a header")
        }
        let stated = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard stated <= UInt64(SafetensorsHeader.byteCountMax) else {
            throw fault("states a header of \(stated) bytes, the limit is \(SafetensorsHeader.byteCountMax)")
        }
        guard stated <= UInt64(bytes.count - 8) else {
            throw fault("states a header of \(stated) bytes, and \(bytes.count - 8) follow")
        }
        let start = 8 + Int(stated)
        do throws(JSONDocumentError) {
            let root = try JSONDocument(UnsafeRawBufferPointer(rebasing: bytes[8..<start])).root
            var metadata: [String: String] = [:]
            var tensors: [String: SafetensorsFile.Tensor] = [:]
            for (name, node) in try root.members() {
                if name == "__metadata__" {
                    for (key, value) in try node.members() { metadata[key] = try value.string() }
                } else {
                    tensors[name] = try SafetensorsHeader.tensor(node, dataStart: start, fileEnd: bytes.count)
                }
            }
            self.metadata = metadata
            self.tensors = tensors
        } catch {
            throw fault("header: \(error)")
        }
        try SafetensorsHeader.requireEndToEnd(tensors, from: start, to: bytes.count, fault)
    }

    private static func tensor(_ node: JSONNode, dataStart: Int, fileEnd: Int) throws(JSONDocumentError)
        -> SafetensorsFile.Tensor
    {
        try node.requireKeys(["dtype", "shape", "data_offsets"])
        let dtypeNode = try node.member("dtype")
        guard let dtype = SafetensorsFile.DType(rawValue: try dtypeNode.string()) else {
            throw dtypeNode.error("unknown element type '\(try dtypeNode.string())'")
        }
        let shapeNode = try node.member("shape")
        var shape: [Int] = []
        var byteCount = dtype.byteCount
        for extent in try shapeNode.elements() {
            shape.append(try extent.integer(in: 0...Int.max))
            let (product, overflows) = byteCount.multipliedReportingOverflow(by: shape[shape.count - 1])
            guard !overflows else { throw shapeNode.error("more elements than any file holds") }
            byteCount = product
        }
        guard shape.count <= rankMax else {
            throw shapeNode.error("has \(shape.count) dimensions, the limit is \(rankMax)")
        }
        let offsetsNode = try node.member("data_offsets")
        let offsets = try offsetsNode.elements()
        guard offsets.count == 2 else { throw offsetsNode.error("expected two numbers, got \(offsets.count)") }
        let available = fileEnd - dataStart
        let first = try offsets[0].integer(in: 0...Int.max)
        let end = try offsets[1].integer(in: 0...Int.max)
        guard first <= end, end <= available else {
            throw offsetsNode.error("[\(first), \(end)] is not within the \(available) bytes after the header")
        }
        guard end - first == byteCount else {
            throw offsetsNode.error(
                "spans \(end - first) bytes, and \(dtype.rawValue) \(shape) takes \(byteCount)")
        }
        guard (dataStart + first) % dtype.byteCount == 0 || byteCount == 0 else {
            throw offsetsNode.error("byte \(dataStart + first) of the file is not aligned for \(dtype.rawValue)")
        }
        return SafetensorsFile.Tensor(dtype: dtype, shape: shape, range: dataStart + first..<dataStart + end)
    }

    /// Neither a hole nor an overlap from the header to the end of the file.
    private static func requireEndToEnd(
        _ tensors: [String: SafetensorsFile.Tensor], from start: Int, to fileEnd: Int,
        _ fault: (String) -> SafetensorsError
    ) throws(SafetensorsError) {
        var position = start
        let inOrder = tensors.sorted {
            ($0.value.range.lowerBound, $0.value.range.upperBound, $0.key)
                < ($1.value.range.lowerBound, $1.value.range.upperBound, $1.key)
        }
        for (name, tensor) in inOrder {
            guard tensor.range.lowerBound == position else {
                let kind =
                    tensor.range.lowerBound < position ? "overlaps the tensor before it" : "leaves a hole before it"
                throw fault(
                    "tensor '\(name)' \(kind): it starts at byte \(tensor.range.lowerBound), expected \(position)")
            }
            position = tensor.range.upperBound
        }
        guard position == fileEnd else {
            throw fault("has \(fileEnd - position) bytes after its last tensor")
        }
    }
}
