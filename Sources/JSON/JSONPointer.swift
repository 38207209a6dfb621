internal import Memory

extension JSONValue {
    /// The JSON pointer (RFC 6901) of this value in the document it belongs to, such as `/user/features/age`. It is
    /// found by a walk from the document's root, so that only an error pays for it. Of a key that stands twice, the
    /// pointer does not say which.
    public var pointer: String {
        var path = ""
        var container = value(at: 1)
        while container.index != index {
            guard let step = container.step(towards: index) else { return path }
            path += "/" + step.name
            container = step.child
        }
        return path
    }

    private func step(towards target: Int) -> (name: String, child: JSONValue)? {
        if let object {
            for (key, member) in object where target < member.end {
                return (JSONValue.pointerToken(key.string), member)
            }
        } else if let array {
            for (position, element) in array.enumerated() where target < element.end {
                return (String(position), element)
            }
        }
        return nil
    }

    /// `name` as a step of a JSON pointer: `~` and `/` escaped.
    public static func pointerToken(_ name: String) -> String {
        var token = ""
        for character in name.unicodeScalars {
            switch character {
            case "~": token += "~0"
            case "/": token += "~1"
            default: token.unicodeScalars.append(character)
            }
        }
        return token
    }
}
