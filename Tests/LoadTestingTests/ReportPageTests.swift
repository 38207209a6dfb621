import Foundation
import LoadTesting
import Testing

/// The report's page: what is put into it, and what a browser makes of it.
@Suite struct ReportPageTests {
    /// Text that would be an element, run a script and end the one it stands in.
    static let hostile =
        "</script><x-hostile></x-hostile><img src=x onerror=\"document.documentElement.dataset.taken='yes'\">"
        + "<script>document.documentElement.dataset.taken = 'yes'</script>{{report}}"

    @Test func theReportIsInThePageAsItWasGiven() throws {
        let report: [String: String] = ["target": Self.hostile, "{{title}}": "é\u{2028}<!--"]
        let json = try JSONSerialization.data(withJSONObject: report, options: .withoutEscapingSlashes)
        let page = ReportPage.html(json: [UInt8](json), title: "A & B <\(Self.hostile)")
        let start = try #require(page.range(of: "<script type=\"application/json\" id=\"report\">"))
        let end = try #require(page.range(of: "</script>", range: start.upperBound..<page.endIndex))
        let embedded = page[start.upperBound..<end.lowerBound]
        #expect(!embedded.contains("<"))
        let read = try JSONSerialization.jsonObject(with: Data(embedded.utf8)) as? [String: String]
        #expect(read == report)
        #expect(page.contains("<title>A &amp; B &lt;&lt;/script&gt;&lt;x-hostile"))
        #expect(page.hasSuffix("</html>\n"))
    }

