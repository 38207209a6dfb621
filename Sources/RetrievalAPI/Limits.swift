/// What a request may hold. A well-formed request beyond one of these is a 422 that names the field and the limit;
/// a body beyond `bodyByteCount` is a 413. What a connection may do stands in `HTTPLimits`.
///
/// A worker's buffers grow to what these allow and stay, so each is also a bound on memory. Of a worker's decoder and
/// queries at worst: 1 MB of features and ids, 10 MB of a batch's users, and for each byte of the longest body 14 bytes
/// of parser and 16 to find keys that stand twice.
public enum Limits {
    /// Four times a request that uses every limit below (10,000 ids to exclude are 250 KB).
    public static let bodyByteCount = 1 << 20

    /// The contract's. Reading out 10,000 results takes some milliseconds.
    public static let k = 1...10_000

    /// The contract's. One mark per id has to be set and unset for each request.
    public static let excludedIDCount = 10_000

    /// As many as the longest result, so that any reply can be scored again in one request.
    public static let scoredItemCount = 10_000

    /// Twice the largest k: a wider walk than that costs more than an exact scan of most catalogues.
    public static let ef = 1...20_000

    /// More lists than an inverted file over a hundred million items usually has; the index itself takes no more than
    /// it has lists.
    public static let nprobe = 1...65_536

    /// Of `timeout_ms`: a minute, twice what a request may take to arrive. Whoever waits longer needs no limit.
    public static let timeoutMillisMax = 60_000

    /// About 10 us a user.
    public static let embedUserCount = 256

    /// Names in `user.features` and `context` together, known to the snapshot or not. Models have tens.
    public static let featureCount = 256

    /// Values in one list. Models read the first `maximum_values` of a list, some hundreds at the most; clients that
    /// send a whole history should cut it.
    public static let featureValueCount = 4096

    /// Values in all features together: 24 bytes each in the worker's buffer, 400 KB.
    public static let totalFeatureValueCount = 16_384

    /// Names in the schema are short; an ignored one is repeated in the reply under `explain`.
    public static let featureNameByteCount = 1...256

    /// The length of an id in a snapshot, so a longer one cannot exist.
    public static let idByteCount = 1...256

    /// Long enough for a UUID, a trace id or both; echoed in the reply.
    public static let requestIDByteCount = 0...256

    /// How many objects and lists may be open at a time. The deepest request that means something has six.
    public static let nestingDepth = 16
}
