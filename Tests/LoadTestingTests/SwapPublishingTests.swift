import Foundation
import InjectedServer
import Testing

@testable import LoadTesting

extension GenerationTests {
    /// Snapshots published while a run lasts, against a server that watches the directory.
    @Suite(.serialized) struct Publishing {
        private let sources: SwapSources

        init() throws {
            sources = try SwapSources()
        }

        /// Answers as the snapshot of that id should: `serving` is of the first source, the others name theirs.
        private static func answer(
            _ id: String, _ request: [UInt8], _ change: (inout [(String, Double)]) -> Void = { _ in }
        )
            -> [UInt8]
        {
            let source = id.hasPrefix("swap-") && id.contains("-b-") ? 1 : 0
            let text = String(decoding: request, as: UTF8.self)
            let user = Int(text.split(separator: "\"u").last!.prefix { $0.isNumber })!
            var items = Array(SwapSources.ranked(source, user: user).prefix(2))
            change(&items)
            return Array(SwapSources.reply(items, id: id, space: "space-\(source)").utf8)
        }

        private func behaviour() throws -> Behaviour {
            var behaviour = Behaviour()
            behaviour.isBusyPolling = false
            behaviour.watchedDirectory = sources.published
            behaviour.snapshots = ["serving"]
            behaviour.activationNanoseconds = 20 * millisecond
            behaviour.destructionNanoseconds = 20 * millisecond
            behaviour.answer = { Self.answer($0, $1) }
            try FileManager.default.copyItem(atPath: sources.directories[0], toPath: "\(sources.published)/serving")
            return behaviour
        }

        private func options(_ server: InjectedServer, swaps: Int) throws -> LoadTestOptions {
            let requests = (0..<SwapSources.users).map { SwapSources.request(user: $0).body }.joined(separator: "\n")
            let path = "\(sources.root)/requests.jsonl"
            try Data((requests + "\n").utf8).write(to: URL(fileURLWithPath: path))
            let target = try TestRun.target(server)
            var options = LoadTestOptions(target: target, method: "POST", source: .file(path))
            options.rate = 400
            // Far longer than the swaps take: they end the run.
            options.duration = 60_000 * millisecond
            options.warmup = 50 * millisecond
            options.connections = 2
            options.validatedShare = 1
            options.keptBytesMax = 64 << 20
            options.recallCount = 0
            options.sendLagMax = 60_000 * millisecond
            var publishing = LoadTestOptions.Publishing(
                sources: sources.directories, directory: sources.published, every: 100 * millisecond, count: swaps,
                admin: target)
            publishing.expectations = sources.expectations
            publishing.settle = 10 * millisecond
            publishing.timeout = 5000 * millisecond
            publishing.command = try sources.publisher()
            options.publishing = publishing
            return options
        }

        private func run(
            _ behaviour: Behaviour, swaps: Int, _ change: (inout LoadTestOptions) throws -> Void = { _ in }
        )
            throws -> LoadTestFindings
        {
            let server = try InjectedServer(behaviour)
            server.start()
            defer { server.stop() }
            var options = try options(server, swaps: swaps)
            try change(&options)
            return try withWatchdog { try LoadTest(options, isQuiet: true).run() }
        }

