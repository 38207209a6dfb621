import Foundation
import TestSupport

/// Samples of a `/metrics` page.
struct Metrics {
    struct Sample {
        let name: String
        let labels: [String: String]
        let value: Double
    }

    let text: String
    let samples: [Sample]

    init(_ text: String) throws {
        self.text = text
        samples = try text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
            guard let match = line.wholeMatch(of: /([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)/),
                let value = Double(match.3 == "+Inf" ? "inf" : String(match.3))
            else { throw Daemon.Failure(description: "no sample: \(line)") }
            var labels: [String: String] = [:]
            for label in (match.2 ?? "").matches(of: /([a-zA-Z_]+)="([^"]*)"/) {
                labels[String(label.1)] = String(label.2)
            }
            return Sample(name: String(match.1), labels: labels, value: value)
        }
    }

    /// Reads the admin plane's page.
    init(of daemon: Daemon) throws {
        try self.init(String(decoding: daemon.admin("GET", "/metrics").body, as: UTF8.self))
    }

    /// The value of the sample with these labels and perhaps others; nil if there is none or more than one.
    subscript(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        let found = samples.filter { sample in
            sample.name == name && labels.allSatisfy { sample.labels[$0.key] == $0.value }
        }
        return found.count == 1 ? found[0].value : nil
    }
}
