internal import CKernels
public import Identifiers
internal import Memory
internal import Safetensors
public import Towers

/// The users' cached cross and cascade vectors as they were at training time, by user id.
public final class UserVectors: Sendable {
    /// The users that have a row.
    public let ids: Identifiers
    /// What a request looks up, without counting references.
    public let view: View
    private let file: SafetensorsFile

    /// The vectors without their owner, valid while the `UserVectors` live, which keep the ids' table and the file; a
    /// plain value.
    public struct View: BitwiseCopyable, @unchecked Sendable {
        /// The users that have a row.
        public let ids: Identifiers.View
        // Both lead into the file's read-only mapping.
        fileprivate let cross: Column?
        fileprivate let cascade: Column?

        /// The cached vectors of a user's row, valid until the scratch is used again.
        @inline(__always)
        public func vectors(row: Int, _ scratch: borrowing Scratch) -> CachedVectors {
            CachedVectors(
                cross: cross?.vector(row, scratch.cross.base),
                cascade: cascade?.vector(row, scratch.cascade.base))
        }
    }

    /// One cached vector per user.
    fileprivate struct Column: BitwiseCopyable {
        enum Storage: BitwiseCopyable {
            case floats(UnsafePointer<Float>)
            case halves(UnsafePointer<UInt16>)
        }
        let storage: Storage
        let dimension: Int

        init(_ file: SafetensorsFile, _ name: String, count: Int, dimension: Int) throws(SafetensorsError) {
            self.dimension = dimension
            if file.tensors[name]?.dtype == .f16 {
                storage = .halves(try file.halves(name, shape: [count, dimension]))
            } else {
                storage = .floats(try file.floats(name, shape: [count, dimension]))
            }
        }

        func vector(_ row: Int, _ buffer: UnsafeMutablePointer<Float>) -> UnsafePointer<Float> {
            switch storage {
            case .floats(let floats): return floats + row * dimension
            case .halves(let halves):
                belfry_widen_halves(halves + row * dimension, dimension, buffer)
                return UnsafePointer(buffer)
            }
        }
    }

    /// What one worker needs to widen float16 vectors.
    public struct Scratch: ~Copyable {
        let cross: AlignedBuffer<Float>
        let cascade: AlignedBuffer<Float>

        /// Buffers of the given lengths.
        public init(dimension: Int, cascadeDimension: Int) {
            cross = AlignedBuffer(repeating: 0, count: dimension)
            cascade = AlignedBuffer(repeating: 0, count: cascadeDimension)
        }
    }

    /// Reads `users.safetensors` as the manifest describes it.
    init(file: SafetensorsFile, manifest: Manifest, users: Manifest.Users) throws(SafetensorsError) {
        self.file = file
        var names = Identifiers.tensorNames(manifest.userIDType)
        if users.hasCrossVectors { names.insert("c_u") }
        if users.hasCascadeVectors { names.insert("s_u") }
        try file.requireExactly(names)
        ids = try Identifiers(file: file, type: manifest.userIDType, count: users.count)
        view = View(
            ids: ids.view,
            cross: users.hasCrossVectors
                ? try Column(file, "c_u", count: users.count, dimension: manifest.dimension) : nil,
            cascade: users.hasCascadeVectors
                ? try Column(file, "s_u", count: users.count, dimension: manifest.cascadeDimension ?? 0) : nil)
    }
}

extension Identifiers {
    /// The names of the tensors that hold ids of this type.
    static func tensorNames(_ type: Manifest.IDType) -> Set<String> {
        switch type {
        case .u64: ["ids"]
        case .string: ["ids.bytes", "ids.offsets"]
        }
    }

    /// Reads and indexes `count` unique ids.
    init(file: SafetensorsFile, type: Manifest.IDType, count: Int) throws(SafetensorsError) {
        switch type {
        case .u64:
            let numbers = try file.numbers("ids", count: count)
            self = .numbers(try unique(file) { () throws(DuplicateIdentifier) in try NumberTable(ids: numbers) })
        case .string:
            let texts = try file.texts("ids", count: count)
            for row in 0..<count where !(1...256).contains(texts.offsets[row + 1] - texts.offsets[row]) {
                throw file.fault("the id of row \(row) has not 1 to 256 bytes")
            }
            // Replies carry ids, and a JSON text is UTF-8.
            for row in 0..<count {
                let id = texts.bytes[Int(texts.offsets[row])..<Int(texts.offsets[row + 1])]
                guard String(validating: id, as: UTF8.self) != nil else {
                    throw file.fault("the id of row \(row) is not UTF-8")
                }
            }
            self = .texts(
                try unique(file) { () throws(DuplicateIdentifier) in
                    try TextTable(bytes: texts.bytes, offsets: texts.offsets)
                })
        }
    }
}

/// Builds a table of ids, naming the file in the error.
private func unique<Table>(_ file: SafetensorsFile, _ build: () throws(DuplicateIdentifier) -> Table)
    throws(SafetensorsError) -> Table
{
    do {
        return try build()
    } catch {
        throw file.fault("rows \(error.rows[0]) and \(error.rows[1]) have the same id")
    }
}
