import CAllocationCount
import Foundation
import Metrics
import Synchronization
import TestSupport
import Testing

/// The buckets as they were decided on, in seconds.
private let bounds: [Double] = [
    0.00005, 0.000075, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075,
    0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1,
]

extension MetricsText {
    borrowing func string() -> String { withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }
}

final class Flag: Sendable {
    let isSet = Atomic<Bool>(false)
}

@Suite struct CounterTests {
    @Test func countsForEveryReader() {
        let counter = Counter()
        #expect(counter.value == 0)
        counter.increment()
        counter.increment(by: 41)
        #expect(counter.value == 42)
    }

    @Test func eachThreadHasItsOwn() async {
        let counters = (0..<4).map { _ in Counter() }
        await withTaskGroup(of: Void.self) { group in
            for counter in counters {
                group.addTask { for _ in 0..<100_000 { counter.increment() } }
            }
        }
        #expect(counters.map(\.value) == [100_000, 100_000, 100_000, 100_000])
    }
}

@Suite struct LatencyHistogramTests {
    @Test func theBoundsAreThoseDecidedOn() {
        #expect(LatencyHistogram.boundsSeconds == bounds)
        #expect(LatencyHistogram().counts == [Int](repeating: 0, count: 28))
    }

    @Test func aBoundBelongsToItsBucket() {
        for (bucket, bound) in bounds.enumerated() {
            let nanoseconds = UInt64((bound * 1e9).rounded())
            for (value, expected) in [
                (nanoseconds - 1, bucket), (nanoseconds, bucket), (nanoseconds + 1, bucket + 1),
            ] {
                let histogram = LatencyHistogram()
                histogram.record(nanoseconds: value)
                #expect(histogram.counts.firstIndex(of: 1) == expected, "\(value)")
                #expect(histogram.counts.reduce(0, +) == 1)
                #expect(histogram.sumSeconds == Double(value) / 1e9)
            }
        }
        let histogram = LatencyHistogram()
        histogram.record(nanoseconds: 0)
        histogram.record(nanoseconds: 1 << 62)
        #expect(histogram.counts.first == 1 && histogram.counts.last == 1)
    }

    @Test func countsEqualARecount() {
        var random = SeededRandom(seed: 3)
        let histogram = LatencyHistogram()
        var expected = [Int](repeating: 0, count: 28)
        var sum: UInt64 = 0
        for _ in 0..<20_000 {
            // Even over the decades from 10 us to 10 s.
            let value = UInt64(pow(10, Double.random(in: 4..<10, using: &random)))
            histogram.record(nanoseconds: value)
            expected[bounds.firstIndex { Double(value) / 1e9 <= $0 } ?? 27] += 1
            sum += value
        }
        #expect(histogram.counts == expected)
        #expect(expected.allSatisfy { $0 > 0 })
        #expect(histogram.sumSeconds == Double(sum) / 1e9)
    }

    @Test func isReadWhileItIsWritten() async {
        let histogram = LatencyHistogram()
        let done = Flag()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for number in 0..<50_000 { histogram.record(nanoseconds: UInt64(number % 2_000_000)) }
                done.isSet.store(true, ordering: .releasing)
            }
            group.addTask {
                var before = [Int](repeating: 0, count: 28)
                while !done.isSet.load(ordering: .acquiring) {
                    let now = histogram.counts
                    #expect(zip(before, now).allSatisfy { $0 <= $1 })
                    before = now
                }
            }
        }
        #expect(histogram.counts.reduce(0, +) == 50_000)
    }
}

#if DEBUG
    private let isOptimised = false
#else
    private let isOptimised = true
#endif

/// Code that is not optimised allocates for reasons of its own: `make test-allocations` runs this.
@Suite(.enabled(if: belfry_counts_allocations() == 1 && isOptimised)) struct MetricsAllocationTests {
    @Test func recordingAllocatesNothing() {
        let histogram = LatencyHistogram()
        let counter = Counter()
        histogram.record(nanoseconds: 1)
        counter.increment()
        let before = belfry_allocation_count()
        for nanoseconds in 0..<1000 as Range<UInt64> {
            histogram.record(nanoseconds: nanoseconds * 2_000_000)
            counter.increment(by: 2)
        }
        let after = belfry_allocation_count()
        #expect(after == before)
        #expect(counter.value == 2001)
    }
}

