internal import Foundation
internal import Snapshots
internal import TestSupport

/// Manifests that are sealed and wrong.
public enum ManifestDamage {
    /// All of them.
    public static let all: [Damage] = values + names + texts

    static let values: [Damage] = [
        .manifest("another format", "format", #""belfry-snapshot/2""#, "/format", "belfry-snapshot/2"),
        .manifest("kind delta", "kind", #""delta""#, "/kind", "'delta'", "only 'full'"),
        .manifest("an unknown key", "shards", "1", "/shards: unknown key"),
        .manifest("an unknown key inside", "index/quantiser", "null", "/index/quantiser: unknown key"),
        .manifest("an id with a slash", "id", #""a/b""#, "/id", "does not match"),
        .manifest("an empty id", "id", #""""#, "/id", "does not match"),
        .manifest("an id of 65 bytes", "id", "\"\(String(repeating: "a", count: 65))\"", "/id", "does not match"),
        .manifest("an id with NUL", "id", #""a\u0000b""#, "/id", "does not match"),
        .manifest("a space that is no id", "space_id", #""ä""#, "/space_id", "does not match"),
        .manifest("created at no time", "created_at", #""yesterday""#, "/created_at", "not a time"),
        .manifest("created in a zone", "created_at", #""2026-01-01T00:00:00+01:00""#, "/created_at", "not a time"),
        .manifest("created in month 13", "created_at", #""2026-13-01T00:00:00Z""#, "/created_at", "not a time"),
        .manifest("another dimension", "dimension", "33", "dimension", "33"),
        .manifest("another dimension without cached vectors", "dimension", "33", "end with 64", "33", in: "plain"),
        .manifest("dimension 0", "dimension", "0", "/dimension: 0 is not within"),
        .manifest("a negative dimension", "dimension", "-20", "/dimension: -20 is not within"),
        .manifest("a huge dimension", "dimension", "1000000", "/dimension: 1000000 is not within"),
        .manifest("a dimension of 2^63", "dimension", "9223372036854775808", "/dimension: the integer is too large"),
        .manifest("a dimension of 2^70", "dimension", "1180591620717411303424", "number"),
        .manifest("a fractional dimension", "dimension", "20.5", "/dimension: expected an integer"),
        .manifest("a dimension of 20.0", "dimension", "20.0", "/dimension: expected an integer"),
        .manifest("a dimension as text", "dimension", #""20""#, "/dimension: expected an integer, got a string"),
        .manifest("1e999", "score/scale", "1e999", "number"),
        .manifest("NaN", "score/scale", "NaN", "malformed"),
        .manifest("cascade dimension without its space", "cascade_space_id", "null", "/cascade_dimension"),
        .manifest("another metric", "metric", #""cosine""#, "/metric", "'cosine'"),
        .manifest("another normalisation", "normalisation/user", #""l1""#, "/normalisation/user", "'l1'"),
        .manifest("another id type", "user_id_type", #""uuid""#, "/user_id_type", "'uuid'"),
        .manifest("-1 items", "items/count", "-1", "/items/count: -1 is not within"),
        .manifest("2^31 items", "items/count", "2147483648", "/items/count: 2147483648 is not within"),
        .manifest("1e9 items as a double", "items/count", "1e9", "/items/count: expected an integer"),
        .manifest("a decay above 1", "ema/beta", "1.5", "/ema/beta: is not within 0 ... 1"),
        .manifest("a negative watermark", "live_watermark", "-1", "/live_watermark: the integer is negative"),
        .manifest("training is no object", "training", "[]", "/training: expected an object"),
        .manifest("unknown cached vectors", "users/vectors/+", #""cycle""#, "/users/vectors", "'cycle'"),
        .manifest("cached vectors listed twice", "users/vectors/+", #""cross""#, "/users/vectors", "twice"),
        .manifest("users without a file", "users", "null", "/users: is null, and files has 'users.safetensors'"),
        .manifest("a file without users", "users", #"{"count":1,"vectors":[]}"#, "files lacks", in: "plain"),
        .sealed(
            "cascade vectors without a cascade space", .manifest, "manifest.json", "/users/vectors", in: "cross-only"
        ) {
            $0.set("users/vectors/+", #""cascade""#)
        },
        .manifest("another kind of index", "index/kind", #""pq""#, "/index/kind", "'pq'"),
        .manifest("ef of the wrong index", "index/kind", #""ivf_flat""#, "/index/search/ef: unknown key"),
        .manifest("ef 0", "index/search/ef", "0", "/index/search/ef: 0 is not within"),
        .manifest("ef of 2^40", "index/search/ef", "1099511627776", "/index/search/ef", "is not within"),
        .manifest("recall above 1", "index/recall/floor", "1.01", "/index/recall/floor"),
        .manifest("recall at 0", "index/recall/k", "0", "/index/recall/k: 0 is not within"),
    ]

    static let names: [Damage] = [
        .manifest(
            "widths that do not chain", "towers/user/layers/2/in", "99", "/towers/user/layers/2", "takes 99", "100"),
        .manifest(
            "an output that does not chain", "towers/user/layers/0/out", "99", "/towers/user/layers/1", "99 come in"),
        .manifest("a last layer too narrow", "towers/item/layers/4/out", "19", "/towers/item/layers", "end with 19"),
        .manifest("no layers", "towers/user/layers", "[]", "has 0 layers"),
        .manifest("no inputs", "towers/user/inputs", "[]", "/towers/user/inputs: 0 numbers"),
        .manifest("17 cycles", "towers/user/layers/0/cycles", "17", "/cycles: 17 is not within"),
        .manifest("-1 cycles", "towers/user/layers/0/cycles", "-1", "/cycles: -1 is not within"),
        .manifest("a layer of 2^32", "towers/user/layers/0/out", "4294967296", "/out: 4294967296 is not within"),
        .manifest("an unknown activation", "towers/user/layers/0/activation", #""mish""#, "/activation", "'mish'"),
        .manifest("an unknown layer", "towers/user/layers/0/kind", #""conv""#, "'conv' is no layer"),
        .manifest("a negative epsilon", "towers/user/layers/1/epsilon", "-1", "/epsilon: is negative"),
        .manifest("an epsilon beyond float32", "towers/user/layers/1/epsilon", "1e300", "/epsilon", "float32"),
        .manifest("two layers of one name", "towers/user/layers/2/name", #""layers.0""#, "called 'layers.0'"),
        .manifest("a layer without a name", "towers/user/layers/2/name", #""""#, "has not 1 to 64 bytes"),
        .manifest("an unknown pooling", "towers/user/inputs/0/pooling", #""max""#, "/pooling", "'max'"),
        .manifest("an embedding of 2^40", "towers/user/inputs/0/dimension", "1099511627776", "is not within"),
        .manifest("an input of no feature", "towers/user/inputs/0/feature", #""gone""#, "no feature is called 'gone'"),
        .manifest("a number as embedding", "towers/user/inputs/0/feature", #""balance""#, "is a number"),
        .manifest("an embedding as number", "towers/user/inputs/6/feature", #""country""#, "rows of a table"),
        .manifest("a feature that feeds twice", "towers/user/inputs/1/feature", #""user_id""#, "feeds two inputs"),
        .manifest("a cross vector too long", "towers/user/inputs/16/dimension", "21", "is not the dimension, 20"),
        .manifest(
            "a cascade vector too long", "towers/user/inputs/17/dimension", "8", "is not the cascade dimension, 7"),
        .manifest("a tower in another file", "towers/user/file", #""../tower.safetensors""#, "/towers/user/file"),
        .manifest("two features of one name", "features/user/1/name", #""device""#, "'device' stands twice"),
        .manifest("a source of the other side", "features/user/1/source", #""item""#, "no source of the user side"),
        .manifest("a second user id", "features/user/1/source", #""user_id""#, "a second feature takes the id"),
        .manifest("a hash of no rows", "features/user/0/encoding/rows", "0", "/encoding/rows: 0 is not within"),
        .manifest("a hash of numbers", "features/user/2/type", #""number""#, "take no type 'number'"),
        .manifest("boundaries that descend", "features/user/4/encoding/boundaries", "[2, 1]", "does not ascend"),
        .manifest("a boundary twice", "features/user/4/encoding/boundaries", "[1, 1]", "does not ascend"),
        .manifest("a deviation of 0", "features/user/6/encoding/transforms/1/deviation", "0", "is not above 0"),
        .manifest("a clip of nothing", "features/user/6/encoding/transforms/2/maximum", "-3", "minimum is above"),
        .manifest("a maximum for one value", "features/user/0/maximum_values", "3", "has no maximum"),
        .manifest("no values at most", "features/user/9/maximum_values", "0", "/maximum_values: 0 is not within"),
        .manifest("an attribute twice", "items/attributes/1/name", #""advertiser""#, "'advertiser' stands twice"),
        .manifest("an unknown attribute type", "items/attributes/1/type", #""f16""#, "/type", "'f16'"),
        .sealed(
            "files out of the directory", .manifest, "manifest.json", "'../../etc/passwd' is not the name of a file"
        ) {
            $0.set(["files", "../../etc/passwd"], seal)
        },
        .sealed("an absolute file", .manifest, "manifest.json", "'/etc/passwd' is not the name of a file") {
            $0.set(["files", "/etc/passwd"], seal)
        },
        // A slash and a combining accent are one Character, which is not equal to a slash; to the kernel they are two.
        .sealed("a file behind an accented slash", .manifest, "manifest.json", "is not the name of a file") {
            $0.set(["files", "../\u{301}x"], seal)
        },
        .sealed("a file called ..", .manifest, "manifest.json", "'..' is not the name of a file") {
            $0.set(["files", ".."], seal)
        },
        .sealed("a file without a name", .manifest, "manifest.json", "is not the name of a file") {
            $0.set(["files", ""], seal)
        },
        .sealed("a file with NUL", .manifest, "manifest.json", "is not the name of a file") {
            $0.set(["files", "index.faiss\0"], seal)
        },
        .sealed("a split file", .manifest, "manifest.json", "part of a split file") {
            $0.set(["files", "items-00000-of-00002.safetensors"], seal)
        },
        .sealed("a file of 2^64 bytes", .manifest, "manifest.json", "number") {
            $0.set(["files", "x"], #"{"bytes": 18446744073709551616, "sha256": ""}"#)
        },
        .sealed("a file of -1 bytes", .manifest, "manifest.json", "/files/x/bytes: -1 is not within") {
            $0.set(["files", "x"], #"{"bytes": -1, "sha256": "\#(String(repeating: "0", count: 64))"}"#)
        },
        .sealed("a sha256 in capitals", .manifest, "manifest.json", "64 lower-case") {
            $0.set(["files", "x"], #"{"bytes": 1, "sha256": "\#(String(repeating: "A", count: 64))"}"#)
        },
    ]

    static let seal = SnapshotCopy.seal(of: Data())

    static let texts: [Damage] =
        [
            .sealed("an empty manifest", .manifest, "manifest.json", "no JSON value") { $0.manifestBytes = Data() },
            .sealed("a manifest that is a list", .manifest, "manifest.json", "expected an object") {
                $0.manifestBytes = Data("[]".utf8)
            },
            .sealed("a manifest of invalid UTF-8", .manifest, "manifest.json", "UTF-8") {
                $0.manifestBytes = Data([0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D])
            },
            .sealed("a manifest followed by another", .manifest, "manifest.json", "content after the JSON value") {
                copy in
                copy.manifestBytes = try copy.bytes(of: "manifest.json") + Data("{}".utf8)
            },
            .sealed("a key twice", .manifest, "manifest.json", "/format: this key stands twice") {
                $0.manifestBytes = Data(#"{"format": "belfry-snapshot/1", "format": "belfry-snapshot/1"}"#.utf8)
            },
            .sealed("a manifest nested 100,000 deep", .manifest, "manifest.json", "nested too deeply") {
                $0.manifestBytes = Data(String(repeating: "[", count: 100_000).utf8)
            },
            .sealed("training nested 65 deep", .manifest, "manifest.json", "nested too deeply") {
                $0.set("training/x", String(repeating: "[", count: 65) + String(repeating: "]", count: 65))
            },
            .sealed("a manifest of 50 MB", .manifest, "manifest.json", "the limit is") {
                $0.manifestBytes = try $0.bytes(of: "manifest.json") + Data(repeating: 0x20, count: 50_000_000)
            },
            .sealed("200,000 features", .manifest, "manifest.json", "has 200000 features, the limit is") { copy in
                copy.set("features/user", "[\(Array(repeating: "0", count: 200_000).joined(separator: ","))]")
            },
            .sealed("50,000 attributes", .manifest, "manifest.json", "has 50000 attributes, the limit is") { copy in
                let attributes = (0..<50_000).map { #"{"name":"\#($0)","type":"f32","multi_valued":false}"# }
                copy.set("items/attributes", "[\(attributes.joined(separator: ","))]")
            },
            .sealed("100,000 layers", .manifest, "manifest.json", "has 100000 layers") { copy in
                let layer = try copy.literal("towers/user/layers/1")
                copy.set("towers/user/layers", "[\(Array(repeating: layer, count: 100_000).joined(separator: ","))]")
            },
            .sealed("100,000 inputs", .manifest, "manifest.json", "has 100000 inputs") { copy in
                let input = try copy.literal("towers/user/inputs/16")
                copy.set("towers/user/inputs", "[\(Array(repeating: input, count: 100_000).joined(separator: ","))]")
            },
        ] + requiredFiles

    static let requiredFiles: [Damage] = [
        "attributes.json", "golden.jsonl", "index.faiss", "item_tower.safetensors", "items.safetensors",
        "user_tower.safetensors", "users.safetensors", "warmup.jsonl",
    ].map { file in
        .sealed("\(file) not sealed", .manifest, "manifest.json", "files lacks '\(file)'") { $0.unset("files/\(file)") }
    }
}
