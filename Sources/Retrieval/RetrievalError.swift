public import ItemIndex
public import Towers

/// Why a decoded request cannot be answered by the snapshot that serves.
public enum RetrievalError: Error {
    /// A number as an id, where ids are texts.
    case numberForTextID(IDField)
    /// The request insists on another embedding space.
    case otherSpace
    /// A feature of the wrong type, or an unknown one in a strict request.
    case feature(FeatureError)
    /// Finite features whose embedding is not finite: a number far outside of what the model was trained on.
    case embeddingNotFinite
    /// A search parameter for another kind of index, or out of range.
    case search(SearchError)
    /// The request's time was over before anything was found.
    case deadlineExceeded

    /// Where an id stands in a request.
    public enum IDField: Sendable, Equatable {
        case user
        case exclude(Int)
        case items(Int)
    }
}