        @Test func eachIsPublishedSwappedToAndItsPredecessorDestroyed() throws {
            var behaviour = try behaviour()
            behaviour.residentBytes = { (100 + $0) << 20 }
            let findings = try run(behaviour, swaps: 5) {
                $0.thresholds = try [
                    "swaps>=5", "swaps[failed]<=0", "mixed<=0%", "errors<=0%", "memory[last]<1.05*memory[third]",
                    "memory[last]<=105MiB",
                ].map { try Threshold($0) }
            }
            #expect(findings.verdict == .passed, "\(findings.invalid) \(findings.thresholds)")
            let result = findings.runs[0]
            #expect(!result.isCut)
            let swaps = result.swaps
            try #require(swaps.count == 5)
            #expect(swaps.map(\.fault) == [nil, nil, nil, nil, nil])
            #expect(swaps.map(\.source) == (0..<5).map { sources.directories[$0 % 2] })
            #expect(swaps.map(\.previous) == ["serving"] + swaps.dropLast().map(\.id))
            // What the server counts: 100 MiB and one for each that has served.
            #expect(swaps.map(\.residentBytes) == (1...5).map { Double((100 + $0) << 20) })
            let marks = result.marks.filter { $0.kind == "swap" }
            for (swap, mark) in zip(swaps, marks) {
                #expect(swap.id == mark.label)
                // 20 ms to serve and 20 ms to destroy, by the server's wall clock.
                #expect((20...5000).contains(try #require(swap.servingMillis)))
                #expect((39...5000).contains(try #require(swap.windowMillis)))
                #expect(mark.end - mark.start >= 39 * millisecond)
                #expect(swap.stepMillis == ["verify": 3, "load": 4.5, "destroy": 2])
                #expect(swap.stepCPUMillis == ["load": 4])
                #expect(swap.publishMillis > 0 && swap.publishCPUMillis > 0)
            }
            // Each window begins after its publishing did, and each has room for a quiet one of its length before the next.
            let publishing = result.marks.filter { $0.kind == "publish" }
            #expect(publishing.map(\.label) == marks.map(\.label))
            for (published, mark) in zip(publishing, marks) { #expect(published.start <= mark.start) }
            for (mark, next) in zip(marks, publishing.dropFirst()) {
                #expect(next.start >= mark.end + 10 * millisecond + (mark.end - mark.start))
            }
            let windows = SwapWindows(result)
            #expect(windows.pairs.count == 5)
            for pair in windows.pairs { #expect(pair.swap.count == pair.quiet.count) }
            // Only what serves and what served before is left.
            #expect(sources.present == ([swaps[3].id, swaps[4].id] + ["serving"]).sorted())

            let validation = try #require(findings.validation)
            #expect(validation.invalid == 0, "\(validation.examples)")
            #expect(validation.share == 1)
            let belonging = try #require(validation.belonging)
            #expect(belonging.recomputed == validation.checked && belonging.scores == 2 * validation.checked)
            #expect(belonging.bySource.count == 2 && belonging.bySource.allSatisfy { $0 > 0 })
            #expect(belonging.recall == 1)
            // Replies name the snapshots in the order they were published.
            #expect(result.snapshots == ["serving"] + swaps.map(\.id))

            let report = Report(
                findings,
                options: LoadTestOptions(target: try Target("http://127.0.0.1:9"), method: "POST", source: .none),
                tool: "t", machine: .current())
            let again = try Report(json: try report.json(), name: "r")
            #expect(again.swaps?.done == 5 && again.swaps?.failed == 0)
            #expect(again.swaps?.residentRatio == 105.0 / 103)
            #expect(again.swaps?.stepMillis["load"]?.median == 4.5)
            #expect(again.windows?.pairs == 5)
            #expect(again.validation?.belonging == belonging)
            #expect(report.text.contains("5 done"))
            #expect(report.text.contains("105.0 MiB after the last"))
        }

        /// One reply in seven names what serves and brings the other's ids, the other's scores, or the other's space.
        @Test(arguments: 0..<3) func mixedRepliesFailTheRun(_ way: Int) throws {
            var behaviour = try behaviour()
            let count = Counter()
            behaviour.answer = { id, request in
                guard count.next() % 7 == 0 else { return Self.answer(id, request) }
                let other = Self.answer(id.contains("-b-") ? "serving" : "swap-0-b-", request)
                if way == 0 {
                    // All of the other's, under this name.
                    return Array(
                        String(decoding: other, as: UTF8.self).replacing("swap-0-b-", with: id).replacing(
                            "\"serving\"", with: "\"\(id)\""
                        ).utf8)
                }
                let items = try! RetrieveReply(other)
                return Self.answer(id, request) { own in
                    for rank in own.indices {
                        if way == 1 { own[rank].0 = items.ids[rank].string } else { own[rank].1 = items.scores[rank] }
                    }
                }
            }
            let findings = try run(behaviour, swaps: 2)
            let validation = try #require(findings.validation)
            let mixed = try #require(validation.belonging?.mixed)
            // The warm-up's are not kept.
            #expect(mixed > 0 && mixed <= count.value / 7 + 1)
            #expect(Double(mixed) >= Double(validation.checked / 7) - 1)
            #expect(validation.faults["mixed"] == mixed)
            #expect(findings.verdict == .failed)
        }

        @Test func aRefusedSnapshotIsRecordedWithItsReason() throws {
            var behaviour = try behaviour()
            behaviour.refusalReason = { $0.hasPrefix("swap-0002") ? "golden.jsonl: line 3 differs" : nil }
            let findings = try run(behaviour, swaps: 3) { $0.thresholds = [try Threshold("swaps>=3")] }
            let swaps = findings.runs[0].swaps
            #expect(swaps.map { $0.fault != nil } == [false, true, false])
            #expect(swaps[1].fault == "refused: golden.jsonl: line 3 differs")
            #expect(swaps[2].previous == swaps[0].id)
            #expect(findings.thresholds.map(\.expression) == ["swaps>=3", "swaps[failed]<=0"])
            #expect(findings.thresholds.map(\.observed) == [2, 1])
            #expect(findings.verdict == .failed)
        }

        @Test func whatIsNeverDestroyedTakesTooLong() throws {
            var behaviour = try behaviour()
            behaviour.destructionNanoseconds = .max
            let findings = try run(behaviour, swaps: 1) { $0.publishing?.timeout = 1500 * millisecond }
            let fault = try #require(findings.runs[0].swaps.first?.fault)
            #expect(fault.contains("after 1.5 s") && fault.contains("not destroyed"), "\(fault)")
            #expect(findings.verdict == .failed)
        }

        @Test func aPublisherThatFailsOrHangsIsRecorded() throws {
            for (more, expected) in [
                ("echo first >&2; echo 'no space left' >&2; exit 3", "exit status 3: no space left"),
                ("exec sleep 60", "took more than 0.3 s"), ("kill -9 $$", "signal 9"),
            ] {
                let server = try InjectedServer(try behaviour())
                server.start()
                defer { server.stop() }
                var options = try options(server, swaps: 1)
                options.publishing?.command = try sources.publisher(more)
                options.publishing?.timeout = 300 * millisecond
                let findings = try withWatchdog { try LoadTest(options, isQuiet: true).run() }
                let fault = try #require(findings.runs[0].swaps.first?.fault)
                #expect(fault.contains(expected), "\(fault)")
                #expect(findings.runs[0].marks.first?.fault == fault)
                try FileManager.default.removeItem(atPath: "\(sources.published)/serving")
            }
        }

        @Test(arguments: [false, true]) func backToBackLeavesNoQuietWindow(isBackToBack: Bool) throws {
            let findings = try run(try behaviour(), swaps: 4) {
                $0.publishing?.every = 1
                $0.publishing?.settle = 1
                $0.publishing?.isBackToBack = isBackToBack
            }
            let pairs = SwapWindows(findings.runs[0]).pairs
            #expect(pairs.count == 4)
            for pair in pairs.dropLast() {
                #expect(!pair.swap.isEmpty)
                #expect((pair.quiet.count >= pair.swap.count) != isBackToBack, "\(pair)")
            }
        }

        @Test func theEndOfTheRunEndsThePublishing() throws {
            let findings = try run(try behaviour(), swaps: 250) {
                $0.duration = 1500 * millisecond
                $0.thresholds = [try Threshold("swaps>=250")]
            }
            let done = findings.runs[0].swaps.count
            #expect(done >= 1 && done <= 15)
            #expect(findings.runs[0].swaps.allSatisfy { $0.fault == nil && $0.residentBytes != nil })
            #expect(findings.verdict == .failed)
        }

        @Test func whatMakesNoSenseIsRefusedBeforehand() throws {
            let server = try InjectedServer(try behaviour())
            server.start()
            defer { server.stop() }
            func refusal(_ change: (inout LoadTestOptions) throws -> Void) throws -> LoadTestError? {
                var options = try options(server, swaps: 2)
                try change(&options)
                do {
                    _ = try LoadTest(options, isQuiet: true)
                    return nil
                } catch {
                    return error
                }
            }
            #expect(try refusal { _ in } == nil)
            for (what, change) in [
                ("sources", { (options: inout LoadTestOptions) in options.publishing?.sources.removeLast() }),
                ("swap-expect", { $0.publishing?.expectations.removeLast() }),
                ("250", { $0.publishing?.count = 251 }), ("distance", { $0.publishing?.every = 0 }),
                ("--runs", { $0.runs = 2 }),
                (
                    "recomputed",
                    {
                        $0.publishing?.expectations = []
                        $0.thresholds = [try! Threshold("mixed<=0%")]
                    }
                ),
            ] {
                guard case .usage(let text)? = try refusal(change) else {
                    Issue.record("\(what): was taken")
                    continue
                }
                #expect(text.contains(what), "\(text)")
            }
            let stranger = #"{"user":{"id":"u99"},"k":2}"#
            guard
                case .usage(let text)? = try refusal({
                    let path = "\(sources.root)/strangers.jsonl"
                    try Data((stranger + "\n").utf8).write(to: URL(fileURLWithPath: path))
                    $0.source = .file(path)
                })
            else {
                Issue.record("a request of which nothing is expected was taken")
                return
            }
            #expect(text.contains("u99"))
        }
    }
}

/// Counts on the server's thread.
private final class Counter: @unchecked Sendable {
    // Only the server's thread counts; the test reads after the server has stopped.
    private(set) var value = 0

    func next() -> Int {
        value += 1
        return value
    }
}
