#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// What the kernel says about this process, as Prometheus's client libraries report it. A figure that cannot be read is nil
/// and left out.
public struct ProcessFigures: Sendable, Equatable {
    /// Memory that is in RAM, mapped files included, in bytes.
    public var residentMemoryBytes: Int?
    /// Addresses that are mapped, in bytes.
    public var virtualMemoryBytes: Int?
    /// Open file descriptors.
    public var openDescriptors: Int?
    /// How many descriptors may be open; nil also if any number may.
    public var maxDescriptors: Int?
    /// Time on a processor so far, user and system, all threads.
    public var cpuSeconds: Double?
    /// When the process started, in seconds since 1970.
    public var startTimeSeconds: Double?
    /// Threads that live.
    public var threads: Int?

    /// Reads `/proc/self`.
    public static func read() -> ProcessFigures {
        var figures = ProcessFigures()
        let ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))
        if let text = text(of: "/proc/self/stat"), let parenthesis = text.lastIndex(of: ")") {
            // The program's name, in parentheses, may hold anything. What follows it begins with field 3 of proc(5).
            let fields = text[text.index(after: parenthesis)...].split(separator: " ")
            func field(_ number: Int) -> Int? { number - 3 < fields.count ? Int(fields[number - 3]) : nil }
            if let user = field(14), let system = field(15) {
                figures.cpuSeconds = Double(user + system) / ticksPerSecond
            }
            figures.threads = field(20)
            if let started = field(22), let booted = bootTimeSeconds() {
                figures.startTimeSeconds = booted + Double(started) / ticksPerSecond
            }
            figures.virtualMemoryBytes = field(23)
            figures.residentMemoryBytes = field(24).map { $0 * Int(getpagesize()) }
        }
        figures.openDescriptors = openDescriptorCount()
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur != rlim_t.max {
            figures.maxDescriptors = Int(clamping: limit.rlim_cur)
        }
        return figures
    }

    /// Writes them under the names that Prometheus's client libraries use.
    public func write(to text: inout MetricsText) {
        func gauge(_ name: String, _ help: String, _ value: Double?) {
            guard let value else { return }
            text.gauge(name, help: help, [(labels: [], value: value)])
        }
        if let cpuSeconds {
            text.counter(
                "process_cpu_seconds_total", help: "Total user and system CPU time spent in seconds.",
                [(labels: [], value: cpuSeconds)])
        }
        gauge("process_open_fds", "Number of open file descriptors.", openDescriptors.map(Double.init))
        gauge("process_max_fds", "Maximum number of open file descriptors.", maxDescriptors.map(Double.init))
        gauge(
            "process_resident_memory_bytes", "Resident memory size in bytes.", residentMemoryBytes.map(Double.init))
        gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", virtualMemoryBytes.map(Double.init))
        gauge(
            "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", startTimeSeconds)
        gauge("process_threads", "Number of threads of the process.", threads.map(Double.init))
    }

    private static func bootTimeSeconds() -> Double? {
        guard let text = text(of: "/proc/stat") else { return nil }
        for line in text.split(separator: "\n") where line.hasPrefix("btime ") {
            return Double(line.dropFirst("btime ".count))
        }
        return nil
    }

    private static func openDescriptorCount() -> Int? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        var count = 0
        while let entry = readdir(directory) {
            if entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { count += 1 }
        }
        // Less the one that reads.
        return count - 1
    }

    /// A file of /proc, which has no length before it is read.
    private static func text(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = piece.withUnsafeMutableBytes { readBytes(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes.append(contentsOf: piece[..<count])
        }
    }
}

/// `read` of the system, which the static function of that name hides.
private func readBytes(_ descriptor: Int32, _ room: UnsafeMutableRawPointer?, _ byteCount: Int) -> Int {
    read(descriptor, room, byteCount)
}
