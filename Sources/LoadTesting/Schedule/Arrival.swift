/// How requests arrive.
public enum Arrival: Sendable, Equatable {
    /// Independent users: exponential gaps.
    case poisson
    /// One request every 1 / rate.
    case constant
    /// `size` requests at the same instant, bursts at constant distance so that the rate holds.
    case bursts(size: Int)
    /// Instants that were recorded elsewhere, in nanoseconds from the first. The rate is the trace's own.
    case trace([UInt64])

    /// As in `--arrival` and in reports.
    public var name: String {
        switch self {
        case .poisson: "poisson"
        case .constant: "constant"
        case .bursts(let size): "bursts:\(size)"
        case .trace: "trace"
        }
    }
}
