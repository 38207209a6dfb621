internal import ArgumentParser
internal import Foundation
internal import ItemIndex

/// `belfry index build | bench`
struct Index: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Build an index over item vectors, or measure one.",
        subcommands: [Build.self, Bench.self])

    /// `belfry index build`
    struct Build: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Build a FAISS index over the vectors of an .fbin file.")

        @Option(help: "Item vectors: uint32 count, uint32 dimension, then float32, row-major (.fbin).")
        var items: String

        @Option(help: "Flat, HNSW<links> or IVF<lists>,Flat.", transform: indexFactory)
        var factory: IndexFactory

        @Option(help: "ip (inner product) or l2.")
        var metric = MetricName.ip

        @Option(help: "For graphs: how many candidates an item's links are chosen from.")
        var efConstruction = 120

        @Option(
            help: "Threads to build with. With more than one, a graph depends on their timing. (default: one per core)")
        var threads = ProcessInfo.processInfo.activeProcessorCount

        @Option(help: "The index file to write.")
        var out: String

        func validate() throws {
            guard (1...1 << 20).contains(efConstruction) else {
                throw ValidationError("--ef-construction must be 1 to \(1 << 20)")
            }
            guard (1...1024).contains(threads) else { throw ValidationError("--threads must be 1 to 1024") }
        }

        func run() throws {
            try failing {
                let vectors = try VectorFile(path: items)
                guard vectors.count > 0 else { throw CommandFailure("\(items): there are no vectors to index") }
                var progress = ProgressLine(total: vectors.count)
                var builder = IndexBuilder(factory: factory)
                builder.metric = metric.metric
                builder.efConstruction = efConstruction
                builder.threads = threads
                let repair = try builder.build(items: vectors, to: out) { done, _ in progress.show(done) }
                progress.finish()
                print(
                    "\(out): \(factory) over \(vectors.count) vectors of \(vectors.dimension), metric \(metric.rawValue)"
                )
                if let repair, repair.unreachableCount > 0 { print(sentence(repair)) }
            }
        }

        private func sentence(_ repair: GraphRepair) -> String {
            let rest =
                repair.remainingCount == 0
                ? "all are reached now"
                : "\(repair.remainingCount) are still out of reach: build with more links or a higher --ef-construction"
            return
                "\(repair.unreachableCount) items were out of the graph's reach: \(repair.addedLinkCount) links added, "
                + "\(repair.replacedLinkCount) replaced; \(rest)"
        }
    }

    /// `belfry index bench`
    struct Bench: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Find, for each k, the cheapest search setting that reaches a recall, and time it.",
            discussion: """
                One thread, one query at a time. Without --index, a graph (see --factory) is built over the items first.
                """)

        @Option(help: "Item vectors (.fbin).")
        var items: String

        @Option(help: "Query vectors (.fbin).")
        var queries: String

        @Option(help: "The best rows of each query, best first (.ibin).")
        var truth: String

        @Option(help: "The index to measure; it must be over the items.")
        var index: String?

        @Option(help: "What to build without --index.", transform: indexFactory)
        var factory = IndexFactory.hnsw(links: 24)

        @Option(help: "ip or l2, for what is built without --index.")
        var metric = MetricName.ip

        @Option(name: .customLong("k"), help: "How many hits a query wants; repeat for several.")
        var ks: [Int] = []

        @Option(help: "The recall to reach, 0 to 1.")
        var recall = 0.99

        @Option(help: "A report of this command: its settings are measured, and no others are looked for.")
        var settings: String?

        @Option(help: "Measure the settings again with this share of the rows eligible, 0 to 1; repeat for several.")
        var eligible: [Double] = []

        @Option(help: "Write the report as JSON.")
        var json: String?

        func validate() throws {
            guard !ks.isEmpty || settings != nil else { throw ValidationError("--k is missing") }
            guard ks.allSatisfy({ $0 >= 1 }) else { throw ValidationError("--k must be at least 1") }
            guard (0...1).contains(recall) else { throw ValidationError("--recall must be 0 to 1") }
            guard eligible.allSatisfy({ (0...1).contains($0) }) else {
                throw ValidationError("--eligible must be 0 to 1")
            }
        }

        func run() throws {
            try failing {
                let vectors = try VectorFile(path: items)
                let (searched, loading) = try loadOrBuild(vectors)
                guard searched.count == vectors.count, searched.dimension == vectors.dimension else {
                    throw CommandFailure(
                        "\(searched.path) has \(searched.count) vectors of \(searched.dimension), and \(items) "
                            + "\(vectors.count) of \(vectors.dimension): give the items the index was built over")
                }
                let benchmark = try IndexBenchmark(
                    index: searched, queries: try VectorFile(path: queries), truth: try Truth(path: truth))
                let report: IndexBenchmarkReport
                if let settings {
                    let earlier = try JSONDecoder().decode(
                        IndexBenchmarkReport.self, from: Data(contentsOf: URL(fileURLWithPath: settings)))
                    report = try benchmark.run(settingsOf: earlier)
                } else {
                    report = try benchmark.run(ks: ks, recall: recall)
                }
                printTable(report, loading)
                if !eligible.isEmpty {
                    print("\n| k | eligible | rows | recall | ineligible hits | p50 us |\n|---|---|---|---|---|---|")
                }
                for share in eligible {
                    for row in benchmark.run(settingsOf: report, eligibleShare: share) {
                        let figures =
                            [String(format: "%.4f", row.recall), "\(row.ineligibleCount)"]
                            + [String(format: "%.1f", row.usP50)]
                        print("| \(row.k) | \(share) | \(row.eligibleCount) | \(figures.joined(separator: " | ")) |")
                    }
                }
                if let json {
                    let encoder = JSONEncoder()
                    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
                    try encoder.encode(report).write(to: URL(fileURLWithPath: json), options: .atomic)
                }
                if settings == nil, let missed = report.rows.first(where: { $0.recall < recall }) {
                    throw CommandFailure(
                        "no setting reaches recall \(recall) at k = \(missed.k): \(missed.recall) is the best")
                }
            }
        }

        /// The index, and how long it took to be read and made ready.
        private func loadOrBuild(_ vectors: VectorFile) throws -> (index: ItemIndex, loading: Duration) {
            if let index { return try load(index) }
            let path = FileManager.default.temporaryDirectory
                .appendingPathComponent("belfry-\(UUID().uuidString).faiss").path
            defer { try? FileManager.default.removeItem(atPath: path) }
            var builder = IndexBuilder(factory: factory)
            builder.metric = metric.metric
            builder.threads = ProcessInfo.processInfo.activeProcessorCount
            var progress = ProgressLine(total: vectors.count)
            try builder.build(items: vectors, to: path) { done, _ in progress.show(done) }
            progress.finish()
            return try load(path)
        }

        private func load(_ path: String) throws -> (index: ItemIndex, loading: Duration) {
            let start = ContinuousClock.now
            let index = try ItemIndex(path: path)
            return (index, ContinuousClock.now - start)
        }

        private func printTable(_ report: IndexBenchmarkReport, _ loading: Duration) {
            print(
                "\(report.kind.rawValue), \(report.items) x \(report.dimension), \(report.metric), "
                    + "\(report.queries) queries, \(report.instructionSet.rawValue), "
                    + "loaded in \(String(format: "%.2f", loading / .seconds(1))) s")
            print("| k | setting | recall | p50 us | p99 us | mean us | queries/s | bytes/item |")
            print("|---|---|---|---|---|---|---|---|")
            for row in report.rows {
                let setting =
                    row.parameters.ef.map { "ef \($0)" } ?? row.parameters.nprobe.map { "nprobe \($0)" } ?? "exact"
                let figures = [row.usP50, row.usP99, row.usMean, row.queriesPerSecond, row.bytesPerItem]
                    .map { String(format: "%.1f", $0) }.joined(separator: " | ")
                print("| \(row.k) | \(setting) | \(String(format: "%.4f", row.recall)) | \(figures) |")
            }
        }
    }
}

