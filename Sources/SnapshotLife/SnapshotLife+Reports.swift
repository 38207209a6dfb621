internal import DaemonState
internal import JSON
public import HTTPServer
public import Memory
public import Metrics
public import RetrievalAPI
internal import ItemIndex
internal import Snapshots

/// What the admin plane and `/metrics` say.
extension SnapshotLife {
    /// One line for whoever supervises the daemon.
    public var status: String {
        servingFacts.map { "serving snapshot \($0.id), \($0.itemCount) items" }
            ?? "no snapshot serves"
    }

    /// Writes what `GET /v1/snapshots` answers.
    func write(to writer: inout ByteWriter) {
        let choice = choice
        writer.append("{\"serving\":")
        writer.appendJSON(orNull: choice.serving)
        writer.append(",\"previous\":")
        writer.appendJSON(orNull: choice.previous)
        writer.append(",\"chosen\":")
        writer.appendJSON(orNull: choice.chosen)
        writer.append(",\"directory\":")
        writer.appendJSON(directory)
        writer.append(",\"snapshots\":[")
        for (index, record) in list().enumerated() {
            if index > 0 { writer.append(",") }
            writer.append(record)
        }
        writer.append("]}")
    }

    /// Writes all metrics of the daemon.
    ///
    /// - server: the data plane.
    /// - requests: one for each worker.
    public func writeMetrics(
        server: HTTPServer, requests: [RequestMetrics], build: BuildInfo, to writer: inout ByteWriter
    ) {
        var text = MetricsText()
        build.write(to: &text)
        ProcessFigures.read().write(to: &text)
        writeRequests(requests, server, &text)
        writeSnapshots(&text)
        text.withUnsafeBytes { writer.append($0) }
    }

    private func writeRequests(_ requests: [RequestMetrics], _ server: HTTPServer, _ text: inout MetricsText) {
        text.histogram(
            "belfry_request_duration_seconds", help: "From the first byte of a request seen to its reply written.",
            RequestMetrics.Endpoint.allCases.map { endpoint in
                ([("endpoint", endpoint.rawValue)], requests.map { $0.durations(endpoint) })
            })
        text.histogram(
            "belfry_retrieve_step_duration_seconds", help: "Steps of a retrieval.",
            RequestMetrics.Step.allCases.map { step in
                ([("step", step.rawValue)], requests.map { $0.durations(step) })
            })
        text.counter(
            "belfry_requests_total", help: "Requests answered, by endpoint and status.",
            RequestMetrics.Endpoint.allCases.flatMap { endpoint in
                RequestMetrics.statuses.map { status in
                    (
                        [("endpoint", endpoint.rawValue), ("status", "\(status)")],
                        Double(requests.reduce(0) { $0 + $1.replies(endpoint, status: status).value })
                    )
                }.filter { $0.1 > 0 || $0.0[1].1 == "200" }
            })
        text.counter(
            "belfry_refused_requests_total", help: "Requests refused by the handler, by the problem's type.",
            Problem.Kind.allCases.map { kind in
                ([("reason", kind.rawValue)], Double(requests.reduce(0) { $0 + $1.refusals(kind).value }))
            })
        text.counter(
            "belfry_degraded_requests_total", help: "Retrievals that their deadline cut short.",
            [([("reason", "deadline")], Double(requests.reduce(0) { $0 + $1.degraded.value }))])
        text.counter(
            "belfry_cold_starts_total", help: "Retrievals for users whose cached vectors are not known.",
            [([], Double(requests.reduce(0) { $0 + $1.coldStarts.value }))])
        let counters = server.counters
        text.gauge("belfry_connections", help: "Open connections.", [([], Double(counters.connections))])
        text.counter(
            "belfry_refused_connections_total",
            help: "Requests that were refused before the handler: framing, size, too many connections.",
            [([], Double(counters.refused))])
    }

