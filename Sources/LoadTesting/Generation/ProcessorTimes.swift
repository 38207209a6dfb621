internal import CLinux
internal import Foundation

/// What `/proc/stat` counts, to find out what the hypervisor gave to others.
struct ProcessorTimes {
    /// Ticks of all kinds and those that were stolen, by core.
    private let cores: [Int: (all: UInt64, stolen: UInt64)]

    /// This machine's, now.
    static func current() -> ProcessorTimes {
        let data = FileHandle(forReadingAtPath: "/proc/stat").flatMap { try? $0.readToEnd() } ?? Data()
        return ProcessorTimes(String(decoding: data, as: UTF8.self))
    }

    /// Reads the lines `cpu0 user nice system idle iowait irq softirq steal guest guest_nice`; guests are in user and nice.
    init(_ text: String) {
        var cores: [Int: (all: UInt64, stolen: UInt64)] = [:]
        for line in text.split(separator: "\n") where line.hasPrefix("cpu") {
            let words = line.split(separator: " ")
            let ticks = words.dropFirst().prefix(8).compactMap { UInt64($0) }
            guard let core = Int(words[0].dropFirst(3)), ticks.count == 8 else { continue }
            cores[core] = (ticks.reduce(0, +), ticks[7])
        }
        self.cores = cores
    }

    /// The share of the time since then that the hypervisor took, of some cores together; nil where nothing passed.
    func stolenShare(since start: ProcessorTimes, of isMeant: (Int) -> Bool = { _ in true }) -> Double? {
        var all: UInt64 = 0
        var stolen: UInt64 = 0
        for (core, now) in cores where isMeant(core) {
            guard let before = start.cores[core], now.all >= before.all, now.stolen >= before.stolen else { continue }
            all += now.all - before.all
            stolen += now.stolen - before.stolen
        }
        return all > 0 ? Double(stolen) / Double(all) : nil
    }
}

/// What the hypervisor took of the processors while a run lasted (`steal` of `/proc/stat`): nothing that the server or the
/// generator could help, and what limits how precise a latency can be.
public struct StolenTime: Codable, Sendable, Equatable {
    /// Of all cores' time, as a share of 1.
    public var all: Double
    /// Of the time of the cores that the generator may run on.
    public var own: Double

    enum CodingKeys: String, CodingKey {
        case all = "all_share"
        case own = "own_share"
    }

    /// More than this is warned of.
    public static let warningShare = 0.01

    /// What a reader should know about it, or nil if it is little.
    public var warning: String? {
        guard max(all, own) > Self.warningShare else { return nil }
        return
            "the hypervisor took \(percent(all)) of the cores' time (\(percent(own)) of the generator's) and was no part of "
            + "the server: compare with care"
    }

    /// Between two instants; nil where the kernel does not say.
    init?(from start: ProcessorTimes, to end: ProcessorTimes) {
        let own = belfry_allowed_cores()
        guard let all = end.stolenShare(since: start) else { return nil }
        self.all = all
        self.own = end.stolenShare(since: start) { $0 < 64 && own >> UInt64($0) & 1 == 1 } ?? all
    }

    /// Known shares.
    public init(all: Double, own: Double) {
        self.all = all
        self.own = own
    }
}
