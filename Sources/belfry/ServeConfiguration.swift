internal import Configuration
internal import Foundation
internal import HTTPServer
internal import SystemPackage

/// What `belfry serve` runs with. Each value is the first of: command line flag, environment (`BELFRY_LISTEN`), configuration
/// file (`listen:`), default.
struct ServeConfiguration: Sendable {
    let snapshots: String
    let listen: String
    let workers: Int
    let drainSeconds: Int
    let logLevel: String
    /// Each key with its value and where that came from, for `--print-config`.
    let effective: [(key: String, value: String, source: String)]

    /// Reads the sources in the order of precedence.
    ///
    /// - flags: what the command line gave, by key.
    /// - environment: the process's; variables that begin with `BELFRY_` count.
    init(flags: [String: ConfigValue], environment: [String: String], file: String?) async throws(CommandFailure) {
        var sources: [Source] = [
            Source(
                "flag",
                InMemoryProvider(
                    values: Dictionary(
                        uniqueKeysWithValues: flags.map { (AbsoluteConfigKey([$0.key], context: [:]), $0.value) }))),
            Source("environment", EnvironmentVariablesProvider(environmentVariables: Self.variables(environment))),
        ]
        if let file {
            do {
                sources.append(Source(file, try await FileProvider<YAMLSnapshot>(filePath: FilePath(file))))
            } catch {
                throw CommandFailure("configuration file '\(file)' cannot be read: \(error)")
            }
        }
        var values = Values(sources: sources)
        guard let snapshots = try values.string("snapshots", default: nil) else {
            throw CommandFailure(
                "no snapshots to serve: give --snapshots DIR, BELFRY_SNAPSHOTS, or 'snapshots' in the configuration file"
            )
        }
        self.snapshots = snapshots
        listen = try values.string("listen", default: "127.0.0.1:8080")!
        workers = try values.integer("workers", default: Self.coreCount, in: 1...256)
        drainSeconds = try values.integer("drain-seconds", default: 10, in: 0...3600)
        logLevel = try values.string("log-level", default: "info")!
        effective = values.effective
        try Self.refuseUnknownVariables(environment, known: effective.map(\.key))
        if let file { try Self.refuseUnknownKeys(file, known: effective.map(\.key)) }
    }

    /// As with variables. The provider does not list its keys; ours are all at the top, each at the start of a line.
    private static func refuseUnknownKeys(_ file: String, known: [String]) throws(CommandFailure) {
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else { return }
        for line in text.split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":"), let first = line.first, first.isLetter else { continue }
            let key = line[..<colon].trimmingCharacters(in: .whitespaces)
            guard known.contains(key) else {
                throw CommandFailure(
                    "unknown key '\(key)' in configuration file '\(file)'; known are \(known.joined(separator: ", "))")
            }
        }
    }

    /// The effective configuration as YAML, each line with its source.
    var yaml: String {
        effective.map { "\($0.key): \($0.value)  # \($0.source)" }.joined(separator: "\n")
    }

    private static var coreCount: Int { ProcessInfo.processInfo.activeProcessorCount }

    /// The variables without their prefix, as the provider looks keys up: `BELFRY_DRAIN_SECONDS` for `drain-seconds`.
    private static func variables(_ environment: [String: String]) -> [String: String] {
        var variables: [String: String] = [:]
        for (name, value) in environment where name.hasPrefix(prefix) {
            variables[String(name.dropFirst(prefix.count))] = value
        }
        return variables
    }

    private static let prefix = "BELFRY_"

    /// A misspelt variable would silently leave a default in force.
    private static func refuseUnknownVariables(_ environment: [String: String], known: [String]) throws(CommandFailure)
    {
        let names = Set(
            known.map { prefix + $0.uppercased().replacingOccurrences(of: "-", with: "_") } + ["BELFRY_CONFIG"])
        if let unknown = environment.keys.filter({ $0.hasPrefix(prefix) && !names.contains($0) }).min() {
            throw CommandFailure(
                "unknown variable \(unknown) in the environment; known are \(names.sorted().joined(separator: ", "))")
        }
    }

    private struct Source {
        let name: String
        let provider: any ConfigProvider

        init(_ name: String, _ provider: any ConfigProvider) {
            self.name = name
            self.provider = provider
        }
    }

    /// Looks values up and remembers where they came from.
    private struct Values {
        let sources: [Source]
        var effective: [(key: String, value: String, source: String)] = []

        mutating func string(_ key: String, default fallback: String?) throws(CommandFailure) -> String? {
            if let (content, source) = try lookUp(key, .string), case .string(let value) = content {
                effective.append((key, value, source))
                return value
            }
            if let fallback { effective.append((key, fallback, "default")) }
            return fallback
        }

        mutating func integer(_ key: String, default fallback: Int, in bounds: ClosedRange<Int>) throws(CommandFailure)
            -> Int
        {
            var result = fallback
            var origin = "default"
            if let (content, source) = try lookUp(key, .int), case .int(let value) = content {
                guard bounds.contains(value) else {
                    throw CommandFailure(
                        "'\(key)' is \(value) (\(source)), allowed are \(bounds.lowerBound) to \(bounds.upperBound)")
                }
                result = value
                origin = source
            }
            effective.append((key, "\(result)", origin))
            return result
        }

        private func lookUp(_ key: String, _ type: ConfigType) throws(CommandFailure) -> (ConfigContent, String)? {
            for source in sources {
                do {
                    let found = try source.provider.value(forKey: AbsoluteConfigKey([key], context: [:]), type: type)
                    if let value = found.value { return (value.content, source.name) }
                } catch {
                    throw CommandFailure("'\(key)' (\(source.name)) is not of the type \(type)")
                }
            }
            return nil
        }
    }
}
