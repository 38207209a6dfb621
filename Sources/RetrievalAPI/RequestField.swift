internal import Memory

/// The fields of the requests, in one place so that a test can hold openapi.json to them.
package enum RequestField: CaseIterable {
    case requestID, model, user, context, k, exclude, filter, search, timeout, requiredSpaceID, attributes, format
    case strict, explain, requests, items

    package static let ofRetrieve: [RequestField] = [
        .user, .context, .k, .requestID, .exclude, .search, .format, .explain, .strict, .model, .requiredSpaceID,
        .filter, .timeout, .attributes,
    ]
    package static let ofEmbed: [RequestField] = [
        .user, .context, .requests, .requestID, .strict, .model, .requiredSpaceID,
    ]
    package static let ofScore: [RequestField] = [
        .user, .context, .items, .requestID, .strict, .model, .requiredSpaceID,
    ]
    /// Of one element of `requests`.
    package static let ofEmbedElement: [RequestField] = [.user, .context]

    package var name: StaticString {
        switch self {
        case .requestID: "request_id"
        case .model: "model"
        case .user: "user"
        case .context: "context"
        case .k: "k"
        case .exclude: "exclude"
        case .filter: "filter"
        case .search: "search"
        case .timeout: "timeout_ms"
        case .requiredSpaceID: "if_space_id"
        case .attributes: "return"
        case .format: "format"
        case .strict: "strict"
        case .explain: "explain"
        case .requests: "requests"
        case .items: "items"
        }
    }

    @inline(__always)
    static func named(_ name: Text, among fields: [RequestField]) -> RequestField? {
        for field in fields where name == Text(field.name) {
            return field
        }
        return nil
    }
}

/// The fields of `user`.
package enum UserField: CaseIterable {
    case id, features

    package var name: StaticString {
        switch self {
        case .id: "id"
        case .features: "features"
        }
    }
}

/// The fields of `search`.
package enum SearchField: CaseIterable {
    case ef, nprobe, exact

    package var name: StaticString {
        switch self {
        case .ef: "ef"
        case .nprobe: "nprobe"
        case .exact: "exact"
        }
    }
}

/// The fields of `filter`, which is not built yet and yet checked.
package enum FilterField: CaseIterable {
    case allow, deny, numeric

    package var name: StaticString {
        switch self {
        case .allow: "allow"
        case .deny: "deny"
        case .numeric: "numeric"
        }
    }
}
