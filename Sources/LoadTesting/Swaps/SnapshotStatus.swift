internal import JSON

/// What the admin plane's `GET /v1/snapshots` says.
struct SnapshotStatus {
    /// One snapshot's life so far.
    struct Entry {
        let id: String
        let state: String
        /// Why it failed, or nil.
        let reason: String?
        let spaceID: String?
        /// When it came to a state, or was destroyed: nanoseconds of the Unix epoch, by the daemon's wall clock.
        let times: [String: UInt64]
        /// What the steps took, in milliseconds.
        let durations: [String: Double]
        /// What the steps took of the processor, in milliseconds.
        let cpu: [String: Double]
    }

    /// The id of the one that serves.
    let serving: String?
    /// The id of the one that served before.
    let previous: String?
    let entries: [Entry]

    /// Asks the admin plane.
    init(_ client: ControlClient) throws(LoadTestError) {
        let reply = try client.send("GET", "/v1/snapshots")
        guard reply.status == 200 else {
            throw .failed("GET /v1/snapshots answers \(reply.status): \(reply.text.prefix(200))")
        }
        do {
            try self.init(reply.body)
        } catch {
            throw .failed("GET /v1/snapshots: \(error)")
        }
    }

    /// Reads a reply's body. `serving` and `previous` and whatever an entry says about its life may be missing.
    init(_ body: [UInt8]) throws(JSONDocumentError) {
        let root = try JSONDocument(body).root
        entries = try root.member("snapshots").elements().map { node throws(JSONDocumentError) in try Entry(node) }
        previous = try root.text("previous")
        serving = try root.text("serving") ?? entries.last { $0.state == "serving" }?.id
    }

    /// The latest entry of an id.
    func entry(_ id: String) -> Entry? { entries.last { $0.id == id } }
}

extension SnapshotStatus.Entry {
    init(_ node: JSONNode) throws(JSONDocumentError) {
        id = try node.member("id").string()
        state = try node.member("state").string()
        reason = try node.text("reason")
        spaceID = try node.text("space_id")
        var times: [String: UInt64] = [:]
        for (name, value) in try node.object("times") {
            guard let instant = value.unlessNull else { continue }
            guard let nanoseconds = WallClock.nanoseconds(try instant.string()) else {
                throw instant.error("'\(try instant.string())' is no instant like 2026-11-21T19:00:00.123Z")
            }
            times[name] = nanoseconds
        }
        self.times = times
        durations = try node.numbers("durations_ms")
        cpu = try node.numbers("cpu_ms")
    }
}

extension JSONNode {
    fileprivate func text(_ name: String) throws(JSONDocumentError) -> String? {
        try optionalMember(name)?.unlessNull?.string()
    }

    fileprivate func object(_ name: String) throws(JSONDocumentError) -> [(name: String, node: JSONNode)] {
        try optionalMember(name)?.unlessNull?.members() ?? []
    }

    fileprivate func numbers(_ name: String) throws(JSONDocumentError) -> [String: Double] {
        var numbers: [String: Double] = [:]
        for (key, value) in try object(name) {
            if let number = value.unlessNull { numbers[key] = try number.number() }
        }
        return numbers
    }
}

/// Instants as the daemon writes them.
enum WallClock {
    /// Nanoseconds of the Unix epoch of `2026-11-21T19:00:00.123Z`, with up to nine digits of fraction or none; nil for
    /// anything else.
    static func nanoseconds(_ text: String) -> UInt64? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.last == UInt8(ascii: "Z") else { return nil }
        func number(_ start: Int, _ count: Int) -> Int? {
            var value = 0
            for byte in bytes[start..<start + count] {
                guard byte >= 0x30, byte <= 0x39 else { return nil }
                value = value * 10 + Int(byte - 0x30)
            }
            return value
        }
        for (place, separator) in [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")]
        where bytes[place] != separator.utf8.first { return nil }
        guard let year = number(0, 4), let month = number(5, 2), let day = number(8, 2), let hour = number(11, 2),
            let minute = number(14, 2), let second = number(17, 2), year >= 1970, (1...12).contains(month),
            (1...31).contains(day), hour < 24, minute < 60, second <= 60
        else { return nil }
        var fraction = 0
        if bytes.count > 20 {
            let digits = bytes.count - 21
            guard bytes[19] == UInt8(ascii: "."), (1...9).contains(digits), let value = number(20, digits) else {
                return nil
            }
            fraction = value
            for _ in digits..<9 { fraction *= 10 }
        }
        let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
        return UInt64(seconds) * 1_000_000_000 + UInt64(fraction)
    }

    /// Days from 1970-01-01, counted in years that begin in March, so that a leap day is a year's last.
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month > 2 ? year : year - 1
        let monthFromMarch = (month + 9) % 12
        let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
        return shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + dayOfYear - 719_468
    }
}
