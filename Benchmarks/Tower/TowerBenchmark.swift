internal import ArgumentParser
internal import CKernels
internal import Foundation
internal import Memory
internal import Retrieval
internal import RetrievalAPI
internal import Safetensors
internal import Snapshots
internal import Towers

/// Times `Tower.embed` over the requests of a file: feature encoding, layers and normalisation, as a worker calls it. Prints one
/// object of JSON with what `compare.py` needs.
@main struct TowerBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "tower-benchmark")

    @Argument(help: "The snapshot whose user tower runs.") var snapshot: String
    @Argument(help: "Bodies of /v1/retrieve, one per line.") var requests: String
    @Option(help: "Calls that are timed, after as many tenths to warm up.") var calls = 20_000
    @Option(help: "portable, avx2 or avx512; the best there is by default.") var instructionSet: String?
    @Option(help: "Bytes of other memory that are read and written between the calls, where that is measured.")
    var touchedByteCount = 1 << 20

    private static let sets = ["portable", "avx2", "avx512"]

    func validate() throws {
        guard let instructionSet else { return }
        guard let set = TowerBenchmark.sets.firstIndex(of: instructionSet) else {
            throw ValidationError("'\(instructionSet)' is not one of \(TowerBenchmark.sets)")
        }
        guard belfry_has_instruction_set(Int32(set)) != 0 else {
            throw ValidationError("this machine has no \(instructionSet)")
        }
    }

    func run() throws {
        let set = instructionSet.map { Int32(TowerBenchmark.sets.firstIndex(of: $0)!) } ?? belfry_best_instruction_set()
        let users = try Users(snapshot: snapshot, requests: requests)
        let side = users.snapshot.manifest.user
        let tower = try Tower(
            graph: side.tower, features: side.features, file: SafetensorsFile(path: "\(snapshot)/\(side.tower.file)"),
            normalises: side.isNormalised, instructionSet: set)
        let scratch = tower.makeScratch()
        let other = OtherMemory(byteCount: touchedByteCount)

        var embeddings: [[Float]] = []
        for user in 0..<users.count { embeddings.append(Array(try users.embed(user, tower, scratch))) }

        var results: [(name: String, times: Times)] = []
        func measure(
            _ name: String, usersPerCall: Int = 1, touching: Bool = false,
            preparing prepare: (Int) throws -> Void = { _ in },
            _ body: (Int) throws -> Void
        ) rethrows {
            var times = Times(capacity: calls)
            for call in 0..<calls / 10 + calls {
                try prepare(call * usersPerCall)
                if touching { other.touch() }
                let start = nanosecondsNow()
                try body(call * usersPerCall)
                let end = nanosecondsNow()
                if call >= calls / 10 { times.append(Double(end - start) / 1e3 / Double(usersPerCall)) }
            }
            results.append((name, times))
        }
        try measure("alone") { _ = try users.embed($0 % users.count, tower, scratch) }
        try measure("alone_touched", touching: true) { _ = try users.embed($0 % users.count, tower, scratch) }
        // The inputs are assembled beforehand, as they are for ONNX Runtime.
        try measure("layers", preparing: { try users.place($0 % users.count, at: 0, tower, scratch) }) { _ in
            tower.embedPlaced(count: 1, scratch)
        }
        try measure("together", usersPerCall: Tower.placeCount) { first in
            for place in 0..<Tower.placeCount {
                try users.place((first + place) % users.count, at: place, tower, scratch)
            }
            tower.embedPlaced(count: Tower.placeCount, scratch)
        }
        let timings = results.map { name, times in
            #""\#(name)":{"p50":\#(times.percentile(0.5)),"p99":\#(times.percentile(0.99))}"#
        }
        print(
            #"{"instruction_set":"\#(TowerBenchmark.sets[Int(set)])","us":{\#(timings.joined(separator: ","))},"#
                + #""embeddings":\#(embeddings)}"#)
    }
}

/// The decoded requests of a file, with what their users have cached.
private final class Users {
    let snapshot: Snapshot
    let count: Int
    // A query's texts lie in its decoder.
    private let decoders: [RequestDecoder]
    private let queries: [RetrievalQuery]
    private let vectors: [(cross: AlignedFloats?, cascade: AlignedFloats?)]

    init(snapshot path: String, requests: String) throws {
        let snapshot = try Snapshot(loading: try SnapshotFiles(path: path))
        let retriever = Retriever(snapshot: snapshot)
        var (decoders, queries): ([RequestDecoder], [RetrievalQuery]) = ([], [])
        var vectors: [(cross: AlignedFloats?, cascade: AlignedFloats?)] = []
        let text = try String(contentsOfFile: requests, encoding: .utf8)
        for line in text.split(separator: "\n") {
            let decoder = try RequestDecoder(maximumBodyByteCount: 1 << 16)
            var query = RetrievalQuery()
            try Array(line.utf8).withUnsafeBytes { try decoder.decodeRetrieve($0, into: &query) }
            let cached = try retriever.enrich(query.user).cached
            vectors.append(
                (
                    cached.cross.map { AlignedFloats($0, count: snapshot.manifest.dimension) },
                    cached.cascade.map { AlignedFloats($0, count: snapshot.manifest.cascadeDimension ?? 0) }
                ))
            decoders.append(decoder)
            queries.append(query)
        }
        self.snapshot = snapshot
        (self.decoders, self.queries, self.vectors, count) = (decoders, queries, vectors, queries.count)
    }

    private func id(_ user: Int) -> FeatureValue? {
        switch queries[user].user.id {
        case .text(let text): .text(text)
        case .number(let number): .unsigned(number)
        case nil: nil
        }
    }

    private func cached(_ user: Int) -> CachedVectors {
        CachedVectors(cross: vectors[user].cross?.pointer, cascade: vectors[user].cascade?.pointer)
    }

    func embed(_ user: Int, _ tower: Tower, _ scratch: TowerScratch) throws -> UnsafeMutableBufferPointer<Float> {
        try tower.embed(
            userID: id(user), queries[user].user.features, cached: cached(user), strict: true, scratch)
    }

    func place(_ user: Int, at place: Int, _ tower: Tower, _ scratch: TowerScratch) throws {
        try tower.place(
            userID: id(user), queries[user].user.features, cached: cached(user), strict: true, at: place, scratch)
    }
}

/// A copy of a cached vector.
private final class AlignedFloats {
    private let buffer: AlignedBuffer<Float>

    init(_ source: UnsafePointer<Float>, count: Int) {
        buffer = AlignedBuffer(repeating: 0, count: count)
        buffer.base.update(from: source, count: count)
    }

    var pointer: UnsafePointer<Float> { UnsafePointer(buffer.base) }
}

/// What else a server does between two towers: other memory goes through the caches.
private final class OtherMemory {
    private let lines: AlignedBuffer<UInt64>

    init(byteCount: Int) {
        lines = AlignedBuffer(repeating: 0, count: byteCount / 8)
    }

    func touch() {
        for line in stride(from: 0, to: lines.count, by: 8) { lines.base[line] &+= 1 }
    }
}

/// Microseconds per user.
private struct Times {
    private var values: [Double] = []

    init(capacity: Int) {
        values.reserveCapacity(capacity)
    }

    mutating func append(_ value: Double) {
        values.append(value)
    }

    func percentile(_ share: Double) -> Double {
        values.sorted()[Int(share * Double(values.count - 1))]
    }
}

private func nanosecondsNow() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
