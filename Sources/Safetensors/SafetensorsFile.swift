internal import CKernels
internal import JSON
internal import Memory

/// What is wrong with a safetensors file.
public struct SafetensorsError: Error, Equatable, CustomStringConvertible {
    /// The file's name, without its folder.
    public let file: String
    /// The fault, with names and numbers.
    public let fault: String

    /// Names a fault.
    public init(file: String, fault: String) {
        self.file = file
        self.fault = fault
    }

    /// One line.
    public var description: String { "\(file): \(fault)" }
}

/// A safetensors file (<https://github.com/huggingface/safetensors>), mapped and checked whole when it is opened:
/// the tensors lie end to end from the header to the end of the file, each as long as its shape says, aligned, and
/// without a NaN or an infinity. Pointers into it are valid while the object lives.
///
///     let file = try SafetensorsFile(path: "user_tower.safetensors")
///     let weight = try file.floats("layers.0.weight", shape: [64, 128])   // row-major
public final class SafetensorsFile: Sendable {
    /// The element types this reader knows.
    public enum DType: String, Sendable {
        case bool = "BOOL"
        case u8 = "U8"
        case i8 = "I8"
        case u16 = "U16"
        case i16 = "I16"
        case u32 = "U32"
        case i32 = "I32"
        case u64 = "U64"
        case i64 = "I64"
        case f16 = "F16"
        case bf16 = "BF16"
        case f32 = "F32"
        case f64 = "F64"

        /// Bytes per element.
        public var byteCount: Int {
            switch self {
            case .bool, .u8, .i8: 1
            case .u16, .i16, .f16, .bf16: 2
            case .u32, .i32, .f32: 4
            case .u64, .i64, .f64: 8
            }
        }
    }

    /// A tensor's place in the file.
    public struct Tensor: Sendable, Equatable {
        /// The element type.
        public let dtype: DType
        /// Row-major extents; empty for a scalar.
        public let shape: [Int]
        /// Its bytes, counted from the start of the file.
        public let range: Range<Int>

        /// How many elements it has.
        public var elementCount: Int { range.count / dtype.byteCount }
    }

    /// The file's name, without its folder.
    public let name: String
    /// `__metadata__`.
    public let metadata: [String: String]
    /// All tensors by name.
    public let tensors: [String: Tensor]
    private let mapping: MappedFile

    /// Maps a file and checks all of it.
    public convenience init(path: String) throws(SafetensorsError) {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        let mapping: MappedFile
        do {
            mapping = try MappedFile(path: path)
        } catch {
            throw SafetensorsError(file: name, fault: "cannot \(error.operation): \(error.reason)")
        }
        try self.init(mapping: mapping, name: name)
    }

    private init(mapping: MappedFile, name: String) throws(SafetensorsError) {
        let header = try SafetensorsHeader(bytes: mapping.bytes, file: name)
        self.mapping = mapping
        self.name = name
        metadata = header.metadata
        tensors = header.tensors
        for (tensorName, tensor) in tensors.sorted(by: { $0.value.range.lowerBound < $1.value.range.lowerBound }) {
            try checkFinite(tensorName, tensor)
        }
    }

    /// An error about this file.
    public func fault(_ fault: String) -> SafetensorsError {
        SafetensorsError(file: name, fault: fault)
    }

    /// Whether the file has the tensor.
    public func has(_ tensorName: String) -> Bool {
        tensors[tensorName] != nil
    }

    /// Refuses a file that lacks one of the names, or has another.
    public func requireExactly(_ names: Set<String>) throws(SafetensorsError) {
        if let missing = names.subtracting(tensors.keys).min() { throw fault("tensor '\(missing)' is missing") }
        if let surplus = Set(tensors.keys).subtracting(names).min() {
            throw fault("tensor '\(surplus)' is not part of the model the manifest describes")
        }
    }

    /// The bytes of a tensor of this type and shape.
    public func bytes(_ tensorName: String, _ dtype: DType, shape: [Int]) throws(SafetensorsError)
        -> UnsafeRawBufferPointer
    {
        guard let tensor = tensors[tensorName] else { throw fault("tensor '\(tensorName)' is missing") }
        guard tensor.dtype == dtype else {
            throw fault("tensor '\(tensorName)' is \(tensor.dtype.rawValue), expected \(dtype.rawValue)")
        }
        guard tensor.shape == shape else {
            throw fault("tensor '\(tensorName)' has shape \(tensor.shape), expected \(shape)")
        }
        return UnsafeRawBufferPointer(rebasing: mapping.bytes[tensor.range])
    }

