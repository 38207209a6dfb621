internal import Foundation
internal import Snapshots
internal import TestSupport

/// Damages that sizes and checksums have to find.
public enum IntegrityDamage {
    /// All of them.
    public static let all: [Damage] = unsealed

    /// All files of a snapshot but the manifest and `_SUCCESS`.
    public static let files = [
        "attributes.json", "golden.jsonl", "index.faiss", "item_state.safetensors", "item_tower.safetensors",
        "items.safetensors", "user_tower.safetensors", "users.safetensors", "warmup.jsonl",
    ]

    static let unsealed: [Damage] = [
        .unsealed("missing _SUCCESS", .directory, nil, "has no _SUCCESS file") { try $0.remove("_SUCCESS") },
        .unsealed("empty _SUCCESS", .manifest, "_SUCCESS", "no JSON value") { try $0.truncate("_SUCCESS", to: 0) },
        .unsealed("_SUCCESS is not JSON", .manifest, "_SUCCESS", "malformed JSON") {
            try $0.write("_SUCCESS", "done!")
        },
        .unsealed("_SUCCESS is random bytes", .manifest, "_SUCCESS", "byte") {
            try $0.write("_SUCCESS", Data([0xFF, 0xFE, 0, 0x80]))
        },
        .unsealed("half of _SUCCESS", .manifest, "_SUCCESS", "malformed JSON") { try $0.truncate("_SUCCESS", to: 80) },
        .unsealed("_SUCCESS with another key", .manifest, "_SUCCESS", "/by: unknown key") {
            try $0.write("_SUCCESS", #"{"published_at":"2026-01-01T00:00:00Z","by":"me","manifest":{}}"#)
        },
        .unsealed("_SUCCESS without the manifest's seal", .manifest, "_SUCCESS", "\"manifest\" is missing") {
            try $0.write("_SUCCESS", #"{"published_at":"2026-01-01T00:00:00Z"}"#)
        },
        .unsealed("_SUCCESS with a sha256 too short", .manifest, "_SUCCESS", "/manifest/sha256", "64 lower-case") {
            try $0.write(
                "_SUCCESS", #"{"published_at":"2026-01-01T00:00:00Z","manifest":{"bytes":3,"sha256":"abc"}}"#)
        },
        .unsealed("_SUCCESS of a megabyte", .manifest, "_SUCCESS", "the limit is") {
            try $0.write("_SUCCESS", String(repeating: " ", count: 1_000_000))
        },
        .unsealed("_SUCCESS published at no time", .manifest, "_SUCCESS", "/published_at", "not a time") { copy in
            try copy.seal()
            try copy.edit("_SUCCESS") { bytes in
                let text = String(decoding: bytes, as: UTF8.self)
                bytes = Data(text.replacingOccurrences(of: "2026-01-01T00:00:00Z", with: "yesterday").utf8)
            }
        },
        .unsealed("_SUCCESS of another snapshot", .integrity, "manifest.json", "_SUCCESS says") {
            try $0.take("_SUCCESS", from: "plain")
        },
        .unsealed("_SUCCESS is a directory", .directory, "_SUCCESS", "not a regular file") {
            try $0.replaceByDirectory("_SUCCESS")
        },
        .unsealed("missing manifest", .directory, "manifest.json", "cannot open: No such file") {
            try $0.remove("manifest.json")
        },
        .unsealed("manifest is a directory", .directory, "manifest.json", "not a regular file") {
            try $0.replaceByDirectory("manifest.json")
        },
        .unsealed("empty manifest", .integrity, "manifest.json", "has 0 bytes, _SUCCESS says") {
            try $0.truncate("manifest.json", to: 0)
        },
        .unsealed("half a manifest", .integrity, "manifest.json", "has 7000 bytes, _SUCCESS says") {
            try $0.truncate("manifest.json", to: 7000)
        },
        .unsealed("manifest with a flipped bit", .integrity, "manifest.json", "has sha256", "_SUCCESS says") {
            try $0.flipBit("manifest.json", at: 100)
        },
        .unsealed("manifest with a line more", .integrity, "manifest.json", "bytes, _SUCCESS says") {
            try $0.append("manifest.json", "\n")
        },
        .unsealed("manifest edited", .integrity, "manifest.json", "_SUCCESS says") { copy in
            copy.set("index/recall/floor", "0.5")
            try copy.writeManifest()
        },
        .unsealed("manifest of another snapshot", .integrity, "manifest.json", "_SUCCESS says") {
            try $0.take("manifest.json", from: "plain")
        },
        .unsealed("towers swapped", .integrity, "item_tower.safetensors", "the manifest says") {
            try $0.swap("user_tower.safetensors", "item_tower.safetensors")
        },
        .unsealed("golden and warmup swapped", .integrity, "golden.jsonl", "the manifest says") {
            try $0.swap("golden.jsonl", "warmup.jsonl")
        },
        .unsealed("index of another snapshot", .integrity, "index.faiss", "the manifest says") {
            try $0.take("index.faiss", from: "plain")
        },
        .unsealed("half-written: no _SUCCESS yet, half a tower", .directory, nil, "has no _SUCCESS") { copy in
            try copy.remove("_SUCCESS")
            try copy.truncate("user_tower.safetensors", to: 1000)
            try copy.remove("index.faiss")
        },
        .unsealed("half-written: nothing but a tower", .directory, nil, "no _SUCCESS") { copy in
            for file in ["_SUCCESS", "manifest.json"] + files where file != "user_tower.safetensors" {
                try copy.remove(file)
            }
        },
    ]
}
