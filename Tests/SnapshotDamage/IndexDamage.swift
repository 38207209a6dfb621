internal import Foundation
internal import Snapshots
internal import TestSupport

/// Indexes that are sealed and do not fit, or that FAISS must not see.
public enum IndexDamage {
    /// All of them.
    public static let all: [Damage] = foreign + damaged

    static let foreign: [Damage] = [
        .sealed("an index of another count", .index, "index.faiss", "has 1500 vectors, the manifest 1200 items") {
            try $0.take("index.faiss", from: "cs3-two-cycles")
        },
        .sealed(
            "an index of another dimension", .index, "index.faiss", "has dimension 48, the manifest 33",
            in: "cross-only"
        ) { try $0.take("index.faiss", from: "cs3-two-cycles") },
        .sealed("an index of another metric", .index, "index.faiss", "metric", "'ip'", in: "cascade-only") {
            try $0.write("index.faiss", flat(800, 16, metric: 1))
        },
        .sealed("another metric in the manifest", .index, "index.faiss", "metric", "'l2'", in: "cascade-only") {
            $0.set("metric", #""l2""#)
        },
        .sealed("a flat index for a graph", .index, "index.faiss", "is a flat index, the manifest says 'hnsw'") {
            try $0.write("index.faiss", flat(1200, 20))
        },
        .sealed("a flat index for lists", .index, "index.faiss", "the manifest says 'ivf_flat'", in: "cross-only") {
            try $0.write("index.faiss", flat(1500, 33))
        },
        .sealed("a graph for lists", .index, "index.faiss", "is a hnsw index, the manifest says 'ivf_flat'") { copy in
            copy.set("index/kind", #""ivf_flat""#)
            copy.set("index/search", #"{"nprobe": 4}"#)
        },
        // The vectors of another model, of the same shape: nothing but the golden answers can tell.
        .sealed("item vectors of other items", .golden, "golden.jsonl", "line 1:", in: "cascade-only") { copy in
            try copy.edit("index.faiss") { bytes in
                let vector = bytes.subdata(in: 45..<45 + 64)
                bytes.removeSubrange(45..<45 + 64)
                bytes.append(vector)
            }
        },
        .sealed("item vectors a little longer", .golden, "golden.jsonl", "the score of rank 1", in: "cascade-only") {
            try $0.edit("index.faiss") { bytes in
                for offset in stride(from: 45, to: bytes.count, by: 4) {
                    let bits = bytes[offset..<offset + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                    bytes.replaceSubrange(
                        offset..<offset + 4,
                        with: SnapshotCopy.littleEndian((Float(bitPattern: bits) * 1.01).bitPattern))
                }
            }
        },
        .sealed("recall under the floor", .recall, "index.faiss", "recall@1 is", "ef 1", "requires 1.0") { copy in
            copy.set("index/search/ef", "1")
            copy.set("index/recall", #"{"k": 1, "floor": 1.0}"#)
        },
        .sealed(
            "recall of lists under the floor", .recall, "index.faiss", "recall@100 is", "nprobe 1", in: "cross-only"
        ) { $0.set("index/search/nprobe", "1") },
    ]

    static let damaged: [Damage] = [
        .sealed("no index", .index, "index.faiss", "the file has 0 more") { try $0.truncate("index.faiss", to: 0) },
        .sealed("half an index", .index, "index.faiss", "the file has") { try $0.truncate("index.faiss", to: 100_000) },
        .sealed("an index and a byte", .index, "index.faiss", "1 more bytes follow") {
            try $0.append("index.faiss", "x")
        },
        .sealed("text for an index", .index, "index.faiss", "unsupported index kind") {
            try $0.write("index.faiss", "this is no index")
        },
        .sealed("letters of a terminal", .index, "index.faiss", "unsupported index kind ?[2J") {
            try $0.write("index.faiss", "\u{1B}[2J and more")
        },
        .sealed(
            "an item vector of NaN", .index, "index.faiss", "component 5 of row 1 is not finite", in: "cascade-only"
        ) {
            try $0.edit("index.faiss") { bytes in
                let offset = 45 + 64 + 20
                bytes.replaceSubrange(offset..<offset + 4, with: SnapshotCopy.littleEndian(Float.nan.bitPattern))
            }
        },
        .sealed("an item vector of infinity", .index, "index.faiss", "is not finite") {
            try $0.edit("index.faiss") { bytes in
                bytes.replaceSubrange(
                    bytes.count - 4..<bytes.count, with: SnapshotCopy.littleEndian(Float.infinity.bitPattern))
            }
        },
        .sealed(
            "a centroid of NaN", .index, "index.faiss", "component 0 of the centroid of list 1 is not finite",
            in: "cross-only"
        ) {
            try $0.edit("index.faiss") { bytes in
                let offset = 98 + 33 * 4
                bytes.replaceSubrange(offset..<offset + 4, with: SnapshotCopy.littleEndian(Float.nan.bitPattern))
            }
        },
        .sealed(
            "vectors that are not normalised", .index, "index.faiss", "row 0 has norm", "are normalised",
            in: "cross-only"
        ) { $0.set("normalisation/item", #""l2""#) },
        .sealed("2^62 floats", .index, "index.faiss", "must be", in: "cascade-only") {
            try $0.edit("index.faiss") { $0.replaceSubrange(37..<45, with: SnapshotCopy.littleEndian(UInt64(1) << 62)) }
        },
        .sealed("2^40 rows", .index, "index.faiss", "row count", in: "cross-only") {
            try $0.edit("index.faiss") { $0.replaceSubrange(8..<16, with: SnapshotCopy.littleEndian(UInt64(1) << 40)) }
        },
        .sealed("dimension -1", .index, "index.faiss", "dimension is -1", in: "cross-only") {
            try $0.edit("index.faiss") { $0.replaceSubrange(4..<8, with: [255, 255, 255, 255]) }
        },
    ]

    /// An IndexFlat as FAISS writes it. Metric 0 is the inner product, 1 the squared distance.
    static func flat(_ count: Int, _ dimension: Int, metric: Int32 = 0) -> Data {
        var bytes = Data((metric == 0 ? "IxFI" : "IxF2").utf8)
        bytes.append(SnapshotCopy.littleEndian(Int32(dimension)))
        bytes.append(SnapshotCopy.littleEndian(Int64(count)))
        bytes.append(SnapshotCopy.littleEndian(Int64(1 << 20)))
        bytes.append(SnapshotCopy.littleEndian(Int64(1 << 20)))
        bytes.append(1)
        bytes.append(SnapshotCopy.littleEndian(metric))
        bytes.append(SnapshotCopy.littleEndian(UInt64(count * dimension)))
        bytes.append(Data(count: count * dimension * 4))
        return bytes
    }
}
