/// Walks through a file's bytes field by field and never past its end. Numbers are little-endian and not aligned.
struct IndexFileReader {
    private let bytes: UnsafeRawBufferPointer
    /// Where the next field begins.
    private(set) var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// Reads one number.
    mutating func read<Number: FixedWidthInteger & BitwiseCopyable>(
        _ field: String, as: Number.Type
    ) throws(IndexFileFault) -> Number {
        try require(field, UInt64(MemoryLayout<Number>.size))
        defer { offset += MemoryLayout<Number>.size }
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Number.self))
    }

    /// Reads one number that has to be in a range.
    @discardableResult
    mutating func read<Number: FixedWidthInteger & BitwiseCopyable>(
        _ field: String, as: Number.Type, in allowed: ClosedRange<Int64>
    ) throws(IndexFileFault) -> Int {
        let number = try read(field, as: Number.self)
        let got = Int64(clamping: number)
        guard allowed.contains(got) else { throw .value(field: field, got: got, allowed: allowed) }
        return Int(got)
    }

    /// Reads a FAISS vector: a 64-bit count, which has to be in a range, and its elements.
    mutating func array<Number: FixedWidthInteger & BitwiseCopyable>(
        _ field: String, of: Number.Type, count allowed: ClosedRange<Int64>
    ) throws(IndexFileFault) -> IndexFileArray<Number> {
        let count = try read("the number of \(field)", as: UInt64.self, in: allowed)
        return try elements(field, of: Number.self, count: count)
    }

    /// Reads elements whose number is known.
    mutating func elements<Number: FixedWidthInteger & BitwiseCopyable>(
        _ field: String, of: Number.Type, count: Int
    ) throws(IndexFileFault) -> IndexFileArray<Number> {
        let (byteCount, overflow) = UInt64(count).multipliedReportingOverflow(by: UInt64(MemoryLayout<Number>.size))
        try require(field, overflow ? .max : byteCount)
        defer { offset += Int(byteCount) }
        return IndexFileArray(
            name: field, count: count,
            bytes: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + Int(byteCount)]))
    }

    /// Throws if anything follows.
    func requireEnd() throws(IndexFileFault) {
        guard offset == bytes.count else { throw .trailing(offset: offset, byteCount: bytes.count - offset) }
    }

    private func require(_ field: String, _ byteCount: UInt64) throws(IndexFileFault) {
        guard byteCount <= UInt64(bytes.count - offset) else {
            throw .truncated(field: field, offset: offset, needed: byteCount, available: bytes.count - offset)
        }
    }
}

/// Numbers in a file, not aligned.
struct IndexFileArray<Number: FixedWidthInteger & BitwiseCopyable> {
    let name: String
    let count: Int
    fileprivate let bytes: UnsafeRawBufferPointer

    /// The number at `index`, which must be below `count`.
    subscript(index: Int) -> Number {
        Number(
            littleEndian: bytes.loadUnaligned(
                fromByteOffset: index &* MemoryLayout<Number>.size, as: Number.self))
    }

    /// The number at `index` if it is in a range.
    func checked(_ index: Int, in allowed: ClosedRange<Int64>) throws(IndexFileFault) -> Int {
        let got = Int64(clamping: self[index])
        guard allowed.contains(got) else { throw .entry(field: name, index: index, got: got, allowed: allowed) }
        return Int(got)
    }
}
