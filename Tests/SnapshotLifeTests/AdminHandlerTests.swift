import DaemonState
import Foundation
import HTTPServer
import RetrievalAPI
import TestSupport
import Testing

@testable import SnapshotLife

/// The admin plane over HTTP.
@Suite struct AdminHandlerTests {
    private func shelf() throws -> Shelf { try Shelf(("cascade-only", "a"), ("cross-only", "b"), ("plain", "c")) }
    private func plane(_ shelf: Shelf) throws -> AdminPlane { try AdminPlane(try LifeUnderTest.started(shelf)) }

    private func entry(_ plane: AdminPlane, _ id: String) throws -> [String: Any] {
        let list = try #require(try plane.get("/v1/snapshots").json["snapshots"] as? [[String: Any]])
        return try #require(list.first { $0["id"] as? String == id })
    }

    // MARK: Routes

    @Test func listsSnapshots() throws {
        let shelf = try shelf()
        let plane = try plane(shelf)
        for path in ["/v1/snapshots", "/v1/models/default/snapshots", "/v1/snapshots?x=1", "/v1/%73napshots"] {
            let reply = try plane.get(path)
            #expect(reply.status == 200 && reply.headers["content-type"] == "application/json")
            #expect(reply.json["serving"] as? String == "a")
            #expect(reply.json["previous"] is NSNull && reply.json["chosen"] is NSNull)
            #expect(reply.json["directory"] as? String == shelf.path)
            #expect((reply.json["snapshots"] as? [[String: Any]])?.map { $0["id"] as? String } == ["a", "b", "c"])
        }
        let serving = try entry(plane, "a")
        #expect(serving["state"] as? String == "serving" && serving["items"] as? Int == 800)
        #expect(serving["reason"] is NSNull && serving["stage"] is NSNull && serving["skew"] is NSNull)
        let times = try #require(serving["times"] as? [String: String])
        #expect(Set(times.keys) == ["found", "verifying", "loading", "warming", "ready", "serving"])
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        for time in times.values {
            let date = try #require(formatter.date(from: time), "\(time)")
            #expect(abs(date.timeIntervalSinceNow) < 120)
        }
        #expect(Set(try #require(serving["durations_ms"] as? [String: Double]).keys) == ["verify", "load", "warm"])
        #expect(try plane.send("HEAD", "/v1/snapshots").status == 200)
        try shelf.publish("plain", as: "bad", spoil: { try $0.flipBit("index.faiss", at: 4000) })
        let refused = try plane.post("/v1/snapshots/bad:activate")
        #expect(refused.status == 422 && refused.problem == "snapshot-refused")
        #expect((refused.json["detail"] as? String)?.contains("integrity: index.faiss") == true)
        let failed = try entry(plane, "bad")
        #expect(failed["state"] as? String == "failed" && failed["stage"] as? String == "integrity")
        #expect((failed["reason"] as? String)?.contains("sha256") == true)
    }

    @Test func carriesOutCommands() throws {
        let plane = try plane(try shelf())
        var reply = try plane.post("/v1/snapshots:rollback")
        #expect(reply.status == 409 && reply.problem == "nothing-before")
        reply = try plane.post("/v1/snapshots/b:load")
        #expect(reply.status == 200 && reply.json as? [String: String] == ["id": "b", "state": "ready"])
        reply = try plane.post("/v1/snapshots/b:activate?wait=1")
        #expect(reply.status == 200 && reply.json as? [String: String] == ["id": "b", "state": "serving"])
        #expect(plane.tested.servingID == "b")
        reply = try plane.post("/v1/models/default/snapshots:rollback")
        #expect(reply.status == 200 && reply.json as? [String: String] == ["id": "a", "state": "serving"])
        reply = try plane.post("/v1/models/default/snapshots/c:activate")
        #expect(reply.status == 200 && plane.tested.servingID == "c")
        reply = try plane.get("/v1/snapshots")
        #expect(reply.json["previous"] as? String == "a" && reply.json["chosen"] as? String == "c")
        reply = try plane.post("/v1/snapshots/nothing:activate")
        #expect(reply.status == 404 && reply.problem == "unknown-snapshot")
        // One connection for several.
        let connection = try plane.connect()
        for id in ["a", "b", "c"] {
            connection.write(AdminPlane.message("POST", "/v1/snapshots/\(id):activate"))
            #expect(try connection.readReply().json as? [String: String] == ["id": id, "state": "serving"])
        }
    }

