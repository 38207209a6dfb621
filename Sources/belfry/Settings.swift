internal import Configuration
internal import Foundation
internal import SystemPackage

/// What a command runs with. Each value is the first of: command line flag, environment (`BELFRY_LISTEN`), configuration
/// file (`listen:`), default. A command reads its keys and then calls `finish`, which refuses what it did not ask for: a
/// misspelt setting would silently leave a default in force.
struct Settings {
    /// Each key with its value and where that came from, for `--print-config`.
    private(set) var effective: [(key: String, value: String, source: String)] = []

    private let sources: [Source]
    private let environment: [String: String]
    private let prefix: String
    private let foreignPrefixes: [String]
    private let file: String?
    private var keys: [String] = []

    private struct Source {
        let name: String
        let provider: any ConfigProvider
    }

    /// Opens the sources.
    ///
    /// - flags: what the command line gave, by key; several values are a list.
    /// - prefix: of the variables that count.
    /// - foreignPrefixes: of variables that begin alike and belong to other commands.
    init(
        flags: [String: [String]], environment: [String: String], prefix: String, foreignPrefixes: [String] = [],
        file: String?
    ) async throws(CommandFailure) {
        self.environment = environment
        self.prefix = prefix
        self.foreignPrefixes = foreignPrefixes
        self.file = file
        var variables: [String: String] = [:]
        for (name, value) in environment where name.hasPrefix(prefix) {
            variables[String(name.dropFirst(prefix.count))] = value
        }
        let given = flags.map { key, values in
            (
                AbsoluteConfigKey([key], context: [:]),
                values.count == 1
                    ? ConfigValue(stringLiteral: values[0]) : ConfigValue(.stringArray(values), isSecret: false)
            )
        }
        var sources = [
            Source(name: "flag", provider: InMemoryProvider(values: Dictionary(uniqueKeysWithValues: given))),
            Source(name: "environment", provider: EnvironmentVariablesProvider(environmentVariables: variables)),
        ]
        if let file {
            do {
                sources.append(
                    Source(name: file, provider: try await FileProvider<YAMLSnapshot>(filePath: FilePath(file))))
            } catch {
                throw CommandFailure("configuration file '\(file)' cannot be read: \(error)")
            }
        }
        self.sources = sources
    }

    /// A text; nil if it stands nowhere and there is no default.
    mutating func text(_ key: String, default fallback: String? = nil) throws(CommandFailure) -> String? {
        keys.append(key)
        if let (content, source) = try lookUp(key, .string), case .string(let value) = content {
            effective.append((key, value, source))
            return value
        }
        if let fallback { effective.append((key, fallback, "default")) }
        return fallback
    }

    /// A list of texts; a single value is a list of one.
    mutating func texts(_ key: String) throws(CommandFailure) -> [String] {
        keys.append(key)
        for source in sources {
            let place = AbsoluteConfigKey([key], context: [:])
            if let value = try? source.provider.value(forKey: place, type: .string).value,
                case .string(let text) = value.content
            {
                effective.append((key, text, source.name))
                return [text]
            }
            do {
                if let value = try source.provider.value(forKey: place, type: .stringArray).value,
                    case .stringArray(let list) = value.content
                {
                    effective.append((key, "[\(list.joined(separator: ", "))]", source.name))
                    return list
                }
            } catch {
                throw CommandFailure("'\(key)' (\(source.name)) is no list of texts")
            }
        }
        return []
    }

    /// An integer within bounds; nil if it stands nowhere and there is no default.
    mutating func integer(_ key: String, default fallback: Int? = nil, in bounds: ClosedRange<Int>)
        throws(CommandFailure) -> Int?
    {
        try value(key, default: fallback, expected: "an integer of \(bounds.lowerBound) to \(bounds.upperBound)") {
            Int($0).flatMap { bounds.contains($0) ? $0 : nil }
        }
    }

    /// `true` or `false`.
    mutating func boolean(_ key: String) throws(CommandFailure) -> Bool {
        try value(key, default: false, expected: "true or false") { Bool($0) }!
    }

    /// A value of any form; what `read` does not accept is refused with what was expected.
    mutating func value<Value>(
        _ key: String, default fallback: Value? = nil, expected: String, _ read: (String) -> Value?
    ) throws(CommandFailure) -> Value? {
        keys.append(key)
        guard let (content, source) = try lookUp(key, .string), case .string(let text) = content else {
            if let fallback { effective.append((key, "\(fallback)", "default")) }
            return fallback
        }
        guard let value = read(text.trimmingCharacters(in: .whitespaces)) else {
            throw CommandFailure("'\(key)' is '\(text)' (\(source)), expected \(expected)")
        }
        effective.append((key, text, source))
        return value
    }

    /// Refuses variables and keys that nobody asked for.
    func finish(alsoKnown: [String]) throws(CommandFailure) {
        let names = Set(
            (keys + alsoKnown).map { prefix + $0.uppercased().replacingOccurrences(of: "-", with: "_") })
        if let unknown = environment.keys.filter({ name in
            name.hasPrefix(prefix) && !names.contains(name) && !foreignPrefixes.contains { name.hasPrefix($0) }
        }).min() {
            throw CommandFailure(
                "unknown variable \(unknown) in the environment; known are \(names.sorted().joined(separator: ", "))")
        }
        guard let file, let text = try? String(contentsOfFile: file, encoding: .utf8) else { return }
        // The provider does not list its keys; ours are all at the top, each at the start of a line.
        for line in text.split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":"), let first = line.first, first.isLetter else { continue }
            let key = line[..<colon].trimmingCharacters(in: .whitespaces)
            guard keys.contains(key) else {
                throw CommandFailure(
                    "unknown key '\(key)' in configuration file '\(file)'; known are \(keys.joined(separator: ", "))")
            }
        }
    }

    /// The effective configuration as YAML, each line with its source.
    var yaml: String {
        effective.map { "\($0.key): \($0.value)  # \($0.source)" }.joined(separator: "\n")
    }

    private func lookUp(_ key: String, _ type: ConfigType) throws(CommandFailure) -> (ConfigContent, String)? {
        for source in sources {
            do {
                let found = try source.provider.value(forKey: AbsoluteConfigKey([key], context: [:]), type: type)
                if let value = found.value { return (value.content, source.name) }
            } catch {
                throw CommandFailure("'\(key)' (\(source.name)) is no single value")
            }
        }
        return nil
    }
}
