/// A manifest as text, in which nothing but the id is changed.
enum ManifestText {
    /// The text with another id: the value of the key `"id"` at the top is replaced, and every other byte kept. The text
    /// must be a JSON object; nil if the key does not stand there in these letters with a string.
    static func replacingID(in text: [UInt8], by id: String) -> [UInt8]? {
        let quote = UInt8(ascii: "\"")
        var depth = 0
        var position = 0
        while position < text.count {
            switch text[position] {
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            case quote:
                let end = endOfString(text, position)
                let behind = skippingSpace(text, end)
                let isKey = behind < text.count && text[behind] == UInt8(ascii: ":")
                if depth == 1, isKey, text[position..<end].elementsEqual("\"id\"".utf8) {
                    let start = skippingSpace(text, behind + 1)
                    guard start < text.count, text[start] == quote else { return nil }
                    return Array(text[..<start]) + "\"\(id)\"".utf8 + text[endOfString(text, start)...]
                }
                position = end
                continue
            default: break
            }
            position += 1
        }
        return nil
    }

    /// The position behind the string that begins at `start`.
    private static func endOfString(_ text: [UInt8], _ start: Int) -> Int {
        var position = start + 1
        while position < text.count, text[position] != UInt8(ascii: "\"") {
            position += text[position] == UInt8(ascii: "\\") ? 2 : 1
        }
        return min(position + 1, text.count)
    }

    private static func skippingSpace(_ text: [UInt8], _ start: Int) -> Int {
        var position = start
        while position < text.count, [0x20, 0x09, 0x0A, 0x0D].contains(text[position]) { position += 1 }
        return position
    }
}
