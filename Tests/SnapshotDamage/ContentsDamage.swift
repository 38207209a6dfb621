internal import Foundation
internal import Snapshots
internal import TestSupport

private let userTower = "user_tower.safetensors"
private let itemTower = "item_tower.safetensors"
private let items = "items.safetensors"
private let users = "users.safetensors"
private let itemState = "item_state.safetensors"

/// Safetensors files and words that are sealed and do not fit the manifest.
public enum ContentsDamage {
    /// All of them.
    public static let all: [Damage] = headers + towers + catalogues + words

    static let headers: [Damage] = [
        .sealed("100,000 tensors", .contents, users, "tensor 't0' is not part of the model") { copy in
            let bytes = try copy.bytes(of: users)
            let (start, end) = SnapshotCopy.headerBounds(bytes)
            let text = String(decoding: bytes[start..<end], as: UTF8.self)
            let entries = (0..<100_000).map { #","t\#($0)":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"# }
            try copy.replaceHeader(users, by: text[..<text.lastIndex(of: "}")!] + entries.joined() + "}")
        },
        .sealed("an unknown element type", .contents, users, "/c_u/dtype", "unknown element type 'F8'") {
            try $0.editEntry(users, "c_u", "dtype", "F8")
        },
        .sealed("a negative extent", .contents, users, "/c_u/shape/0: -200 is not within") {
            try $0.editEntry(users, "c_u", "shape", [-200, 20])
        },
        .sealed("extents that overflow", .contents, users, "more elements than any file holds") {
            try $0.editEntry(users, "c_u", "shape", [1 << 62, 1 << 62])
        },
        .sealed("extents that overflow to the right size", .contents, users, "more elements than any file holds") {
            try $0.editEntry(users, "c_u", "shape", [1 << 62, 16])
        },
        .sealed("nine dimensions", .contents, users, "has 9 dimensions, the limit is 8") {
            try $0.editEntry(users, "c_u", "shape", [200, 20, 1, 1, 1, 1, 1, 1, 1])
        },
        .sealed("an extent of 2^70", .contents, users, "header:", "number") { copy in
            let bytes = try copy.bytes(of: users)
            let (start, end) = SnapshotCopy.headerBounds(bytes)
            let text = String(decoding: bytes[start..<end], as: UTF8.self)
            try copy.replaceHeader(
                users, by: text.replacingOccurrences(of: "[200,20]", with: "[1180591620717411303424,20]"))
        },
        .sealed("a tensor twice", .contents, users, "/c_u: this key stands twice") { copy in
            let bytes = try copy.bytes(of: users)
            let (start, end) = SnapshotCopy.headerBounds(bytes)
            let text = String(decoding: bytes[start..<end], as: UTF8.self)
            try copy.replaceHeader(users, by: text.replacingOccurrences(of: "\"s_u\"", with: "\"c_u\""))
        },
        .sealed("offsets the wrong way round", .contents, users, "/c_u/data_offsets", "is not within") {
            try $0.editEntry(users, "c_u", "data_offsets", [9608, 1608])
        },
        .sealed("offsets beyond the file", .contents, users, "/c_u/data_offsets", "is not within") {
            try $0.editEntry(users, "c_u", "data_offsets", [1 << 40, (1 << 40) + 8000])
        },
        .sealed("three offsets", .contents, users, "expected two numbers, got 3") {
            try $0.editEntry(users, "c_u", "data_offsets", [1608, 9608, 9608])
        },
        .sealed("a negative offset", .contents, users, "/c_u/data_offsets/0: -8 is not within") {
            try $0.editEntry(users, "c_u", "data_offsets", [-8, 7992])
        },
        .sealed("a range that the shape does not fill", .contents, users, "spans 8000 bytes, and F16 [200, 21]") {
            try $0.editEntry(users, "c_u", "shape", [200, 21])
        },
        .sealed("an overlap", .contents, users, "tensor 'c_u' overlaps the tensor before it") {
            try $0.editEntry(users, "c_u", "data_offsets", [1600, 9600])
        },
        .sealed("a hole", .contents, users, "tensor 'c_u' leaves a hole before it") {
            try $0.editEntry(users, "c_u", "data_offsets", [1616, 9616])
        },
        .sealed("a tensor off its alignment", .contents, users, "is not aligned for") {
            try $0.editEntry(users, "c_u", "data_offsets", [1609, 9609])
        },
        .sealed("an unknown key of a tensor", .contents, users, "/c_u/strides: unknown key") {
            try $0.editEntry(users, "c_u", "strides", [1])
        },
        .sealed("towers swapped", .contents, userTower, "tensor 'vocabulary.country.offsets' is missing") {
            try $0.swap(userTower, itemTower)
        },
    ]

    static let towers: [Damage] = [
        .sealed("NaN in the user tower", .contents, userTower, "'layers.2.weight' is not finite at element 17") {
            try $0.setFloat(userTower, "layers.2.weight", at: 17, .nan)
        },
        .sealed("an infinity in the item tower", .contents, itemTower, "'layers.4.bias' is not finite at element 19") {
            try $0.setFloat(itemTower, "layers.4.bias", at: 19, -.infinity)
        },
        .sealed("NaN in a table", .contents, userTower, "'inputs.recent_items.weight' is not finite at element 131071")
        {
            try $0.setFloat(userTower, "inputs.recent_items.weight", at: 131_071, .nan)
        },
        .sealed("a float16 infinity among the users", .contents, users, "'s_u' is not finite at element 3") {
            try $0.editTensor(users, "s_u") { $0.replaceSubrange(6..<8, with: [0x00, 0x7C]) }
        },
        .sealed("NaN among the users", .contents, users, "'c_u' is not finite at element 0", in: "cs3-one-cycle") {
            try $0.setFloat(users, "c_u", at: 0, .nan)
        },
        .sealed("NaN among the items' state", .contents, itemState, "'c_v' is not finite at element 5") {
            try $0.setFloat(itemState, "c_v", at: 5, .nan)
        },
        .sealed("a gate is missing", .contents, userTower, "tensor 'layers.0.gate.weight' is missing") {
            try $0.removeTensors(userTower) { $0 == "layers.0.gate.weight" }
        },
        .sealed("a gate too many", .contents, itemTower, "tensor 'layers.0.gate.bias' is not part") { copy in
            copy.set("towers/item/layers/0/cycles", "0")
        },
        .sealed("a weight of another type", .contents, userTower, "'layers.0.bias' is I32, expected F32") {
            try $0.editEntry(userTower, "layers.0.bias", "dtype", "I32")
        },
        .sealed("a weight transposed", .contents, userTower, "has shape [50, 100], expected [100, 50]") {
            try $0.editEntry(userTower, "layers.2.gate.weight", "shape", [50, 100])
        },
        .sealed("a bias with a dimension more", .contents, itemTower, "has shape [50, 1], expected [50]") {
            try $0.editEntry(itemTower, "layers.2.bias", "shape", [50, 1])
        },
        .sealed("a table with other rows", .contents, userTower, "has shape [64, 8], expected [65, 8]") {
            $0.set("features/user/2/encoding/rows", "65")
        },
        .sealed("a vocabulary with a word less", .contents, userTower, "'vocabulary.country.offsets' has shape [11]") {
            $0.set("features/user/1/encoding/rows", "10")
        },
        .sealed("vocabulary offsets that descend", .contents, userTower, "'vocabulary.country.offsets' descends at 3") {
            try $0.setNumber(userTower, "vocabulary.country.offsets", at: 3, 0)
        },
        .sealed("vocabulary offsets that start late", .contents, userTower, "starts at 1, expected 0") {
            try $0.setNumber(userTower, "vocabulary.country.offsets", at: 0, 1)
        },
        .sealed("vocabulary offsets beyond the file", .contents, userTower, "ends at 18446744073709551615") {
            try $0.setNumber(userTower, "vocabulary.country.offsets", at: 10, .max)
        },
        .sealed("vocabulary offsets beyond the words", .contents, userTower, "'vocabulary.country.bytes' has shape") {
            try $0.setNumber(userTower, "vocabulary.country.offsets", at: 10, 34)
        },
        .sealed("a word twice", .contents, userTower, "'vocabulary.slot.bytes' has the word of row 0 again in row 1") {
            copy in
            // Two empty words.
            try copy.setNumber(userTower, "vocabulary.slot.offsets", at: 1, 0)
            try copy.setNumber(userTower, "vocabulary.slot.offsets", at: 2, 0)
        },
        .sealed("an item state for other items", .contents, itemState, "'c_v' has shape [20, 1200]") {
            try $0.editEntry(itemState, "c_v", "shape", [20, 1200])
        },
        .sealed("an item state without cross vectors", .contents, itemState, "tensor 'c_v' is missing") {
            try $0.removeTensors(itemState) { $0 == "c_v" }
        },
        .sealed("an item state without tensors", .contents, itemState, "is missing") {
            try $0.removeTensors(itemState) { _ in true }
        },
    ]

    static let catalogues: [Damage] = [
        .sealed("an item less in the manifest", .contents, items, "has shape [1201], expected [1200]") {
            $0.set("items/count", "1199")
        },
        .sealed("2^31 items in the manifest", .contents, items, "expected [2147483647]") {
            $0.set("items/count", "2147483646")
        },
        .sealed("a user more in the manifest", .contents, users, "has shape [201], expected [202]") {
            $0.set("users/count", "201")
        },
        .sealed("2^31 users in the manifest", .contents, users, "expected [2147483647]") {
            $0.set("users/count", "2147483646")
        },
        .sealed("ids as numbers", .contents, items, "tensor 'ids' is missing") {
            $0.set("item_id_type", #""u64""#)
        },
        .sealed("ids as texts", .contents, items, "tensor 'ids.bytes' is missing", in: "plain") {
            $0.set("item_id_type", #""string""#)
        },
        .sealed("an item id twice", .contents, items, "rows 3 and 999 have the same id", in: "plain") { copy in
            try copy.setNumber(items, "ids", at: 3, 77_777_777)
            try copy.setNumber(items, "ids", at: 999, 77_777_777)
        },
        .sealed("an item id of no bytes", .contents, items, "row 4 has not 1 to 256 bytes") { copy in
            try copy.editTensor(items, "ids.offsets") { $0.replaceSubrange(40..<48, with: $0.subdata(in: 32..<40)) }
        },
        .sealed("an item id of 300 bytes", .contents, items, "row 0 has not 1 to 256 bytes") { copy in
            try copy.editTensor(items, "ids.offsets") { bytes in
                for row in 1..<400 {
                    bytes.replaceSubrange(row * 8..<row * 8 + 8, with: bytes.subdata(in: 3200..<3208))
                }
            }
        },
        .sealed("an item id that is not UTF-8", .contents, items, "row 0 is not UTF-8") {
            try $0.editTensor(items, "ids.bytes") { $0[$0.startIndex] = 0xFF }
        },
        .sealed("a user id twice", .contents, users, "rows 0 and 199 have the same id", in: "cs3-two-cycles") { copy in
            try copy.setNumber(users, "ids", at: 0, .max)
            try copy.setNumber(users, "ids", at: 199, .max)
        },
        .sealed("users without cross vectors", .contents, users, "tensor 'c_u' is missing", in: "cross-only") {
            try $0.removeTensors(users) { $0 == "c_u" }
        },
        .sealed("cross vectors the manifest does not name", .contents, users, "tensor 'c_u' is not part") {
            $0.set("users/vectors", #"["cascade"]"#)
        },
        .sealed("an attribute is missing", .contents, items, "tensor 'attribute.price' is missing") {
            try $0.removeTensors(items) { $0 == "attribute.price" }
        },
        .sealed("an attribute the manifest does not name", .contents, items, "tensor 'attribute.price' is not part") {
            $0.unset("items/attributes/2")
        },
        .sealed("an attribute of another type", .contents, items, "'attribute.price' is F32, expected I64") {
            $0.set("items/attributes/2/type", #""i64""#)
        },
        .sealed("an attribute that has one value", .contents, items, "'attribute.country.offsets' is not part") {
            $0.set("items/attributes/1/multi_valued", "false")
        },
        .sealed("attribute offsets that descend", .contents, items, "'attribute.country.offsets' descends at 7") {
            try $0.setNumber(items, "attribute.country.offsets", at: 7, 0)
        },
        .sealed("vectors where the index holds them", .contents, items, "tensor 'vectors' is missing") {
            $0.set("index/holds_vectors", "false")
        },
    ]

    static let words: [Damage] = [
        .sealed("a code without a word", .contents, items, "'attribute.advertiser' has code 4294967295") {
            try $0.editTensor(items, "attribute.advertiser") { $0.replaceSubrange(0..<4, with: [255, 255, 255, 255]) }
        },
        .sealed("too few words", .contents, items, "'attribute.country' has code", "attributes.json 1 words") { copy in
            let words = try JSONSerialization.jsonObject(with: copy.bytes(of: "attributes.json")) as! [String: [String]]
            try copy.write(
                "attributes.json", JSONSerialization.data(withJSONObject: words.merging(["country": ["DE"]]) { $1 }))
        },
        .sealed("an attribute without words", .contents, "attributes.json", "\"country\" is missing") {
            try $0.write("attributes.json", #"{"advertiser": []}"#)
        },
        .sealed("words of no attribute", .contents, "attributes.json", "/colour: unknown key") {
            try $0.write("attributes.json", #"{"advertiser": [], "country": [], "colour": []}"#)
        },
        .sealed("words that are numbers", .contents, "attributes.json", "/advertiser/0: expected a string") {
            try $0.write("attributes.json", #"{"advertiser": [1], "country": []}"#)
        },
        .sealed("words that are no JSON", .contents, "attributes.json", "malformed JSON") {
            try $0.truncate("attributes.json", to: 5000)
        },
        .sealed("words of nothing", .contents, "attributes.json", "no JSON value") {
            try $0.truncate("attributes.json", to: 0)
        },
        .sealed("words nested 100,000 deep", .contents, "attributes.json", "nested too deeply") {
            try $0.write("attributes.json", String(repeating: #"{"advertiser":"#, count: 100_000))
        },
    ]
}
