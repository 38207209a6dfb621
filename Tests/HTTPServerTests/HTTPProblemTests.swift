import HTTPServer
import Memory
import Testing

@Suite struct HTTPProblemTests {
    private let problem = HTTPProblem(status: 422, type: "too-many", title: "Too many of them")

    private func text(_ detail: [UInt8]?) -> String {
        var writer = ByteWriter()
        if let detail {
            detail.withUnsafeBytes { problem.write(to: &writer, detail: Text($0)) }
        } else {
            problem.write(to: &writer)
        }
        return writer.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    @Test func writesWhatRFC9457Wants() {
        #expect(text(nil) == #"{"type":"urn:belfry:problem:too-many","title":"Too many of them","status":422}"#)
    }

    @Test func escapesTheDetail() {
        let start = #"{"type":"urn:belfry:problem:too-many","title":"Too many of them","status":422,"detail":""#
        #expect(text([]) == start + #""}"#)
        #expect(text(Array("k is \"0\"\\\n\u{1f}é𝄞".utf8)) == start + #"k is \"0\"\\\u000a\u001fé𝄞"}"#)
        #expect(text([0x61, 0xFF, 0x62, 0xC3]) == start + "a\u{FFFD}b\u{FFFD}\"}")
    }
}
