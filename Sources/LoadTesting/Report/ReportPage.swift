/// A report as one HTML file: it draws itself from the JSON inside it and loads nothing.
public enum ReportPage {
    /// The page of one report.
    ///
    /// - Parameters:
    ///   - json: The report in the format `belfry-loadtest/1`. Keys that are missing or null leave out their part of the page.
    ///   - title: The document's title, such as `belfry loadtest of http://127.0.0.1:8080`; any text.
    /// - Returns: The whole document.
    public static func html(json: String, title: String) -> String {
        var page = ""
        page.reserveCapacity(template.utf8.count + json.utf8.count)
        // In the order they stand in, each looked for only behind the one before: the texts may hold anything, places included.
        var rest = template[...]
        for (place, text) in [("{{title}}", markup(title)), ("{{report}}", script(json))] {
            guard let range = rest.firstRange(of: place) else { preconditionFailure("The page has no \(place).") }
            page += rest[..<range.lowerBound]
            page += text
            rest = rest[range.upperBound...]
        }
        return page + rest
    }

    /// The page of one report whose JSON is UTF-8.
    ///
    /// - Parameters:
    ///   - json: As in ``html(json:title:)-(String,_)``.
    ///   - title: As there.
    /// - Returns: The whole document.
    public static func html(json: [UInt8], title: String) -> String {
        html(json: String(decoding: json, as: UTF8.self), title: title)
    }

    private static let template = String(decoding: PackageResources.report_html, as: UTF8.self)

    /// JSON as it may stand inside `<script>`. In JSON `<` occurs only in strings, where the escape means the same;
    /// without it nothing can close the element or open a comment.
    private static func script(_ json: String) -> String {
        var escaped: [UInt8] = []
        escaped.reserveCapacity(json.utf8.count + 1_024)
        for byte in json.utf8 {
            if byte == UInt8(ascii: "<") {
                escaped += "\\u003c".utf8
            } else {
                escaped.append(byte)
            }
        }
        return String(decoding: escaped, as: UTF8.self)
    }

    private static func markup(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    }
}
