internal import JSON
internal import Memory
internal import Retrieval
internal import Towers

extension RequestDecoder {
    // MARK: Users and features

    func decodeUser(_ value: JSONValue, into user: inout UserQuery) throws(RequestError) {
        guard let object = value.object else { throw wrongType(value, .object) }
        for (name, member) in object {
            if name == Text(UserField.id.name) {
                user.id = try identifier(member)
            } else if name == Text(UserField.features.name) {
                try decodeFeatures(member, source: .user, into: &user.features)
            } else {
                throw .unknownField(field: member.pointer)
            }
        }
    }

    func decodeFeatures(
        _ value: JSONValue, source: FeatureSource, into features: inout FeatureValues
    ) throws(RequestError) {
        guard let object = value.object else { throw wrongType(value, .object) }
        guard features.entries.count + object.count <= Limits.featureCount else {
            return refuse(.tooMany(field: value.pointer, limit: Limits.featureCount))
        }
        for (name, member) in object {
            if !Limits.featureNameByteCount.contains(name.byteCount) {
                refuse(.textLength(field: member.pointer, bounds: Limits.featureNameByteCount))
            }
            let count = member.array?.count ?? 1
            guard count <= Limits.featureValueCount else {
                refuse(.tooMany(field: member.pointer, limit: Limits.featureValueCount))
                continue
            }
            guard features.values.count + count <= Limits.totalFeatureValueCount else {
                refuse(.tooMany(field: member.pointer, limit: Limits.totalFeatureValueCount))
                continue
            }
            if let list = member.array {
                for element in list {
                    // A `null` in a list is no missing value, and no feature takes it.
                    features.appendValue(RequestDecoder.scalar(element) ?? .composite)
                }
                features.appendEntry(name: name, source: source, isList: true)
            } else {
                if !member.isNull {
                    features.appendValue(RequestDecoder.scalar(member) ?? .composite)
                }
                features.appendEntry(name: name, source: source, isList: false)
            }
        }
    }

    /// Nil for an object, a list and `null`.
    @inline(__always)
    private static func scalar(_ value: JSONValue) -> FeatureValue? {
        switch value.kind {
        case .string: .text(value.text!)
        case .integer: value.unsigned.map { .unsigned($0) } ?? .negative(value.signed!)
        case .number: .number(value.number!)
        case .boolean: .boolean(value.boolean!)
        case .object, .array, .null: nil
        }
    }

    // MARK: Ids

    func identifier(_ value: JSONValue) throws(RequestError) -> RequestedID {
        if let text = value.text {
            if !Limits.idByteCount.contains(text.byteCount) {
                refuse(.textLength(field: value.pointer, bounds: Limits.idByteCount))
            }
            return .text(text)
        }
        if let number = value.unsigned {
            return .number(number)
        }
        throw value.kind == .integer ? .negativeID(field: value.pointer) : wrongType(value, .identifier)
    }

    func decodeIDs(
        _ value: JSONValue, maximumCount: Int, into ids: inout [RequestedID]
    ) throws(RequestError) {
        guard let list = value.array else { throw wrongType(value, .array) }
        guard list.count <= maximumCount else {
            return refuse(.tooMany(field: value.pointer, limit: maximumCount))
        }
        for element in list {
            ids.append(try identifier(element))
        }
    }

    // MARK: Scalars

    /// Nil if the integer was refused.
    func integer(_ value: JSONValue, in bounds: ClosedRange<Int>) throws(RequestError) -> Int? {
        guard value.kind == .integer else { throw wrongType(value, .integer) }
        guard let signed = value.signed, bounds.contains(Int(signed)) else {
            refuse(.outOfRange(field: value.pointer, bounds: bounds))
            return nil
        }
        return Int(signed)
    }

    func boolean(_ value: JSONValue) throws(RequestError) -> Bool {
        guard let boolean = value.boolean else { throw wrongType(value, .boolean) }
        return boolean
    }

    func string(_ value: JSONValue) throws(RequestError) -> Text {
        guard let text = value.text else { throw wrongType(value, .string) }
        return text
    }

    func requestID(_ value: JSONValue) throws(RequestError) -> Text {
        let text = try string(value)
        if !Limits.requestIDByteCount.contains(text.byteCount) {
            refuse(.textLength(field: value.pointer, bounds: Limits.requestIDByteCount))
        }
        return text
    }

    func model(_ value: JSONValue) throws(RequestError) -> Text {
        let text = try string(value)
        if text != Text("default") {
            refuse(.unknownModel(field: value.pointer))
        }
        return text
    }

    func format(_ value: JSONValue) throws(RequestError) -> ReplyFormat {
        let text = try string(value)
        if text == Text("columns") { return .columns }
        if text == Text("binary") { return .binary }
        if text != Text("rows") { refuse(.unknownFormat(field: value.pointer)) }
        return .rows
    }

    /// Nil if the number was refused. Parts of a millisecond count: a search takes less than one.
    func timeout(_ value: JSONValue) throws(RequestError) -> Double? {
        guard let millis = value.number else { throw wrongType(value, .number) }
        guard millis > 0, millis <= Double(Limits.timeoutMillisMax) else {
            refuse(.notWithin(field: value.pointer, maximum: Limits.timeoutMillisMax))
            return nil
        }
        return millis
    }

    func decodeSearch(_ value: JSONValue, into query: inout RetrievalQuery) throws(RequestError) {
        guard let object = value.object else { throw wrongType(value, .object) }
        for (name, member) in object {
            if name == Text(SearchField.ef.name) {
                query.ef = try integer(member, in: Limits.ef)
            } else if name == Text(SearchField.nprobe.name) {
                query.nprobe = try integer(member, in: Limits.nprobe)
            } else if name == Text(SearchField.exact.name) {
                query.exact = try boolean(member)
            } else {
                throw .unknownField(field: member.pointer)
            }
        }
    }

    // MARK: Fields whose capability is not built yet

    func checkFilter(_ value: JSONValue) throws(RequestError) {
        guard let filter = value.object else { throw wrongType(value, .object) }
        for (name, conditions) in filter {
            let isNumeric = name == Text(FilterField.numeric.name)
            guard isNumeric || name == Text(FilterField.allow.name) || name == Text(FilterField.deny.name) else {
                throw .unknownField(field: conditions.pointer)
            }
            guard let attributes = conditions.object else { throw wrongType(conditions, .object) }
            for (_, condition) in attributes {
                if isNumeric && condition.object == nil { throw wrongType(condition, .object) }
                if !isNumeric && condition.array == nil { throw wrongType(condition, .array) }
            }
        }
        refuse(.notBuilt(field: value.pointer))
    }

    func checkAttributes(_ value: JSONValue) throws(RequestError) {
        guard let names = value.array else { throw wrongType(value, .array) }
        for name in names {
            _ = try string(name)
        }
        refuse(.notBuilt(field: value.pointer))
    }
}
