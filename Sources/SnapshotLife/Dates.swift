internal import Glibc

/// RFC 3339 in UTC with milliseconds: `2026-01-31T23:59:59.123Z`.
func rfc3339(unixMillis: Int64) -> String {
    var seconds = time_t(unixMillis / 1000)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func padded(_ number: some BinaryInteger, _ width: Int) -> String {
        let digits = "\(number)"
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    return "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(parts.tm_mon + 1, 2))-\(padded(parts.tm_mday, 2))T"
        + "\(padded(parts.tm_hour, 2)):\(padded(parts.tm_min, 2)):\(padded(parts.tm_sec, 2))."
        + "\(padded(unixMillis % 1000, 3))Z"
}

/// Seconds since 1970 of a time as manifests have it: `2026-01-31T23:59:59Z`.
func unixSeconds(rfc3339 text: String) -> Double? {
    let numbers = text.split { !$0.isNumber }.compactMap { Int32($0) }
    guard numbers.count == 6 else { return nil }
    var parts = tm()
    parts.tm_year = numbers[0] - 1900
    parts.tm_mon = numbers[1] - 1
    (parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec) = (numbers[2], numbers[3], numbers[4], numbers[5])
    return Double(timegm(&parts))
}