/// The metric as the command line names it.
enum MetricName: String, ExpressibleByArgument {
    case ip, l2

    var metric: Metric {
        switch self {
        case .ip: .innerProduct
        case .l2: .squaredL2
        }
    }
}

@Sendable private func indexFactory(_ text: String) throws -> IndexFactory {
    guard let factory = IndexFactory(text) else {
        throw ValidationError("'\(text)' is none of Flat, HNSW<links>, IVF<lists>,Flat")
    }
    return factory
}

/// Runs a command's body; whatever it throws becomes one line and exit status 1.
private func failing(_ body: () throws -> Void) throws {
    do {
        try body()
    } catch let error as CommandFailure {
        throw error
    } catch {
        throw CommandFailure("\(error)")
    }
}

/// A line on standard error that is written over as work goes on; nothing where standard error is no terminal.
struct ProgressLine {
    private let total: Int
    private let start = ContinuousClock.now
    private let isShown = isatty(STDERR_FILENO) == 1

    init(total: Int) {
        self.total = total
    }

    mutating func show(_ done: Int) {
        guard isShown, total > 0 else { return }
        let seconds = Double((ContinuousClock.now - start).components.seconds)
        let left = done > 0 ? seconds * Double(total - done) / Double(done) : 0
        write("\r\(done) of \(total) (\(100 * done / total) %), about \(Int(left)) s left   ")
    }

    func finish() {
        if isShown { write("\r\u{1B}[K") }
    }

    private func write(_ text: String) {
        FileHandle.standardError.write(Data(text.utf8))
    }
}