    /// Someone opens it on a plane, or behind a wall that lets nothing through.
    @Test func thePageLoadsNothing() {
        let page = ReportPage.html(json: "{}", title: "")
            .replacingOccurrences(of: "http://www.w3.org/2000/svg", with: "")
        for loading in ["http:", "https:", "src=", "href=", "@import", "url(", "fetch(", "XMLHttpRequest", "import("] {
            #expect(!page.contains(loading), "\(loading)")
        }
        // What would make markup of text.
        for parsing in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"] {
            #expect(!page.contains(parsing), "\(parsing)")
        }
    }

    @Test(.enabled(if: Browser.path != nil, "chromium is not installed"), .timeLimit(.minutes(2)))
    func everyCurveHasThePointsOfItsData() throws {
        let document = try Browser.document(of: Self.report)
        #expect(document.verdict == "Failed")
        // By plot: the points of each curve, as many as the report has values that are not null.
        let expected: [String: [String: Int]] = [
            "percentiles": ["latency": 5, "service": 4, "send_lag": 3],
            "latency-over-time": ["p50": 5, "p99": 6, "max": 6],
            "rate-over-time": ["due": 6, "succeeded": 6],
            "errors-over-time": ["errors": 6],
            "sweep": ["sweep": 3],
            "find-max": ["probes": 4],
        ]
        for (name, curves) in expected {
            let plot = try #require(document.plots[name], "\(name)")
            #expect(plot.curves.mapValues(\.count) == curves, "\(name)")
        }
        #expect(document.plots["latency-over-time"]?.marks == ["swap", "pause"])
        // One stretch of 4 intervals and one of 3, each with two corners above and two below.
        #expect(document.plots["snapshots-over-time"]?.bands == ["first": 4 * 4, "second": 3 * 4])
        #expect(Set(document.plots.keys) == Set(expected.keys).union(["snapshots-over-time"]))
        for (name, plot) in document.plots {
            for point in plot.points {
                #expect(point.x.isFinite && (0...plot.width).contains(point.x), "\(name)")
                #expect(point.y.isFinite && (0...plot.height).contains(point.y), "\(name)")
            }
        }
    }

    @Test(.enabled(if: Browser.path != nil, "chromium is not installed"), .timeLimit(.minutes(2)))
    func pointsStandWhereTheirValuesBelong() throws {
        let plots = try Browser.document(of: Self.report).plots
        // Every nine is one more step to the right, up to the slowest at the edge; ten times the time is one step up.
        let latency = try #require(plots["percentiles"]?.curves["latency"])
        try #require(latency.count == 5)
        let nine = latency[3].x - latency[2].x
        #expect(nine > 50)
        #expect(abs((latency[2].x - latency[0].x) - nine) < 0.25)
        // 50 % is log10(2) of a step from the left.
        #expect(abs((latency[1].x - latency[0].x) - nine * log10(2)) < 0.25)
        #expect(latency[4].x > latency[3].x)
        let decade = latency[0].y - latency[2].y
        #expect(decade > 20)
        #expect(abs((latency[2].y - latency[3].y) - decade) < 0.25)
        // 100, 50 and 0 succeeded: the same distance apart.
        let succeeded = try #require(plots["rate-over-time"]?.curves["succeeded"])
        try #require(succeeded.count == 6)
        #expect(succeeded[0].y < succeeded[1].y)
        #expect(abs((succeeded[1].y - succeeded[0].y) - (succeeded[2].y - succeeded[1].y)) < 0.25)
        // Seconds are the same distance apart, and the p50 that is missing leaves its place empty.
        let second = succeeded[1].x - succeeded[0].x
        let median = try #require(plots["latency-over-time"]?.curves["p50"])
        try #require(median.count == 5)
        #expect(second > 20)
        #expect(abs((median[3].x - median[2].x) - second * 2) < 0.25)
        #expect(median.map(\.startsStretch) == [true, false, false, true, false])
    }

    @Test(.enabled(if: Browser.path != nil, "chromium is not installed"), .timeLimit(.minutes(2)))
    func swapsAreShownWithTheirFigures() throws {
        let report: [String: Any] = [
            "exit": "failed", "machine": ["stolen": ["all_share": 0.05, "own_share": 0.002]],
            "intervals": [
                ["run": 0, "start_s": 0, "length_s": 1, "requests": 1, "succeeded": 1, "p50": 1, "p99": 1, "max": 1]
            ],
            "marks": [
                ["kind": "publish", "label": "p", "start_s": 0.1, "end_s": 0.4],
                ["kind": "swap", "label": "s", "start_s": 0.4, "end_s": 0.6],
            ],
            "windows": [
                "swap": ["count": 1000, "p50": 210], "quiet": ["count": 1100, "p50": 200], "pairs": 30, "swap_s": 61.5,
                "quiet_s": 60.25, "ratios": [["percentile": 99, "ratio": 1.125, "low": 1.01, "high": 1.25]],
            ],
            "swaps": [
                "done": 30, "failed": 1, "steps_ms": ["verify": ["count": 30, "median": 1234.5, "max": 2345.6]],
                "steps_cpu_ms": ["verify": ["count": 30, "median": 345, "max": 456]],
                "resident_bytes_third": 209_715_200, "resident_bytes_last": 213_909_504, "resident_ratio": 1.02,
            ],
            "thresholds": [
                [
                    "expression": "memory[last]<1.01*memory[third]", "verdict": "fails", "unit": "bytes",
                    "observed": 213_909_504, "limit": 211_812_352,
                ]
            ],
        ]
        let document = try Browser.document(of: report)
        for text in [
            "1.125", "1.010 – 1.250", "200 MiB", "204 MiB", "1.0200 times", "1.23 s", "345 ms", "between swaps",
            "202 MiB",
            "Not a quiet machine", "5 %",
        ] {
            #expect(document.markup.contains(text), "\(text)")
        }
        #expect(try #require(document.plots["latency-over-time"]).marks == ["swap"])
        #expect(!document.markup.contains("could not be drawn"))
    }

    @Test(.enabled(if: Browser.path != nil, "chromium is not installed"), .timeLimit(.minutes(2)))
    func textFromOutsideIsNoMarkup() throws {
        let interval: [String: Any] = [
            "run": 0, "start_s": 0, "requests": 1, "succeeded": 1, "errors": 0, "p50": 1, "p99": 1, "max": 1,
            "snapshots": [Self.hostile: 1],
        ]
        let report: [String: Any] = [
            "mode": Self.hostile, "target": Self.hostile, "started_at": Self.hostile, "invalid": [Self.hostile],
            "error_bodies": ["503": Self.hostile], "snapshots": [["id": Self.hostile, "replies": 1]],
            "marks": [["kind": Self.hostile, "label": Self.hostile, "start_s": 0, "end_s": 1, "fault": Self.hostile]],
            "intervals": [interval], "errors": ["total": 1, "by_kind": [Self.hostile: 1]],
            "validation": ["faults": [Self.hostile: 1], "examples": [Self.hostile, ["id": Self.hostile]]],
            "recall": ["skipped": [Self.hostile: 1], "estimates": [["at": Self.hostile, "mean": 1]]],
            "thresholds": [["expression": Self.hostile, "verdict": Self.hostile, "reason": Self.hostile]],
            "machine": [Self.hostile: Self.hostile], "options": [[Self.hostile, Self.hostile]],
            "sweep": [["parameter": Self.hostile, "value": Self.hostile, "latency_us": ["p99": 1]]],
            "find_max": ["rate": 1, "probes": [["rate": 1, "verdict": Self.hostile, "p99_us": 1]]],
            "overload": [Self.hostile: Self.hostile],
            "windows": [Self.hostile: ["count": 1], "ratios": [["ratio": 1, "percentile": 99]]],
            "swaps": ["done": 1, "steps_ms": [Self.hostile: ["median": 1, "max": 2]]],
        ]
        let document = try Browser.document(of: report)
        #expect(document.verdict == "INVALID")
        #expect(!document.source.contains("data-taken"))
        #expect(!document.markup.contains("<x-hostile"))
        #expect(!document.markup.contains("<img"))
        // It is shown, as text, in each of a dozen places.
        #expect(document.markup.components(separatedBy: "&lt;x-hostile").count > 12)
        #expect(!document.markup.contains("could not be drawn"))
    }

    @Test(
        .enabled(if: Browser.path != nil, "chromium is not installed"), .timeLimit(.minutes(2)),
        arguments: [
            "{}", #"{"mode":"closed","exit":"passed","latency_us":{"count":0,"p50":null},"windows":null}"#, "null",
        ])
    func whatIsMissingIsLeftOut(json: String) throws {
        let document = try Browser.document(page: ReportPage.html(json: json, title: ""))
        #expect(document.plots.isEmpty)
        #expect(!document.markup.contains("could not be drawn"))
        #expect(document.verdict == (json.contains("passed") ? "Passed" : "Measured"))
        #expect(document.markup.contains("Closed loop.") == json.contains("closed"))
    }

    /// Six seconds, one of them without a p50, with a swap and a pause.
    private static var report: [String: Any] {
        [
            "mode": "open", "exit": "failed", "valid": true, "duration_s": 6, "requests": 600, "warmup_s": 0,
            "latency_us": ["count": 100_000, "p50": 100, "p99": 1_000, "max": 20_000],
            "thresholds": [["expression": "p(99)<900us", "observed": 1_000, "limit": 900, "verdict": "fails"]],
            "curves": [
                "latency": [[0, 100], [50, 300], [90, 1_000], [99, 10_000], [100, 20_000]],
                "service": [[0, 90], [50, 200], [90, 700], [100, 9_000]],
                "send_lag": [[0, 0], [90, 3], [100, 40]],
            ],
            "snapshots": [["id": "first", "replies": 300], ["id": "second", "replies": 300]],
            "marks": [
                ["kind": "swap", "label": "second", "start_s": 3.2, "end_s": 3.9],
                ["kind": "pause", "label": "50 ms", "start_s": 5, "end_s": 5.05],
            ],
            "intervals": [
                second(0, succeeded: 100, p50: 100, snapshots: ["first": 100]),
                second(1, succeeded: 50, p50: 110, snapshots: ["first": 50]),
                second(2, succeeded: 0, p50: 120, snapshots: ["first": 1]),
                second(3, succeeded: 100, p50: nil, snapshots: ["first": 20, "second": 80]),
                second(4, succeeded: 100, p50: 90, snapshots: ["second": 100]),
                second(5, succeeded: 100, p50: 95, snapshots: ["second": 100]),
            ],
            "sweep": [
                ["parameter": "ef", "value": 50, "latency_us": ["p99": 900], "recall": [["at": 10, "mean": 0.91]]],
                ["parameter": "ef", "value": 100, "latency_us": ["p99": 1_400], "recall": [["at": 10, "mean": 0.95]]],
                ["parameter": "ef", "value": 200, "latency_us": ["p99": 2_500], "recall": [["at": 10, "mean": 0.98]]],
            ],
            "find_max": [
                "rate": 300,
                "probes": [
                    ["rate": 100, "verdict": "holds", "p99_us": 500], ["rate": 200, "verdict": "holds", "p99_us": 600],
                    ["rate": 400, "verdict": "fails", "p99_us": 90_000],
                    ["rate": 300, "verdict": "holds", "p99_us": 900],
                ],
            ],
        ]
    }

    private static func second(_ start: Int, succeeded: Int, p50: Int?, snapshots: [String: Int]) -> [String: Any] {
        [
            "run": 0, "start_s": start, "requests": 100, "succeeded": succeeded, "errors": 100 - succeeded,
            "p50": p50.map { $0 as Any } ?? NSNull(), "p99": 900 + start, "max": 5_000, "snapshots": snapshots,
        ]
    }
}

