internal import CLinux
internal import Glibc

/// CLOCK_REALTIME in nanoseconds.
func wallClockNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// One snapshot as `GET /v1/snapshots` tells it. Instants are wall clock nanoseconds.
struct SnapshotLife {
    let id: String
    var foundAt: UInt64?
    var servingAt: UInt64?
    /// May lie in the future: until then it is retired.
    var destroyedAt: UInt64?
    var reason: String?

    /// What the link `current` of a directory names, empty if there is none.
    static func current(_ directory: String) -> String {
        withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
            let target = buffer.baseAddress!.assumingMemoryBound(to: CChar.self)
            let count = readlink(directory + "/current", target, buffer.count)
            return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        }
    }

    func json(isServing: Bool, isLoading: Bool, now: UInt64) -> String {
        let isDestroyed = destroyedAt.map { $0 <= now } ?? false
        let state: String
        if reason != nil {
            state = "failed"
        } else if isServing {
            state = "serving"
        } else if isLoading {
            state = "loading"
        } else {
            state = servingAt != nil && foundAt != nil ? "retired" : "ready"
        }
        let times = [("found", foundAt), ("serving", servingAt), ("destroyed", isDestroyed ? destroyedAt : nil)]
            .compactMap { name, instant in instant.map { "\"\(name)\":\"\(Self.text($0))\"" } }
        let reason = reason.map { "\"\($0)\"" } ?? "null"
        return "{\"id\":\"\(id)\",\"state\":\"\(state)\",\"reason\":\(reason),\"space_id\":\"s\","
            + "\"times\":{\(times.joined(separator: ","))},"
            + "\"durations_ms\":{\"verify\":3,\"load\":4.5,\"warm\":null,\"destroy\":2},\"cpu_ms\":{\"load\":4}}"
    }

    /// ISO 8601 with milliseconds.
    private static func text(_ nanoseconds: UInt64) -> String {
        var seconds = time_t(nanoseconds / 1_000_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func digits(_ value: Int, _ width: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        let day = "\(parts.tm_year + 1900)-\(digits(Int(parts.tm_mon) + 1, 2))-\(digits(Int(parts.tm_mday), 2))"
        let time = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { digits(Int($0), 2) }.joined(separator: ":")
        return "\(day)T\(time).\(digits(Int(nanoseconds / 1_000_000 % 1000), 3))Z"
    }
}
