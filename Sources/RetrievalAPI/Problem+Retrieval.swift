internal import ItemIndex
internal import JSON
internal import Memory
public import Retrieval
public import Snapshots
internal import Towers

extension Problem {
    /// Why the serving snapshot cannot answer for this user. `place` is the JSON pointer of what holds `user` and
    /// `context`: empty, or an element of a batch.
    public init(
        _ error: RetrievalError, user: borrowing UserQuery, snapshot: borrowing Snapshot, at place: String = ""
    ) {
        switch error {
        case .numberForTextID(let id):
            let field =
                switch id {
                case .user: "\(place)/user/id"
                case .exclude(let index): "/exclude/\(index)"
                case .items(let index): "/items/\(index)"
                }
            self.init(.idType, "\(field) must be a string", field: field)
        case .otherSpace:
            self.init(
                .spaceMismatch, "the serving snapshot belongs to the space \(snapshot.manifest.spaceID)",
                field: "/if_space_id")
        case .feature(let error): self.init(error, user: user, at: place)
        case .embeddingNotFinite:
            self.init(.featureRange, "the features' numbers are too large: the result is not finite")
        case .search(let error): self.init(error)
        case .deadlineExceeded:
            self.init(
                .deadlineExceeded, "timeout_ms was over before anything was found", field: "/timeout_ms")
        }
    }

    private init(_ error: FeatureError, user: borrowing UserQuery, at place: String) {
        switch error {
        case .unknown(let entry):
            let (field, name) = Problem.feature(entry, of: user, at: place)
            self.init(.unknownFeature, "the serving snapshot has no feature at \(field)", field: field, feature: name)
        case .wrongType(let entry, let expected, let isList):
            let (field, name) = entry.map { Problem.feature($0, of: user, at: place) } ?? ("\(place)/user/id", nil)
            let noun =
                switch expected {
                case .string: isList ? "strings" : "a string"
                case .integer: isList ? "integers" : "an integer"
                case .number: isList ? "numbers" : "a number"
                case .id: isList ? "strings or integers" : "a string or an integer"
                }
            self.init(
                .featureType, "\(field): expected \(isList ? "a list of " : "")\(noun)", field: field, feature: name)
        case .notFinite(let entry):
            let (field, name) = Problem.feature(entry, of: user, at: place)
            self.init(.featureRange, "\(field) is too large for the model", field: field, feature: name)
        }
    }

    private static func feature(
        _ entry: Int, of user: borrowing UserQuery, at place: String
    ) -> (field: String, name: String?) {
        let entry = user.features.entries[entry]
        let name = entry.name.string
        let parent =
            switch entry.source {
            case .user: "\(place)/user/features"
            case .context: "\(place)/context"
            }
        return ("\(parent)/\(JSONValue.pointerToken(name))", name)
    }

    private init(_ error: SearchError) {
        switch error {
        case .notForKind(let parameter, let kind):
            self.init(
                .searchParameter, "\(parameter.rawValue) does nothing for an index of kind \(kind.rawValue)",
                field: Problem.field(of: parameter))
        case .tooSmall(let parameter, let got):
            self.init(.outOfRange, "\(parameter.rawValue) is \(got)", field: Problem.field(of: parameter))
        }
    }

    private static func field(of parameter: SearchParameter) -> String {
        switch parameter {
        case .k: "/k"
        case .ef: "/search/ef"
        case .nprobe: "/search/nprobe"
        }
    }
}