@Suite struct MetricsTextTests {
    func full() -> String {
        var text = MetricsText()
        let workers = (0..<2).map { _ in LatencyHistogram() }
        for number in 0..<100 { workers[number % 2].record(nanoseconds: UInt64(number) * 20_000_000) }
        text.counter(
            "belfry_requests_total", help: "Requests, by status.",
            [([("status", "200"), ("path", "/v1/retrieve")], 17), ([("status", "400"), ("path", "/v1/retrieve")], 0)])
        text.gauge("belfry_connections", help: "Open connections.", [([], 3)])
        text.gauge("belfry_nothing", help: "A family without samples.", [])
        text.histogram(
            "belfry_request_duration_seconds", help: "Duration of requests.",
            [([("phase", "search")], workers), ([("phase", "decode")], [])])
        text.histogram("belfry_other_duration_seconds", help: "Without labels.", [([], [workers[0]])])
        text.info("belfry_snapshot_info", help: "What serves.", [("id", "20260131T1200")])
        BuildInfo(version: "0.1", instructionSet: "avx512vnni").write(to: &text)
        ProcessFigures.read().write(to: &text)
        return text.string()
    }

    @Test func isReadByAnIndependentReader() throws {
        let read = try Exposition(full())
        #expect(read.families["belfry_requests_total"]?.type == "counter")
        #expect(read.families["belfry_requests_total"]?.help == "Requests, by status.")
        #expect(read.value("belfry_requests_total", ["status": "200", "path": "/v1/retrieve"]) == 17)
        #expect(read.value("belfry_requests_total", ["status": "400", "path": "/v1/retrieve"]) == 0)
        #expect(read.families["belfry_connections"]?.type == "gauge")
        #expect(read.value("belfry_connections") == 3)
        #expect(read.families["belfry_nothing"]?.samples.isEmpty == true)
        #expect(read.value("belfry_snapshot_info", ["id": "20260131T1200"]) == 1)
        let build = read.families["belfry_build_info"]?.samples.first
        #expect(build?.value == 1)
        #expect(build?.labels["version"] == "0.1" && build?.labels["instruction_set"] == "avx512vnni")
        #expect(Set(build?.labels.keys.map { $0 } ?? []) == ["version", "instruction_set", "swift", "configuration"])
        #expect(
            Set(read.families.keys.filter { $0.hasPrefix("process_") }) == [
                "process_cpu_seconds_total", "process_open_fds", "process_max_fds", "process_resident_memory_bytes",
                "process_virtual_memory_bytes", "process_start_time_seconds", "process_threads",
            ])
    }

    @Test func histogramsAreCumulativeAndSummed() throws {
        let read = try Exposition(full())
        let samples = try #require(read.families["belfry_request_duration_seconds"]?.samples)
        let buckets = samples.filter { $0.name.hasSuffix("_bucket") && $0.labels["phase"] == "search" }
        #expect(buckets.map { Double($0.labels["le"]!.replacing("+Inf", with: "inf"))! } == bounds + [.infinity])
        // 0, 20, 40 ... 1980 ms.
        #expect(
            buckets.map(\.value)
                == (bounds + [.infinity]).map { bound in
                    Double((0..<100).count { Double($0) * 0.02 <= bound + 1e-12 })
                })
        let labels = ["phase": "search"]
        #expect(read.value("belfry_request_duration_seconds_count", labels) == 100)
        #expect(abs(read.value("belfry_request_duration_seconds_sum", labels)! - 99) < 1e-9)
        #expect(read.value("belfry_request_duration_seconds_count", ["phase": "decode"]) == 0)
        #expect(read.value("belfry_other_duration_seconds_count") == 50)
        #expect(read.value("belfry_other_duration_seconds_bucket", ["le": "+Inf"]) == 50)
    }

    @Test func anyTextMayBeALabel() throws {
        let values = ["", "\"", "\\", "\n", "a\"b\\c\nd", "\\n", "é", "},", " ", "\u{1F600}", "\\\"", "\r"]
        var text = MetricsText()
        text.gauge("g", help: "back\\slash,\nnew \"line\"", values.enumerated().map { ([("l", $1)], Double($0)) })
        let read = try Exposition(text.string())
        #expect(read.families["g"]?.samples.map { $0.labels["l"] } == values)
        #expect(read.families["g"]?.samples.map(\.value) == values.indices.map(Double.init))
        #expect(read.families["g"]?.help == "back\\slash,\nnew \"line\"")
        #expect(text.string().split(separator: "\n").count == 2 + values.count)
    }

    @Test func valuesReadBackAsTheyWere() throws {
        let values = [
            0, -1, 1.5, 0.1, 1e-9, 1e300, 12_345_678_901, 0x1p53, 0x1p53 + 2, -0x1p60, .pi,
            Double.leastNonzeroMagnitude, .infinity,
            -.infinity,
        ]
        var text = MetricsText()
        text.gauge("g", help: "h", values.enumerated().map { ([("i", "\($0)")], $1) } + [([("i", "nan")], .nan)])
        let read = try Exposition(text.string())
        #expect(read.families["g"]?.samples.dropLast().map(\.value) == values)
        #expect(read.value("g", ["i": "nan"])?.isNaN == true)
    }

    @Test(.enabled(if: Promtool.isThere, "no promtool: run `make readers`"))
    func prometheusTakesIt() throws {
        #expect(try Promtool.faults(in: full()) == "")
        // That a fault would show.
        #expect(try Promtool.faults(in: "a 1\na 1\n") != "")
    }
}

