/// A reader of Prometheus's text format that shares nothing with the writer. It takes only what the format's description allows,
/// and only families whose HELP, TYPE and samples stand together.
struct Exposition {
    struct Sample: Equatable {
        var name: String
        var labels: [String: String]
        var value: Double
    }

    struct Family {
        var help: String
        var type: String
        var samples: [Sample] = []
    }

    struct Fault: Error {
        var line: String
        var fault: String
    }

    private(set) var families: [String: Family] = [:]

    init(_ text: String) throws {
        guard text.isEmpty || text.hasSuffix("\n") else { throw Fault(line: "", fault: "no line feed at the end") }
        var current: String?
        var help: (name: String, text: String)?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init) {
            if line.hasPrefix("# HELP ") {
                let parts = line.dropFirst(7).split(separator: " ", maxSplits: 1).map(String.init)
                help = (parts[0], parts.count > 1 ? try Self.unescaped(parts[1], quotes: false, line) : "")
                current = nil
            } else if line.hasPrefix("# TYPE ") {
                let parts = line.dropFirst(7).split(separator: " ").map(String.init)
                guard parts.count == 2, help?.name == parts[0], families[parts[0]] == nil else {
                    throw Fault(line: line, fault: "TYPE without its HELP, or twice")
                }
                families[parts[0]] = Family(help: help!.text, type: parts[1])
                current = parts[0]
            } else {
                let sample = try Self.sample(line)
                guard let current, let type = families[current]?.type else {
                    throw Fault(line: line, fault: "a sample of no family")
                }
                let suffixes = type == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
                guard suffixes.contains(where: { current + $0 == sample.name }) else {
                    throw Fault(line: line, fault: "a sample of another family")
                }
                families[current]!.samples.append(sample)
            }
        }
    }

    func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        let samples = families.values.flatMap(\.samples).filter { $0.name == name && $0.labels == labels }
        return samples.count == 1 ? samples[0].value : nil
    }

    private static func sample(_ line: String) throws -> Sample {
        var rest = Substring(line)
        func isNameCharacter(_ character: Character) -> Bool {
            character.isASCII && (character.isLetter || character.isNumber || character == "_" || character == ":")
        }
        let name = rest.prefix(while: isNameCharacter)
        rest = rest.dropFirst(name.count)
        var labels: [String: String] = [:]
        if rest.first == "{" {
            repeat {
                rest.removeFirst()
                let label = rest.prefix(while: isNameCharacter)
                rest = rest.dropFirst(label.count)
                guard rest.hasPrefix("=\""), !label.isEmpty, labels[String(label)] == nil else {
                    throw Fault(line: line, fault: "no label")
                }
                rest = rest.dropFirst(2)
                var raw = ""
                while let character = rest.first, character != "\"" {
                    raw.append(character)
                    rest.removeFirst()
                    if character == "\\", let next = rest.first {
                        raw.append(next)
                        rest.removeFirst()
                    }
                }
                guard rest.first == "\"" else { throw Fault(line: line, fault: "no end of a label") }
                rest.removeFirst()
                labels[String(label)] = try unescaped(raw, quotes: true, line)
            } while rest.first == ","
            guard rest.first == "}" else { throw Fault(line: line, fault: "no end of the labels") }
            rest.removeFirst()
        }
        guard rest.first == " ", !name.isEmpty else { throw Fault(line: line, fault: "no value") }
        let text = String(rest.dropFirst())
        let special = ["NaN": Double.nan, "+Inf": .infinity, "-Inf": -.infinity]
        guard let value = special[text] ?? Double(text) else { throw Fault(line: line, fault: "no number") }
        return Sample(name: String(name), labels: labels, value: value)
    }

    private static func unescaped(_ text: String, quotes: Bool, _ line: String) throws -> String {
        var result = ""
        var isEscaped = false
        for character in text {
            switch (isEscaped, character) {
            case (true, "n"): result.append("\n")
            case (true, "\\"): result.append("\\")
            case (true, "\"") where quotes: result.append("\"")
            case (true, _): throw Fault(line: line, fault: "an escape that is none")
            case (false, "\\"): break
            default: result.append(character)
            }
            isEscaped = !isEscaped && character == "\\"
        }
        guard !isEscaped else { throw Fault(line: line, fault: "half an escape") }
        return result
    }
}