    @Test func doesNotWaitWhereItIsNotTo() throws {
        let shelf = try shelf()
        let gate = try Gate(shelf)
        let plane = try AdminPlane(try LifeUnderTest.started(shelf) { $0.indexParser = gate.program })
        try gate.shut()
        let reply = try plane.post("/v1/snapshots/b:activate?wait=0")
        #expect(reply.status == 202 && reply.json["status"] as? String == "accepted")
        #expect(plane.tested.servingID == "a")
        try gate.open()
        #expect(plane.tested.serves("b"))
        // Nor does it say then what comes of it.
        #expect(try plane.post("/v1/snapshots/nothing:load?wait=0").status == 202)
        #expect(try plane.post("/v1/snapshots:rollback?wait=0").status == 202)
        #expect(plane.tested.serves("a"))
        for query in ["wait", "wait=2", "wait=0&wait=1", "wait=", "now", "WAIT=0"] {
            let reply = try plane.post("/v1/snapshots/c:activate?\(query)")
            #expect(reply.status == 400 && reply.problem == "unknown-field", "\(query)")
        }
        #expect(plane.tested.servingID == "a")
    }

    @Test func tellsItsHealthConfigurationAndMetrics() throws {
        let plane = try plane(try shelf())
        #expect(try plane.get("/livez").status == 200)
        let early = try plane.get("/readyz")
        #expect(early.status == 503 && early.problem == "not-ready" && early.headers["retry-after"] != nil)
        plane.readiness.set(true)
        #expect(try plane.get("/readyz").status == 200)
        #expect(try plane.get("/v1/config").json as? [String: String] == ["listen": "here"])
        _ = try plane.post("/v1/snapshots/b:activate")
        _ = try plane.post("/v1/items:pause", #"{"ids":[1,2,3]}"#)
        // What is being changed just now is left out.
        #expect(eventually { plane.tested.life.list().first?.times.last?.event == "destroyed" })
        let metrics = try plane.get("/metrics")
        #expect(metrics.headers["content-type"]?.hasPrefix("text/plain") == true)
        let lines = String(decoding: metrics.body, as: UTF8.self).split(separator: "\n")
        for line in [
            "belfry_swaps_total 1", "belfry_paused_items 3", "belfry_snapshots{state=\"serving\"} 1",
            "belfry_snapshots{state=\"found\"} 1", "belfry_snapshots_refused_total{reason=\"golden\"} 0",
            "belfry_snapshot_items 1500",
        ] { #expect(lines.contains { $0 == line }, "\(line)") }
        #expect(lines.contains { $0.hasPrefix("belfry_snapshot_info{") && $0.contains("id=\"b\"") })
    }

    /// A step is counted once for each time it was done: a rollback to what is still in memory loads nothing.
    @Test func countsTheStepsThatWereTaken() throws {
        let tested = try LifeUnderTest.started(try shelf()) { $0.keepsPrevious = true }
        try tested.activate("b")
        for _ in 0..<4 { try tested.rollback() }
        let totals = try #require(tested.life.counts.totals)
        #expect(totals.swapCount == 5)
        #expect(totals.steps[.swap]?.count == 5)
        let loaded = totals.steps[.load]?.count ?? 0
        #expect(loaded <= 2, "\(loaded) loads are counted, and two snapshots were loaded")
    }

    // MARK: Refusals

    @Test func wrongMethodsAreRefused() throws {
        let plane = try plane(try Shelf(("cascade-only", "a")))
        for (method, path, allowed) in [
            ("POST", "/v1/snapshots", "GET"), ("DELETE", "/v1/snapshots", "GET"), ("POST", "/v1/config", "GET"),
            ("POST", "/livez", "GET"), ("PUT", "/readyz", "GET"), ("POST", "/metrics", "GET"),
            ("GET", "/v1/snapshots:rollback", "POST"), ("GET", "/v1/snapshots/b:activate", "POST"),
            ("HEAD", "/v1/snapshots/b:load", "POST"), ("PUT", "/v1/snapshots/b:activate", "POST"),
            ("GET", "/v1/items:pause", "POST"), ("DELETE", "/v1/items:resume", "POST"),
            ("GET", "/v1/items:prune", "POST"),
        ] {
            let reply = try plane.send(method, path)
            #expect(reply.status == 405, "\(method) \(path)")
            #expect(reply.headers["allow"]?.contains(allowed) == true, "\(method) \(path)")
        }
        #expect(plane.tested.servingID == "a" && plane.tested.life.choice.chosen == nil)
    }

    @Test func unknownPathsAndModelsAreRefused() throws {
        let plane = try plane(try shelf())
        for path in [
            "/", "/v1", "/v1/snapshots/", "/v1/snapshots/b", "/v1/snapshots/b:remove", "/v1/snapshots:activate",
            "/v1/retrieve",
            "/v1/items", "/v1/items:", "/v1/items/1", "/V1/snapshots", "/v1/snapshots:rollback/", "/v1//snapshots",
            "/v1/models", "/v1/models/", "/v1/models/default", "/v1/snapshots/b:activate/", "/metrics/", "/v1/config:x",
        ] {
            for method in ["GET", "POST"] {
                let reply = try plane.send(method, path)
                #expect(reply.status == 404 && reply.problem == "unknown-path", "\(method) \(path): \(reply.status)")
            }
        }
        for path in ["/v1/models/other/snapshots", "/v1/models//snapshots", "/v1/models/Default/snapshots:rollback"] {
            let reply = try plane.post(path)
            #expect(reply.status == 404 && reply.problem == "unknown-model", "\(path)")
        }
        for path in ["/v1/snapshots%", "/v1/snapshots/%zz:load", "/v1/snapshots/%ff:load", "/v1/%"] {
            let reply = try plane.post(path)
            #expect(reply.status == 400 && reply.problem == "malformed-path", "\(path)")
        }
        for id in [
            "..%2Fb", "%2e%2e", "b%00", "b%0a", "", "current", "%2Fetc", "a%2F..%2Fb",
            String(repeating: "i", count: 65),
        ] {
            for command in ["load", "activate"] {
                let reply = try plane.post("/v1/snapshots/\(id):\(command)")
                #expect(reply.status == 404 && reply.problem == "unknown-snapshot", "\(id): \(reply.status)")
            }
        }
        #expect(plane.tested.servingID == "a")
        // A name may be percent-encoded.
        #expect(try plane.post("/v1/snapshots/%62:activate").status == 200)
        #expect(plane.tested.servingID == "b")
    }

    @Test func hostileBodiesAreRefusedAndChangeNothing() throws {
        let plane = try plane(try Shelf(("cascade-only", "a")))
        let pauses = try #require(plane.tested.life.pauses)
        try plane.tested.pause("9")
        let long = String(repeating: "x", count: 257)
        for (body, status, problem) in [
            ("", 400, "malformed-json"), ("ids", 400, "malformed-json"), ("{", 400, "malformed-json"),
            (#"{"ids":["1"]"#, 400, "malformed-json"), (#"{"ids":["1"]} x"#, 400, "malformed-json"),
            ("[]", 400, "wrong-type"), ("\"1\"", 400, "wrong-type"), ("null", 400, "wrong-type"),
            ("7", 400, "wrong-type"),
            ("{}", 400, "missing-field"), (#"{"id":["1"]}"#, 400, "unknown-field"),
            (#"{"ids":["1"],"why":"x"}"#, 400, "unknown-field"), (#"{"IDS":["1"]}"#, 400, "unknown-field"),
            (#"{"ids":["1"],"ids":["2"]}"#, 400, "malformed-json"),
            (#"{"ids":["1"],"\u0069ds":["2"]}"#, 400, "malformed-json"),
            (#"{"ids":"1"}"#, 400, "wrong-type"), (#"{"ids":{"1":1}}"#, 400, "wrong-type"),
            (#"{"ids":null}"#, 400, "wrong-type"),
            (#"{"ids":[null]}"#, 400, "wrong-type"), (#"{"ids":["1",true]}"#, 400, "wrong-type"),
            (#"{"ids":["1",-1]}"#, 400, "wrong-type"), (#"{"ids":["1",1.5]}"#, 400, "wrong-type"),
            (#"{"ids":["1",["2"]]}"#, 400, "wrong-type"), (#"{"ids":["1",{}]}"#, 400, "wrong-type"),
            (#"{"ids":["1",1e400]}"#, 400, "malformed-json"), (#"{"ids":["1",""]}"#, 422, "text-length"),
            (#"{"ids":["1","\#(long)"]}"#, 422, "text-length"),
            (#"{"ids":["1","\ud800"]}"#, 400, "malformed-json"),
            (String(repeating: "[", count: 5000), 400, "malformed-json"),
        ] {
            for path in ["/v1/items:pause", "/v1/items:resume"] {
                let reply = try plane.post(path, body)
                #expect(
                    reply.status == status && reply.problem == problem,
                    "\(path) \(body.prefix(60)): \(reply.status) \(reply.problem ?? "")")
                #expect(pauses.ids == ["9"])
            }
        }
        for (headers, status) in [
            (["Content-Type": "text/plain"], 415), (["Content-Encoding": "gzip"], 415),
            (["Content-Type": "application/json"], 200),
        ] as [([String: String], Int)] {
            #expect(try plane.send("POST", "/v1/items:pause", #"{"ids":["9"]}"#, headers: headers).status == status)
        }
        // Bytes that are no text.
        let connection = try plane.connect()
        connection.write(
            Data("POST /v1/items:pause HTTP/1.1\r\nHost: b\r\nContent-Length: 12\r\n\r\n{\"ids\":[\"".utf8) + [0xFF]
                + Data("\"]".utf8))
        #expect(try connection.readReply().status == 400)
        #expect(pauses.ids == ["9"])
    }

    @Test func ordinaryBodiesAreTaken() throws {
        let plane = try plane(try Shelf(("cascade-only", "a")))
        func counts(_ path: String, _ body: String) throws -> [Int?] {
            let reply = try plane.post(path, body)
            #expect(reply.status == 200, "\(body.prefix(40)): \(String(decoding: reply.body, as: UTF8.self))")
            return [reply.json["changed"] as? Int, reply.json["paused"] as? Int]
        }
        #expect(try counts("/v1/items:pause", #"{"ids":[]}"#) == [0, 0])
        #expect(
            try counts("/v1/items:pause", #"{"ids":["1",1,"01",18446744073709551615,"é","e\u0301","\u0000"]}"#) == [
                6, 6,
            ])
        #expect(try counts("/v1/items:pause", #" { "ids" : [ 1 , "\u00e9" ] } "#) == [0, 6])
        #expect(try counts("/v1/items:resume", #"{"ids":[2]}"#) == [0, 6])
        #expect(try counts("/v1/items:resume", #"{"ids":["e\u0301",1]}"#) == [2, 4])
        #expect(try counts("/v1/items:pause", #"{"ids":["\#(String(repeating: "x", count: 256))"]}"#) == [1, 5])
        let many = (0..<20_000).map { "\($0 + 100)" }.joined(separator: ",")
        #expect(try counts("/v1/items:pause", #"{"ids":[\#(many)]}"#) == [20_000, 20_005])
        #expect(try counts("/v1/items:resume", #"{"ids":[\#(many)]}"#) == [20_000, 5])
        // What no snapshot has goes, by whatever name it is asked for.
        for path in ["/v1/items:prune", "/v1/items%3Aprune", "/v1/models/default/items:prune"] {
            try plane.tested.pause("7")
            let reply = try plane.post(path)
            #expect(
                reply.status == 200 && reply.json["dropped"] as? Int ?? 0 >= 1,
                "\(String(decoding: reply.body, as: UTF8.self))")
        }
        #expect(try plane.get("/v1/snapshots").status == 200)
    }

    @Test func withoutStateNothingIsPaused() throws {
        let plane = try AdminPlane(try LifeUnderTest.started(try Shelf(("cascade-only", "a")), remembers: false))
        for path in ["/v1/items:pause", "/v1/items:resume"] {
            let reply = try plane.post(path, #"{"ids":["1"]}"#)
            #expect(reply.status == 503 && reply.problem == "state-unavailable")
        }
        #expect(try plane.post("/v1/items:prune").problem == "state-unavailable")
    }

    // MARK: Waiting

    /// A command that takes long holds nobody up, and is answered in the end.
    @Test func othersAreAnsweredWhileACommandIsWaitedFor() throws {
        let shelf = try shelf()
        let gate = try Gate(shelf)
        let plane = try AdminPlane(try LifeUnderTest.started(shelf) { $0.indexParser = gate.program })
        let some = try shelf.itemIDs("a")[4]
        try gate.shut()
        let waiting = try plane.connect()
        waiting.write(AdminPlane.message("POST", "/v1/snapshots/b:activate"))
        let next = try plane.connect()
        next.write(AdminPlane.message("POST", "/v1/snapshots/c:load"))
        #expect(try eventually { try entry(plane, "b")["state"] as? String == "verifying" })
        #expect(try plane.post("/v1/items:pause", #"{"ids":["\#(some)"]}"#).status == 200)
        #expect(try !Asker().items(plane.tested).contains(some))
        #expect(try plane.get("/metrics").status == 200)
        #expect(try plane.get("/livez").status == 200)
        #expect(plane.tested.servingID == "a")
        try gate.open()
        #expect(try waiting.readReply().json as? [String: String] == ["id": "b", "state": "serving"])
        #expect(try next.readReply().json as? [String: String] == ["id": "c", "state": "ready"])
        // The connection goes on.
        waiting.write(AdminPlane.message("GET", "/livez"))
        #expect(try waiting.readReply().status == 200)
        #expect(try !Asker().items(plane.tested).contains(some))
    }

    /// Requests that follow on the same connection wait their turn and are answered in theirs.
    @Test func pipelinedRequestsAreAnsweredInTheirOrder() throws {
        let shelf = try shelf()
        let gate = try Gate(shelf)
        let plane = try AdminPlane(try LifeUnderTest.started(shelf) { $0.indexParser = gate.program })
        try gate.shut()
        let connection = try plane.connect()
        connection.write(
            AdminPlane.message("POST", "/v1/snapshots/b:activate") + AdminPlane.message("GET", "/livez")
                + AdminPlane.message("POST", "/v1/snapshots:rollback") + AdminPlane.message("GET", "/v1/config"))
        #expect(try eventually { try entry(plane, "b")["state"] as? String == "verifying" })
        try gate.open()
        #expect(try connection.readReply().json["id"] as? String == "b")
        #expect(try connection.readReply().json["status"] as? String == "live")
        #expect(try connection.readReply().json["id"] as? String == "a")
        #expect(try connection.readReply().json["listen"] as? String == "here")
    }

    @Test func aDrainEndsThoughACommandIsWaitedFor() throws {
        let shelf = try shelf()
        let gate = try Gate(shelf)
        let plane = try AdminPlane(try LifeUnderTest.started(shelf) { $0.indexParser = gate.program })
        try gate.shut()
        let waiting = try (0..<3).map { _ in try plane.connect() }
        for connection in waiting { connection.write(AdminPlane.message("POST", "/v1/snapshots/b:activate")) }
        #expect(try eventually { try entry(plane, "b")["state"] as? String == "verifying" })
        #expect(eventually { plane.server.counters.requests >= 3 })
        let drain = TestThreads(1) { _ in plane.server.drain(timeout: .milliseconds(300)) }
        #expect(drain.join(withinSeconds: 20))
        for connection in waiting {
            // Told that the daemon ends, or cut off; never left without an end.
            if let reply = try? connection.readReply() {
                #expect(reply.status == 503 && reply.headers["connection"] == "close")
            }
            #expect(connection.isClosedByDaemon())
        }
        try gate.open()
        // What was under way comes to its end.
        #expect(plane.tested.serves("b"))
    }

    /// A command that is carried out within the drain's time is answered.
    @Test func aDrainWaitsForACommandThatEndsInTime() throws {
        let shelf = try shelf()
        let gate = try Gate(shelf)
        let plane = try AdminPlane(try LifeUnderTest.started(shelf) { $0.indexParser = gate.program })
        try gate.shut()
        let waiting = try plane.connect()
        waiting.write(AdminPlane.message("POST", "/v1/snapshots/b:activate"))
        #expect(try eventually { try entry(plane, "b")["state"] as? String == "verifying" })
        let drain = TestThreads(1) { _ in plane.server.drain(timeout: .seconds(30)) }
        usleep(20_000)
        try gate.open()
        let reply = try waiting.readReply()
        #expect(reply.json as? [String: String] == ["id": "b", "state": "serving"])
        #expect(reply.headers["connection"] == "close")
        #expect(drain.join(withinSeconds: 20))
    }

    @Test func clientsThatHangUpHarmNobody() throws {
        let shelf = try shelf()
        let gate = try Gate(shelf)
        let plane = try AdminPlane(try LifeUnderTest.started(shelf) { $0.indexParser = gate.program })
        try gate.shut()
        do {
            let gone = try (0..<8).map { _ in try plane.connect() }
            for (index, connection) in gone.enumerated() {
                connection.write(AdminPlane.message("POST", "/v1/snapshots/\(index % 2 == 0 ? "b" : "c"):activate"))
            }
            #expect(eventually { plane.server.counters.requests >= 8 })
            for connection in gone.prefix(3) { connection.finishSending() }
        }
        let stays = try plane.connect()
        stays.write(AdminPlane.message("POST", "/v1/snapshots/b:activate"))
        #expect(try plane.post("/v1/items:pause", #"{"ids":[1]}"#).status == 200)
        try gate.open()
        #expect(try stays.readReply().json as? [String: String] == ["id": "b", "state": "serving"])
        // The connections of those who left are given up.
        let rest = stays
        #expect(eventually { plane.server.counters.connections <= 1 })
        #expect(try plane.get("/livez").status == 200)
        _ = rest
    }
}
