internal import CLinux

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// `belfry publish`, run as somebody else's process: what publishing costs is no part of the generator.
public struct PublishCommand: Sendable {
    /// What one run of it came to.
    struct Outcome {
        /// Its last line on standard error, or how it ended; nil if it succeeded.
        var fault: String?
        /// What it took of the processor, in milliseconds.
        var cpuMillis: Double
    }

    /// The program and whatever stands before `publish`'s own arguments.
    let words: [String]

    /// - words: the program's path and its first arguments; by default this very program and `publish`.
    public init(words: [String] = [PublishCommand.ownPath, "publish"]) {
        self.words = words
    }

    /// Where the running program's file is.
    public static var ownPath: String {
        withUnsafeTemporaryAllocation(byteCount: Int(PATH_MAX), alignment: 1) { buffer in
            let path = buffer.baseAddress!.assumingMemoryBound(to: CChar.self)
            let count = readlink("/proc/self/exe", path, buffer.count)
            return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        }
    }

    /// Publishes a snapshot's directory under another id and makes it current. Waits for the end.
    ///
    /// - seconds: a process that takes longer is killed.
    func publish(_ source: String, to directory: String, id: String, seconds: Double) -> Outcome {
        run([source, "--to", directory, "--id", id, "--activate"], seconds: seconds)
    }

    private func run(_ arguments: [String], seconds: Double) -> Outcome {
        var ends: [Int32] = [-1, -1]
        guard belfry_pipe(&ends) == 0 else { return Outcome(fault: reason(errno), cpuMillis: 0) }
        defer { close(ends[0]) }
        var pointers: [UnsafeMutablePointer<CChar>?] = (words + arguments).map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        var process: Int32 = 0
        let fault = belfry_spawn_idle(pointers, ends[1], &process)
        close(ends[1])
        guard fault == 0 else { return Outcome(fault: "\(words[0]): \(reason(fault))", cpuMillis: 0) }
        let (errors, isLate) = read(ends[0], until: monotonicNanoseconds() + UInt64(seconds * 1e9))
        if isLate { kill(process, SIGKILL) }
        var ending: Int32 = 0
        let micros = belfry_wait(process, &ending)
        return Outcome(
            fault: isLate ? "publish took more than \(short(seconds)) s" : describe(ending, errors),
            cpuMillis: Double(micros) / 1000)
    }

    /// Everything up to the end, which is the process's unless it leaves children behind.
    private func read(_ descriptor: Int32, until deadline: UInt64) -> (bytes: [UInt8], isLate: Bool) {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            let now = monotonicNanoseconds()
            guard now < deadline else { return (bytes, true) }
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, Int32(min(1000, (deadline - now) / 1_000_000 + 1))) > 0 else { continue }
            let count = Glibc.read(descriptor, &piece, piece.count)
            if count <= 0 { return (bytes, false) }
            if bytes.count < 1 << 16 { bytes += piece[..<count] }
        }
    }

    private func describe(_ ending: Int32, _ errors: [UInt8]) -> String? {
        guard ending != 0 else { return nil }
        let line =
            String(decoding: errors, as: UTF8.self).split(separator: "\n").last.map { ": \($0.prefix(300))" } ?? ""
        return "publish ended with \(ending < 256 ? "exit status \(ending)" : "signal \(ending - 256)")\(line)"
    }

    private func reason(_ code: Int32) -> String { String(cString: strerror(code)) }
}
