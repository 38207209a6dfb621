import Foundation
import SnapshotDamage
import Snapshots
import TestSupport
import Testing

/// Manifests that are sealed and wrong.
@Suite struct ManifestDamageTests {
    @Test(arguments: ManifestDamage.all) func refuses(damage: Damage) throws {
        try damage.run()
    }

    @Test(arguments: [
        "format", "id", "kind", "created_at", "space_id", "cascade_space_id", "dimension", "cascade_dimension",
        "metric", "normalisation", "score", "item_id_type", "user_id_type", "items", "users", "ema", "features",
        "towers", "index", "live_watermark", "files", "training", "normalisation/item", "score/bias",
        "items/attributes",
        "users/vectors", "ema/beta", "features/item", "towers/user", "towers/user/file", "towers/user/layers/0/cycles",
        "towers/user/inputs/0/pooling", "features/user/0/encoding/seed", "index/search/ef", "index/recall/floor",
        "files/items.safetensors/sha256",
    ]) func refusesAMissingKey(path: String) throws {
        let copy = try SnapshotCopy(of: "cs3-three-cycles")
        copy.unset(path)
        try copy.seal(includingFiles: !path.hasPrefix("files"))
        let key = path.split(separator: "/").last!
        try expectRefusal(of: copy.path, .manifest, "manifest.json", ["the key \"\(key)\" is missing"])
    }
}
