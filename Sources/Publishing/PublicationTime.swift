internal import Glibc

/// The time in `_SUCCESS`.
enum PublicationTime {
    /// SOURCE_DATE_EPOCH if it is set, else now, as `2026-01-31T23:59:59Z`.
    static func text() throws(PublishingError) -> String {
        var seconds = time(nil)
        if let variable = getenv("SOURCE_DATE_EPOCH"), variable.pointee != 0 {
            let text = String(cString: variable)
            guard text.utf8.allSatisfy({ (48...57).contains($0) }), let number = time_t(text), number < 253_402_300_800
            else { throw .sourceDate(text) }
            seconds = number
        }
        var parts = tm()
        gmtime_r(&seconds, &parts)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
            strftime(buffer.baseAddress!, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
            return String(cString: buffer.baseAddress!)
        }
    }

    /// Whether a text has that form, so that texts sort as their times do.
    static func isTime(_ text: String) -> Bool {
        let form = "0000-00-00T00:00:00Z".utf8
        return text.utf8.count == form.count
            && zip(text.utf8, form).allSatisfy { $1 == UInt8(ascii: "0") ? (48...57).contains($0) : $0 == $1 }
    }
}
