internal import Foundation

/// A recorded trace: a text file with one arrival a line, in seconds from any origin, ascending.
public enum TraceFile {
    /// The instants in nanoseconds from the first.
    public static func read(_ path: String) throws(LoadTestError) -> [UInt64] {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw .failed("the trace '\(path)' cannot be read")
        }
        var instants: [UInt64] = []
        var first = 0.0
        var latest = -Double.infinity
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let field = line.trimmingCharacters(in: .whitespaces)
            if field.isEmpty { continue }
            guard let seconds = Double(field), seconds.isFinite else {
                throw .failed("\(path):\(number + 1): '\(field.prefix(40))' is no number of seconds")
            }
            guard seconds >= latest else {
                throw .failed("\(path):\(number + 1): \(field) is before the line above it")
            }
            if instants.isEmpty { first = seconds }
            latest = seconds
            guard (seconds - first) * 1e9 < 0x1p62 else {
                throw .failed("\(path):\(number + 1): too far from the first")
            }
            instants.append(UInt64(((seconds - first) * 1e9).rounded()))
            guard instants.count <= Schedule.countMax else {
                throw .failed("\(path): more than \(Schedule.countMax) arrivals")
            }
        }
        guard !instants.isEmpty else { throw .failed("the trace '\(path)' is empty") }
        return instants
    }
}