/// A browser without a window or a network, and what it makes of a page.
private enum Browser {
    static let path: String? = {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin").split(separator: ":")
        return ["chromium", "chromium-browser", "google-chrome"].lazy
            .flatMap { name in folders.map { "\($0)/\(name)" } }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }()

    struct Point {
        var x: Double
        var y: Double
        /// It begins a stretch: nothing joins it to the point before.
        var startsStretch: Bool
    }

    struct Plot {
        var width: Double
        var height: Double
        /// Curves by series; bands are apart.
        var curves: [String: [Point]] = [:]
        /// Corners by snapshot.
        var bands: [String: Int] = [:]
        var marks: [String] = []
        /// The points of curves and bands.
        var points: [Point] = []
    }

    struct Document {
        /// The document as the browser writes it.
        var source: String
        /// The same without scripts and the values of attributes: what is left in angle brackets is elements.
        var markup: String
        var plots: [String: Plot] = [:]
        var verdict: String?

        init(_ source: String) throws {
            self.source = source
            let body = source.replacing(try Regex("(?s)<script.*?</script>"), with: "")
            markup = body.replacing(try Regex("=\"[^\"]*\""), with: "")
            let element = try Regex(
                "(?s)<svg ([^>]*data-plot=[^>]*)>(.*?)</svg>", as: (Substring, Substring, Substring).self)
            for match in body.matches(of: element) {
                let attributes = try Self.attributes(of: match.output.1)
                let box = (attributes["viewBox"] ?? "").split(separator: " ").compactMap { Double($0) }
                guard let name = attributes["data-plot"], box.count == 4 else { continue }
                var plot = Plot(width: box[2], height: box[3])
                for part in match.output.2.matches(
                    of: try Regex("<(?:path|rect) ([^>]*)>", as: (Substring, Substring).self))
                {
                    let attributes = try Self.attributes(of: part.output.1)
                    if let kind = attributes["data-mark"] { plot.marks.append(kind) }
                    guard let series = attributes["data-series"] else { continue }
                    let points = try Self.points(of: attributes["d"] ?? "")
                    plot.points += points
                    if let snapshot = attributes["data-snapshot"] {
                        plot.bands[snapshot] = points.count
                    } else {
                        plot.curves[series] = points
                    }
                }
                plots[name] = plot
            }
            let verdict = try Regex("<span [^>]*id=\"verdict\"[^>]*>([^<]*)<", as: (Substring, Substring).self)
            self.verdict = body.firstMatch(of: verdict).map { String($0.output.1) }
        }

