internal import CLinux
internal import Foundation

/// Where a load test ran: figures of different machines are not comparable.
public struct Machine: Codable, Sendable, Equatable {
    /// The processor's name in `/proc/cpuinfo`, or `unknown`.
    public var cpu: String
    /// Cores that are online.
    public var cores: Int
    /// Cores the process may run on.
    public var allowedCores: Int
    /// Release and architecture of the kernel.
    public var kernel: String
    /// Memory in GiB.
    public var memoryGiB: Double
    /// The distribution's name in `/etc/os-release`, or `unknown`.
    public var system: String
    /// How many threads wanted a core in the last minute.
    public var loadAverage: Double
    /// What the hypervisor took of the processors while the load lasted, or nil where that is not known.
    public var stolen: StolenTime?

    enum CodingKeys: String, CodingKey {
        case cpu, cores
        case allowedCores = "allowed_cores"
        case kernel
        case memoryGiB = "memory_gib"
        case system
        case loadAverage = "load_average"
        case stolen
    }

    /// Creates the description of a machine.
    public init(
        cpu: String, cores: Int, allowedCores: Int, kernel: String, memoryGiB: Double, system: String,
        loadAverage: Double
    ) {
        self.cpu = cpu
        self.cores = cores
        self.allowedCores = allowedCores
        self.kernel = kernel
        self.memoryGiB = memoryGiB
        self.system = system
        self.loadAverage = loadAverage
    }

    /// This machine, now: to be called before the load starts, for the sake of the load average.
    public static func current() -> Machine {
        let cores = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let allowed = belfry_allowed_cores().nonzeroBitCount
        let memory = value(of: "MemTotal", in: lines("/proc/meminfo"), separator: ":")
        let kibibytes = memory.flatMap { Double($0.prefix { $0.isNumber }) } ?? 0
        var name = utsname()
        uname(&name)
        let release = withUnsafeBytes(of: name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let architecture = withUnsafeBytes(of: name.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let load = lines("/proc/loadavg").first?.split(separator: " ").first.flatMap { Double($0) }
        return Machine(
            cpu: value(of: "model name", in: lines("/proc/cpuinfo"), separator: ":") ?? "unknown", cores: cores,
            allowedCores: allowed, kernel: "\(release) \(architecture)",
            memoryGiB: (kibibytes / 1_048_576 * 10).rounded() / 10,
            system: value(of: "PRETTY_NAME", in: lines("/etc/os-release"), separator: "=") ?? "unknown",
            loadAverage: load ?? 0)
    }

    private static func lines(_ path: String) -> [Substring] {
        // Files of /proc have no size, so they are read to their end.
        guard let file = FileHandle(forReadingAtPath: path), let data = try? file.readToEnd() else { return [] }
        return String(decoding: data, as: UTF8.self).split(separator: "\n")
    }

    private static func value(of key: String, in lines: [Substring], separator: Character) -> String? {
        for line in lines {
            let parts = line.split(separator: separator, maxSplits: 1)
            guard parts.count == 2, parts[0].trimmingCharacters(in: .whitespaces) == key else { continue }
            return parts[1].trimmingCharacters(in: CharacterSet(charactersIn: " \t\""))
        }
        return nil
    }
}
