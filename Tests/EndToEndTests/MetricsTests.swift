import Foundation
import TestSupport
import Testing

/// `/metrics` of a daemon that has been used, against what it was sent.
@Suite struct MetricsTests {
    private let shelf: Shelf

    init() throws {
        shelf = try Shelf()
        try shelf.publish("cs3-one-cycle", as: "a")
        try shelf.publish("cs3-two-cycles", as: "b")
        try shelf.link("a")
    }

    /// Debian's package `prometheus` has it.
    static let promtool: String? = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map {
        "\($0)/promtool"
    }.first { FileManager.default.isExecutableFile(atPath: $0) }

    @Test func countsWhatWasSent() throws {
        let daemon = try Daemon(snapshot: shelf.path, arguments: ["--warmup-seconds", "0.2"])
        func post(_ path: String, _ body: String, _ status: Int, times: Int = 1) throws {
            for _ in 0..<times { #expect(try daemon.post(path, body).status == status) }
        }
        // Warming up counts for nothing.
        let before = try Metrics(of: daemon)
        #expect(before["belfry_requests_total", ["endpoint": "retrieve", "status": "200"]] == 0)
        #expect(before["belfry_request_duration_seconds_count", ["endpoint": "retrieve"]] == 0)
        try post("/v1/retrieve", #"{"user":{}}"#, 200, times: 7)
        try post("/v1/retrieve", #"{"user":{},"k":0}"#, 422, times: 2)
        try post("/v1/retrieve", #"{"user":{},"color":1}"#, 400, times: 3)
        try post("/v1/embed", #"{"user":{}}"#, 200, times: 4)
        try post("/v1/score", #"{"user":{},"items":["1"]}"#, 200)
        #expect(try daemon.get("/v1/items/nobody").status == 404)
        #expect(try daemon.get("/nowhere").status == 404)
        try shelf.publish("plain", as: "bad") { try $0.flipBit("index.faiss", at: 1000) }
        for _ in 0..<2 { #expect(try daemon.admin("POST", "/v1/snapshots/bad:load").status == 422) }
        try shelf.publish("cascade-only", as: "small")
        #expect(try daemon.admin("POST", "/v1/snapshots/small:load").status == 422)
        for id in ["b", "a", "b"] { #expect(try daemon.admin("POST", "/v1/snapshots/\(id):activate").status == 200) }

        let pages = [
            try daemon.get("/metrics"), try daemon.admin("GET", "/metrics"),
        ]
        for reply in pages {
            #expect(reply.status == 200 && reply.headers["content-type"]?.hasPrefix("text/plain") == true)
            let page = try Metrics(String(decoding: reply.body, as: UTF8.self))
            func requests(_ endpoint: String, _ status: String) -> Double? {
                page["belfry_requests_total", ["endpoint": endpoint, "status": status]]
            }
            #expect(requests("retrieve", "200") == 7 && requests("retrieve", "422") == 2)
            #expect(requests("retrieve", "400") == 3 && requests("embed", "200") == 4)
            #expect(requests("score", "200") == 1 && requests("item", "404") == 1)
            #expect(page["belfry_refused_requests_total", ["reason": "unknown-field"]] == 3)
            #expect(page["belfry_refused_requests_total", ["reason": "out-of-range"]] == 2)
            #expect(page["belfry_swaps_total"] == 3)
            #expect(page["belfry_snapshots_refused_total", ["reason": "integrity"]] == 2)
            #expect(page["belfry_snapshots_refused_total", ["reason": "item_count"]] == 1)
            #expect(page["belfry_snapshots_refused_total", ["reason": "golden"]] == 0)
            #expect(page["belfry_snapshot_info", ["id": "b"]] == 1 && page["belfry_snapshot_items"] == 1500)
            #expect(page["belfry_snapshots", ["state": "serving"]] == 1)
            #expect(page["belfry_snapshots", ["state": "failed"]] == 2)
            #expect(page["belfry_swap_steps_total", ["step": "swap"]] == 3)
            #expect((page["belfry_swap_step_seconds_total", ["step": "verify"]] ?? 0) > 0)
            #expect(page.samples.contains { $0.name == "belfry_build_info" && $0.value == 1 })
            #expect((page["process_resident_memory_bytes"] ?? 0) > 1e6)
            try expectBuckets(page, "belfry_request_duration_seconds", ["endpoint": "retrieve"], count: 12)
            try expectBuckets(page, "belfry_retrieve_step_duration_seconds", ["step": "search"], count: 7)
        }
        // The pages differ in what the reading of the first one changed.
        let swaps = try Metrics(of: daemon)
        try daemon.wait(for: "the old ones' end") {
            try Metrics(of: daemon)["belfry_swap_steps_total", ["step": "destroy"]] == 3
        }
        #expect(swaps["belfry_swaps_total"] == 3)
    }

    /// Buckets from 50 us to 1 s and beyond, ascending, that add up.
    private func expectBuckets(_ page: Metrics, _ name: String, _ labels: [String: String], count: Double) throws {
        let buckets = page.samples.filter { sample in
            sample.name == "\(name)_bucket" && labels.allSatisfy { sample.labels[$0.key] == $0.value }
        }
        let bounds = buckets.map { $0.labels["le"] == "+Inf" ? .infinity : Double($0.labels["le"] ?? "") ?? .nan }
        #expect(bounds.first == 50e-6 && bounds.dropLast().last == 1 && bounds.last == .infinity, "\(bounds)")
        #expect(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 })
        let values = buckets.map(\.value)
        #expect(zip(values, values.dropFirst()).allSatisfy { $0 <= $1 })
        #expect(values.last == count && page["\(name)_count", labels] == count, "\(name)")
        let sum = try #require(page["\(name)_sum", labels])
        #expect(sum > 0 && sum < 60)
    }

    @Test(.enabled(if: MetricsTests.promtool != nil, "needs promtool: apt-get install prometheus"))
    func promtoolAccepts() throws {
        let tool = try #require(Self.promtool)
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(snapshot: shelf.path, arguments: ["--warmup-seconds", "0"])
        #expect(try daemon.post("/v1/retrieve", #"{"user":{}}"#).status == 200)
        #expect(try daemon.admin("POST", "/v1/snapshots/b:activate").status == 200)
        for (name, page) in [("data", try daemon.get("/metrics")), ("admin", try daemon.admin("GET", "/metrics"))] {
            let file = try directory.write(name, page.body)
            let run = try ShellRun(["/bin/sh", "-c", "exec \"$0\" check metrics < \"$1\"", tool, file])
            #expect(run.status == 0 && run.output.isEmpty && run.errors.isEmpty, "\(name): \(run)")
        }
    }
}
