public import Foundation

/// Damages inside safetensors files, done without the product's reader.
extension SnapshotCopy {
    /// The header's JSON.
    public func header(_ file: String) throws -> [String: Any] {
        let bytes = try bytes(of: file)
        let (start, end) = SnapshotCopy.headerBounds(bytes)
        return try JSONSerialization.jsonObject(with: bytes.subdata(in: start..<end)) as! [String: Any]
    }

    /// Changes the header's JSON and keeps the data.
    public func editHeader(_ file: String, _ body: (inout [String: Any]) -> Void) throws {
        var header = try header(file)
        body(&header)
        let text = try JSONSerialization.data(withJSONObject: header, options: [.sortedKeys])
        try replaceHeader(file, by: String(decoding: text, as: UTF8.self))
    }

    /// Puts any text where the header was, padded so that the data stay aligned, and keeps the data.
    public func replaceHeader(_ file: String, by text: String) throws {
        try edit(file) { bytes in
            let data = bytes.subdata(in: SnapshotCopy.headerBounds(bytes).end..<bytes.count)
            let padding = String(repeating: " ", count: (8 - text.utf8.count % 8) % 8)
            var file = SnapshotCopy.littleEndian(UInt64(text.utf8.count + padding.utf8.count))
            file.append(contentsOf: (text + padding).utf8)
            file.append(data)
            bytes = file
        }
    }

    /// Changes one tensor's entry in the header.
    public func editEntry(_ file: String, _ tensor: String, _ key: String, _ value: Any) throws {
        try editHeader(file) { header in
            var entry = header[tensor] as! [String: Any]
            entry[key] = value
            header[tensor] = entry
        }
    }

    /// Sets the space that the file says it belongs to; nil for none.
    public func setSpace(_ file: String, _ space: String?) throws {
        try editHeader(file) { header in
            header["__metadata__"] = space.map { ["space_id": $0] } ?? [:]
        }
    }

    /// Changes a tensor's bytes, whose number stays the same.
    public func editTensor(_ file: String, _ tensor: String, _ body: (inout Data) -> Void) throws {
        let range = SnapshotCopy.range(of: tensor, in: try header(file))
        try edit(file) { bytes in
            let start = SnapshotCopy.headerBounds(bytes).end
            var part = bytes.subdata(in: start + range.lowerBound..<start + range.upperBound)
            let count = part.count
            body(&part)
            precondition(part.count == count, "the tensor has to stay as long as it is")
            bytes.replaceSubrange(start + range.lowerBound..<start + range.upperBound, with: part)
        }
    }

    /// Sets one float32 of a tensor.
    public func setFloat(_ file: String, _ tensor: String, at element: Int, _ value: Float) throws {
        try editTensor(file, tensor) { bytes in
            bytes.replaceSubrange(element * 4..<element * 4 + 4, with: SnapshotCopy.littleEndian(value.bitPattern))
        }
    }

    /// Sets one 64-bit number of a tensor.
    public func setNumber(_ file: String, _ tensor: String, at element: Int, _ value: UInt64) throws {
        try editTensor(file, tensor) { bytes in
            bytes.replaceSubrange(element * 8..<element * 8 + 8, with: SnapshotCopy.littleEndian(value))
        }
    }

    /// Takes tensors out of a file, header and data.
    public func removeTensors(_ file: String, where isRemoved: (String) -> Bool) throws {
        let bytes = try bytes(of: file)
        let start = SnapshotCopy.headerBounds(bytes).end
        var header = try header(file)
        var data = Data()
        let names = header.keys.filter { $0 != "__metadata__" }
            .sorted {
                SnapshotCopy.range(of: $0, in: header).lowerBound < SnapshotCopy.range(of: $1, in: header).lowerBound
            }
        for name in names {
            if isRemoved(name) {
                header[name] = nil
                continue
            }
            let range = SnapshotCopy.range(of: name, in: header)
            var entry = header[name] as! [String: Any]
            entry["data_offsets"] = [data.count, data.count + range.count]
            header[name] = entry
            data.append(bytes.subdata(in: start + range.lowerBound..<start + range.upperBound))
        }
        try write(file, bytes.prefix(start) + data)
        try editHeader(file) { $0 = header }
    }

    /// Where the header begins and ends.
    public static func headerBounds(_ bytes: Data) -> (start: Int, end: Int) {
        let count = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        return (8, 8 + count)
    }

    private static func range(of tensor: String, in header: [String: Any]) -> Range<Int> {
        let offsets = (header[tensor] as! [String: Any])["data_offsets"] as! [Int]
        return offsets[0]..<offsets[1]
    }

    /// A number's bytes.
    public static func littleEndian<Number: FixedWidthInteger>(_ number: Number) -> Data {
        withUnsafeBytes(of: number.littleEndian) { Data($0) }
    }
}
