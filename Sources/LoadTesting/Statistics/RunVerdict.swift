/// How a load test ended, and with which exit status.
public enum RunVerdict: String, Codable, Sendable {
    /// Every threshold holds.
    case passed
    /// One does not.
    case failed
    /// The run says nothing, whatever its thresholds look like.
    case invalid

    /// The process's exit status.
    public var exitStatus: Int32 {
        switch self {
        case .passed: 0
        case .failed: 99
        case .invalid: 3
        }
    }

    /// An invalid run wins over a threshold that fails: figures that a late generator made are nobody's fault.
    public init(thresholds: [ThresholdResult], invalidReasons: [String]) {
        if !invalidReasons.isEmpty || thresholds.contains(where: { $0.verdict == .unmeasured }) {
            self = .invalid
        } else {
            self = thresholds.contains { $0.verdict == .fails } ? .failed : .passed
        }
    }
}