    /// The elements of an F32 tensor, row-major.
    public func floats(_ tensorName: String, shape: [Int]) throws(SafetensorsError) -> UnsafePointer<Float> {
        try bytes(tensorName, .f32, shape: shape).elements(of: Float.self).baseAddress ?? nowhere()
    }

    /// The bit patterns of an F16 tensor, row-major.
    public func halves(_ tensorName: String, shape: [Int]) throws(SafetensorsError) -> UnsafePointer<UInt16> {
        try bytes(tensorName, .f16, shape: shape).elements(of: UInt16.self).baseAddress ?? nowhere()
    }

    /// The elements of a U64 tensor with one dimension.
    public func numbers(_ tensorName: String, count: Int) throws(SafetensorsError) -> UnsafeBufferPointer<UInt64> {
        try bytes(tensorName, .u64, shape: [count]).elements(of: UInt64.self)
    }

    /// The elements of a U32 tensor with one dimension.
    public func codes(_ tensorName: String, count: Int) throws(SafetensorsError) -> UnsafePointer<UInt32> {
        try bytes(tensorName, .u32, shape: [count]).elements(of: UInt32.self).baseAddress ?? nowhere()
    }

    /// The elements of an I64 tensor with one dimension.
    public func integers(_ tensorName: String, count: Int) throws(SafetensorsError) -> UnsafePointer<Int64> {
        try bytes(tensorName, .i64, shape: [count]).elements(of: Int64.self).baseAddress ?? nowhere()
    }

    /// `count` texts stored as `NAME.bytes` U8 and `NAME.offsets` U64 [count + 1]; offsets start at 0, never descend and
    /// end with the bytes.
    public func texts(_ textsName: String, count: Int) throws(SafetensorsError)
        -> (bytes: UnsafeRawBufferPointer, offsets: UnsafeBufferPointer<UInt64>)
    {
        let offsets = try offsets("\(textsName).offsets", count: count)
        let total = Int(offsets[count])
        return (try bytes("\(textsName).bytes", .u8, shape: [total]), offsets)
    }

    /// A U64 [count + 1] tensor that starts at 0 and never descends. Its last number is what the values have to match.
    public func offsets(_ tensorName: String, count: Int) throws(SafetensorsError) -> UnsafeBufferPointer<UInt64> {
        let offsets = try numbers(tensorName, count: count + 1)
        guard offsets[0] == 0 else { throw fault("tensor '\(tensorName)' starts at \(offsets[0]), expected 0") }
        for index in 0..<count where offsets[index + 1] < offsets[index] {
            throw fault("tensor '\(tensorName)' descends at \(index + 1)")
        }
        guard offsets[count] <= UInt64(mapping.bytes.count) else {
            throw fault("tensor '\(tensorName)' ends at \(offsets[count]), beyond the file")
        }
        return offsets
    }

    private func checkFinite(_ tensorName: String, _ tensor: Tensor) throws(SafetensorsError) {
        let bytes = UnsafeRawBufferPointer(rebasing: mapping.bytes[tensor.range])
        let count = tensor.elementCount
        let first: Int
        switch tensor.dtype {
        case .f32: first = belfry_first_not_finite(bytes.elements(of: Float.self).baseAddress, count)
        case .f16: first = belfry_first_not_finite_half(bytes.elements(of: UInt16.self).baseAddress, count)
        case .f64: first = bytes.elements(of: Double.self).firstIndex { !$0.isFinite } ?? count
        case .bf16: first = bytes.elements(of: UInt16.self).firstIndex { $0 & 0x7F80 == 0x7F80 } ?? count
        default: return
        }
        if first < count { throw fault("tensor '\(tensorName)' is not finite at element \(first)") }
    }

    /// The address of a tensor without elements; never read.
    private func nowhere<Element>() -> UnsafePointer<Element> {
        UnsafePointer(bitPattern: 64)!
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes as elements. The header's check has made sure of size and alignment.
    fileprivate func elements<Element: BitwiseCopyable>(of type: Element.Type) -> UnsafeBufferPointer<Element> {
        guard let base = baseAddress else { return UnsafeBufferPointer(start: nil, count: 0) }
        return UnsafeBufferPointer(
            start: base.assumingMemoryBound(to: Element.self), count: count / MemoryLayout<Element>.stride)
    }
}
