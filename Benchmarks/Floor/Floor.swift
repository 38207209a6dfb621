import ArgumentParser
import Foundation
import HTTPServer
import ItemIndex
import Memory
import Retrieval
import RetrievalAPI
import Snapshots

/// What a request costs at the least: its steps one by one, and the HTTP around them.
@main struct Floor: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-floor", abstract: "The floor under a request's CPU time.",
        subcommands: [Steps.self, Echo.self])

    /// Each step of `/v1/retrieve` by itself, on one thread, without a socket.
    struct Steps: ParsableCommand {
        @Argument(help: "A snapshot.") var snapshot: String
        @Option(help: "Requests, one JSON object a line.") var requests: String
        @Option(help: "How many items.") var k = 100
        @Option(help: "For graphs; the snapshot's own by default.") var ef: Int?
        @Option(help: "For inverted files; the snapshot's own by default.") var nprobe: Int?
        @Option(help: "Rounds over all requests.") var rounds = 5

        func run() throws {
            let snapshot = try Snapshot(loading: SnapshotFiles(path: self.snapshot))
            let lines = try String(contentsOfFile: requests, encoding: .utf8).split(separator: "\n")
            let bodies = lines.map { line in
                Body(Array(line.utf8))
            }
            let retriever = Retriever(snapshot: snapshot)
            let decoder = try RequestDecoder(maximumBodyByteCount: 1 << 20)
            let encoder = ResponseEncoder(
                snapshotID: snapshot.manifest.id, spaceID: snapshot.manifest.spaceID, itemIDs: snapshot.items.ids)
            var query = RetrievalQuery()
            var writer = ByteWriter(capacity: 1 << 20)
            var steps: [String: [Double]] = [:]
            var replySize = 0
            for round in 0...rounds {
                var times = Times()
                for body in bodies {
                    let start = DispatchTime.now().uptimeNanoseconds
                    try decoder.decodeRetrieve(body.bytes, into: &query)
                    query.k = k
                    if ef != nil { query.ef = ef }
                    if nprobe != nil { query.nprobe = nprobe }
                    let decoded = DispatchTime.now().uptimeNanoseconds
                    let context = try retriever.enrich(query.user)
                    let embedding = try retriever.embed(query.user, context, strict: false)
                    let embedded = DispatchTime.now().uptimeNanoseconds
                    let hits = try retriever.search(embedding, query)
                    let searched = DispatchTime.now().uptimeNanoseconds
                    writer.removeAll()
                    query.format = .columns
                    encoder.encodeRetrieve(
                        query, rows: hits.rows, scores: hits.scores, isColdStart: false, explanation: nil, to: &writer)
                    let encoded = DispatchTime.now().uptimeNanoseconds
                    times.add(decoded - start, embedded - decoded, searched - embedded, encoded - searched)
                    replySize = writer.count
                }
                guard round > 0 else { continue }  // the first warms
                for (name, sum) in times.sums {
                    steps[name, default: []].append(sum / Double(bodies.count) / 1000)
                }
            }
            let medians = steps.mapValues { $0.sorted()[$0.count / 2] }
            let result: [String: Double] = medians.merging(["reply_bytes": Double(replySize)]) { first, _ in first }
            let data = try JSONSerialization.data(withJSONObject: result, options: [.sortedKeys, .prettyPrinted])
            print(String(decoding: data, as: UTF8.self))
        }
    }

    /// The server with a handler that reads the body and answers as many bytes as asked for.
    struct Echo: ParsableCommand {
        @Option(help: "Where to listen.") var listen = "127.0.0.1:8090"
        @Option(help: "The size of each reply.") var replyBytes = 2000

        func run() throws {
            let size = replyBytes
            let server = HTTPServer(
                // As the daemon's data plane, which can set requests aside.
                configuration: HTTPConfiguration(
                    address: try ListenAddress(listen), workers: 1, limits: HTTPLimits(), postponesReplies: true)
            ) { _ in
                let reply = [UInt8](repeating: UInt8(ascii: "0"), count: size)
                return { exchange in
                    _ = exchange.body.count
                    reply.withUnsafeBytes { exchange.reply.append($0) }
                }
            }
            try server.start()
            while true { sleep(3600) }
        }
    }
}

/// One request's body, with the readable zeros behind it that the parser wants.
final class Body {
    let bytes: UnsafeRawBufferPointer

    init(_ text: [UInt8]) {
        let padded = UnsafeMutableRawBufferPointer.allocate(byteCount: text.count + 64, alignment: 64)
        padded.initializeMemory(as: UInt8.self, repeating: 0)
        padded.copyBytes(from: text)
        bytes = UnsafeRawBufferPointer(rebasing: padded[..<text.count])
    }

    deinit { bytes.deallocate() }
}

/// Nanoseconds of the steps, summed.
struct Times {
    var sums: [String: Double] = [:]

    mutating func add(_ decode: UInt64, _ embed: UInt64, _ search: UInt64, _ encode: UInt64) {
        for (name, nanoseconds) in [
            ("decode_us", decode), ("tower_us", embed), ("search_us", search), ("encode_us", encode),
        ] {
            sums[name, default: 0] += Double(nanoseconds)
        }
    }
}