    /// Samples that could only be had by waiting are left out.
    private func writeSnapshots(_ text: inout MetricsText) {
        let facts = servingFacts
        let figures = records.figures(serving: facts?.id)
        if let facts {
            text.info(
                "belfry_snapshot_info", help: "The snapshot that serves.",
                [("model", "default"), ("id", facts.id), ("space_id", facts.spaceID)])
            text.gauge(
                "belfry_snapshot_items", help: "Items of the snapshot that serves.", [([], Double(facts.itemCount))])
            text.gauge(
                "belfry_snapshot_index_bytes", help: "Memory of its index, vectors included.",
                [([], Double(facts.indexByteCount))])
            let now = Double(wallClockMillis()) / 1e3
            if let created = unixSeconds(rfc3339: facts.createdAt) {
                text.gauge(
                    "belfry_snapshot_age_seconds", help: "Since the serving snapshot's newest training event.",
                    [([], now - created)])
            }
            if let since = figures?.servingSince {
                text.gauge(
                    "belfry_snapshot_serving_seconds", help: "Since the snapshot began to serve.",
                    [([], now - Double(since) / 1e3)])
            }
        }
        if let states = figures?.counts {
            text.gauge(
                "belfry_snapshots", help: "Snapshots by state.",
                SnapshotRecord.State.allCases.map { ([("state", $0.rawValue)], Double(states[$0] ?? 0)) })
        }
        text.gauge("belfry_paused_items", help: "Items that are paused.", [([], Double(pauses?.count ?? 0))])
        if let totals = counts.totals { writeTotals(totals, &text) }
    }

    private func writeTotals(_ totals: SnapshotCounts.Totals, _ text: inout MetricsText) {
        text.counter("belfry_swaps_total", help: "Swaps since the start.", [([], Double(totals.swapCount))])
        text.counter(
            "belfry_snapshots_refused_total", help: "Snapshots refused, by the check that they failed.",
            SnapshotError.Stage.allCases.map { ([("reason", $0.rawValue)], Double(totals.refusedCounts[$0] ?? 0)) })
        let steps = SnapshotRecord.Step.allCases.map { step in (step.rawValue, totals.steps[step] ?? (0, 0, 0)) }
        text.counter(
            "belfry_swap_step_seconds_total", help: "Time that the steps of swaps took.",
            steps.map { ([("step", $0.0)], $0.1.seconds) })
        text.counter(
            "belfry_swap_step_cpu_seconds_total", help: "Processor time that the steps of swaps took.",
            steps.map { ([("step", $0.0)], $0.1.cpuSeconds) })
        text.counter(
            "belfry_swap_steps_total", help: "Steps of swaps that were finished.",
            steps.map { ([("step", $0.0)], Double($0.1.count)) })
    }
}

extension ByteWriter {
    fileprivate mutating func appendJSON(orNull text: String?) {
        if let text { appendJSON(text) } else { append("null") }
    }

    fileprivate mutating func appendJSON(orNull number: Int?) {
        if let number { appendJSON(number) } else { append("null") }
    }

    fileprivate mutating func append(_ record: SnapshotRecord) {
        append("{\"id\":")
        appendJSON(record.id)
        append(",\"state\":")
        appendJSON(record.state.rawValue)
        append(",\"stage\":")
        appendJSON(orNull: record.fault?.stage.rawValue)
        append(",\"reason\":")
        appendJSON(orNull: record.fault?.description)
        append(",\"bytes\":")
        appendJSON(orNull: record.byteCount)
        append(",\"items\":")
        appendJSON(orNull: record.itemCount)
        append(",\"space_id\":")
        appendJSON(orNull: record.spaceID)
        append(",\"created_at\":")
        appendJSON(orNull: record.createdAt)
        append(",\"times\":{")
        for (index, time) in record.times.enumerated() {
            if index > 0 { append(",") }
            appendJSON(time.event)
            append(":")
            appendJSON(rfc3339(unixMillis: time.unixMillis))
        }
        append("},\"durations_ms\":{")
        append(record.costs) { $0.millis }
        append("},\"cpu_ms\":{")
        append(record.costs) { $0.cpuMillis }
        append("},\"skew\":")
        if let skew = record.skew { append(skew) } else { append("null") }
        append("}")
    }

    private mutating func append(
        _ costs: [SnapshotRecord.Step: SnapshotRecord.Cost], _ value: (SnapshotRecord.Cost) -> Double
    ) {
        var isFirst = true
        for step in SnapshotRecord.Step.allCases {
            guard let cost = costs[step] else { continue }
            if !isFirst { append(",") }
            isFirst = false
            appendJSON(step.rawValue)
            append(":")
            appendJSON(rounded(value(cost)))
        }
    }

    private mutating func append(_ skew: SkewReport) {
        append("{\"requests\":")
        appendJSON(skew.requestCount)
        append(",\"refused\":")
        appendJSON(skew.refusedCount)
        for (name, value) in [
            ("cosine_mean", skew.cosineMean), ("cosine_min", skew.cosineMin), ("overlap_mean", skew.overlapMean),
            ("latency_ratio", skew.latencyRatio),
        ] {
            append(",")
            appendJSON(name)
            append(":")
            if let value, value.isFinite { appendJSON(rounded(value)) } else { append("null") }
        }
        append("}")
    }
}
