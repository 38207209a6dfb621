internal import HTTPServer
internal import ItemIndex

/// Which requests are set aside, to be answered in pieces between which the worker serves its other connections
/// (docs/THREADING.md).
public struct LongRequests: Sendable {
    /// How long one goes on before others are served, in nanoseconds.
    public var yieldNanoseconds: UInt64
    /// A search that may take longer is set aside, in nanoseconds. Five times what most requests take in all; handing over costs
    /// a hundredth of it.
    public var searchNanosecondsMax: UInt64 = 500_000
    /// A batch of more users is set aside; a user takes about 10 us.
    public var batchUserCountMax = 32

    /// Long requests by the measures above.
    public init(yieldNanoseconds: UInt64) {
        self.yieldNanoseconds = yieldNanoseconds
    }
}

/// The connections that a worker serves while a long search lasts.
final class OtherConnections: SearchYielding {
    /// The request that is long, while it is answered.
    unowned(unsafe) var exchange: Exchange?
    private let yieldNanoseconds: UInt64

    init(yieldNanoseconds: UInt64) {
        self.yieldNanoseconds = yieldNanoseconds
    }

    func letOthers() {
        exchange?.serveOthers(every: yieldNanoseconds)
    }
}