@Suite struct ProcessFiguresTests {
    @Test func agreeWithOtherSources() throws {
        func status(_ key: String) throws -> Int {
            let text = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
            let line = text.split(separator: "\n").first { $0.hasPrefix("\(key):") }
            return Int(line?.split(whereSeparator: \.isWhitespace).dropFirst().first ?? "") ?? -1
        }
        let cpuBefore = Double(clock()) / Double(CLOCKS_PER_SEC)
        let figures = ProcessFigures.read()
        let cpuAfter = Double(clock()) / Double(CLOCKS_PER_SEC)
        // The kernel counts by ticks of 10 ms, and each of user and system is rounded.
        #expect((cpuBefore - 0.03...cpuAfter + 0.03).contains(figures.cpuSeconds ?? -1))
        // Other tests may run.
        let resident = Double(try status("VmRSS") << 10)
        #expect((resident * 0.7...resident * 1.4).contains(Double(figures.residentMemoryBytes ?? 0)))
        let virtual = Double(try status("VmSize") << 10)
        #expect((virtual * 0.7...virtual * 1.4).contains(Double(figures.virtualMemoryBytes ?? 0)))
        #expect((1...200).contains(figures.threads ?? 0))
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        #expect(figures.maxDescriptors == Int(exactly: limit.rlim_cur))
    }

    @Test func theProcessStartedWhenPSSaysSo() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/ps")
        process.arguments = ["-o", "etimes=", "-p", "\(ProcessInfo.processInfo.processIdentifier)"]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let age = try #require(Double(text.filter(\.isNumber)))
        let started = try #require(ProcessFigures.read().startTimeSeconds)
        #expect(abs(Date().timeIntervalSince1970 - age - started) < 5)
    }

    @Test func openDescriptorsAreCounted() throws {
        let held = (0..<100).map { _ in open("/dev/null", O_RDONLY | O_CLOEXEC) }
        defer { held.forEach { close($0) } }
        let count = try #require(ProcessFigures.read().openDescriptors)
        #expect(count >= 103)
        let listed = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        #expect(abs(listed - 1 - count) < 50)
    }
}
