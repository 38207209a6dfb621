/// Why a load test did not run.
public enum LoadTestError: Error, Equatable, CustomStringConvertible {
    /// What was asked for makes no sense: exit status 64.
    case usage(String)
    /// Something was not there or did not work: exit status 1.
    case failed(String)

    /// One line.
    public var description: String {
        switch self {
        case .usage(let text), .failed(let text): text
        }
    }
}
