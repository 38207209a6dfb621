internal import Glibc
internal import Snapshots

/// What a snapshot will take of memory, and what there is.
struct MemoryNeed {
    /// Bytes that loading it takes, beyond what is mapped from files and can be given back.
    let byteCount: Int

    /// Estimates from the files' sizes and the manifest: the index as it lies in its file and what is built beside it (codes,
    /// positions), identifier tables, and the buffers of each worker, once more for its long requests.
    init(_ manifest: Manifest, workerCount: Int) {
        func size(_ file: String) -> Int { manifest.files[file]?.byteCount ?? 0 }
        let codes = manifest.itemCount * ((manifest.dimension + 63) / 64 * 64 + 24)
        let tables = 16 * (manifest.itemCount + (manifest.users?.count ?? 0))
        let buffers = (2 * workerCount + 1) * (manifest.itemCount * 5 + (4 << 20))
        // Mapped files are read by requests, so they have to fit, too.
        let mapped = size("items.safetensors") + size("users.safetensors") + size("user_tower.safetensors")
        byteCount = size("index.faiss") + codes + tables + buffers + mapped
    }

    /// Bytes that can be had without swapping: of the machine, or of the control group if that has less left.
    static func available() -> Int? {
        let machine = number(in: "/proc/meminfo", after: "MemAvailable:").map { $0 * 1024 }
        guard let group = controlGroup() else { return machine }
        var least = machine
        var path = group
        // A group's limit holds for those below it.
        while true {
            if let limit = number(in: "/sys/fs/cgroup\(path)/memory.max"),
                let current = number(in: "/sys/fs/cgroup\(path)/memory.current")
            {
                // Pages of files count as used and can be taken back.
                let cached = number(in: "/sys/fs/cgroup\(path)/memory.stat", after: "inactive_file ") ?? 0
                let left = max(0, limit - current + cached)
                least = min(least ?? left, left)
            }
            guard let slash = path.lastIndex(of: "/"), path != "/" else { break }
            path = slash == path.startIndex ? "/" : String(path[..<slash])
        }
        return least
    }

    private static func controlGroup() -> String? {
        text(of: "/proc/self/cgroup")?.split(separator: "\n").first { $0.hasPrefix("0::") }.map {
            String($0.dropFirst(3))
        }
    }

    /// The first number in a file, or the first one after a word.
    private static func number(in path: String, after word: String = "") -> Int? {
        guard let text = text(of: path) else { return nil }
        guard !word.isEmpty else { return Int(text.prefix { $0.isNumber }) }
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(word) }) else { return nil }
        return Int(line.dropFirst(word.count).drop { $0 == " " }.prefix { $0.isNumber })
    }

    private static func text(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        return withUnsafeTemporaryAllocation(byteCount: 16384, alignment: 1) { buffer in
            let count = read(descriptor, buffer.baseAddress!, buffer.count)
            return count <= 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
        }
    }
}