        private static func attributes(of text: Substring) throws -> [String: String] {
            let pair = try Regex("([\\w-]+)=\"([^\"]*)\"", as: (Substring, Substring, Substring).self)
            return Dictionary(
                text.matches(of: pair).map { (String($0.output.1), String($0.output.2)) },
                uniquingKeysWith: { first, _ in first })
        }

        /// The points of a path that consists of absolute moves and lines. What is no number becomes one that is not finite.
        private static func points(of path: String) throws -> [Point] {
            path.matches(of: try Regex("([ML])([^MLZ]*)", as: (Substring, Substring, Substring).self)).map { match in
                let numbers = match.output.2.split(separator: ",", omittingEmptySubsequences: false).map {
                    Double($0) ?? .nan
                }
                return Point(
                    x: numbers.first ?? .nan, y: numbers.count == 2 ? numbers[1] : .nan,
                    startsStretch: match.output.1 == "M")
            }
        }
    }

    /// Slashes stay as they are: `<\/script>` would be harmless by itself.
    static func document(of report: [String: Any]) throws -> Document {
        let json = try JSONSerialization.data(withJSONObject: report, options: .withoutEscapingSlashes)
        return try document(page: ReportPage.html(json: [UInt8](json), title: "Report"))
    }

    static func document(page: String) throws -> Document {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("report-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("report.html")
        let dump = folder.appendingPathComponent("dump.html")
        try Data(page.utf8).write(to: file)
        try Data().write(to: dump)
        let browser = Process()
        // `timeout` ends the browser's children with it.
        browser.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        browser.arguments =
            ["timeout", "--kill-after=5", "90", try #require(path), "--headless", "--no-sandbox", "--disable-gpu"]
            + ["--disable-dev-shm-usage", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND"]
            + ["--user-data-dir=\(folder.path)/profile", "--window-size=1000,800", "--dump-dom", file.absoluteString]
        browser.standardOutput = try FileHandle(forWritingTo: dump)
        browser.standardError = FileHandle.nullDevice
        try browser.run()
        browser.waitUntilExit()
        try #require(browser.terminationStatus == 0, "chromium ended with \(browser.terminationStatus)")
        return try Document(String(decoding: try Data(contentsOf: dump), as: UTF8.self))
    }
}
