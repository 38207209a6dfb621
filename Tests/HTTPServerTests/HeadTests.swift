import Glibc
import HTTPServer
import Testing

/// What becomes of heads and framing that are not as they should be: what the server refuses, and what libmicrohttpd
/// answers before the server hears of it. The second kind is here so that another version of the library cannot change
/// it unnoticed.
@Suite(.timeLimit(.minutes(1))) struct HeadTests {
    enum Outcome: Equatable, Sendable {
        /// The handler was called.
        case served
        /// Ours: a problem of this type.
        case refused(Int, String)
        /// libmicrohttpd's: this status and HTML.
        case library(Int)
        /// The connection is closed at once without a reply.
        case closed
        /// The server waits for more, until the client gives up or the timeout ends it.
        case waits
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let request: String
        let outcome: Outcome

        init(_ name: String, _ request: String, _ outcome: Outcome) {
            self.name = name
            self.request = request
            self.outcome = outcome
        }

        var testDescription: String { name }
    }

    private static func get(_ fields: String) -> String { "GET /info HTTP/1.1\r\nHost: x\r\n\(fields)\r\n" }
    private static func post(_ fields: String, _ body: String = "abc") -> String {
        "POST /echo HTTP/1.1\r\nHost: x\r\n\(fields)\r\n\(body)"
    }
    private static func chunked(_ body: String) -> String { post("Transfer-Encoding: chunked\r\n", body) }
    private static let a40k = String(repeating: "a", count: 40_000)
    private static let ambiguous = Outcome.refused(400, "ambiguous-framing")
    private static let malformed = Outcome.refused(400, "malformed-head")

    static let framing = [
        Case("length and chunked", post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), ambiguous),
        Case("chunked and length", post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"), ambiguous),
        Case("length and empty coding", post("Content-Length: 3\r\nTransfer-Encoding:\r\n"), ambiguous),
        Case("two lengths", post("Content-Length: 3\r\nContent-Length: 4\r\n"), ambiguous),
        Case("the same length twice", post("Content-Length: 3\r\ncontent-length: 3\r\n"), ambiguous),
        Case(
            "two codings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"), ambiguous
        ),
        Case("folded length", post("Content-Length:\r\n 3\r\n"), ambiguous),
        Case("length with a folded digit", post("Content-Length: 1\r\n 2\r\n"), ambiguous),
        Case("folded coding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), ambiguous),
        Case("blank before a length's colon", post("Content-Length : 3\r\n"), malformed),
        Case("blank before a coding's colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), malformed),
        Case("length behind a lone CR", post("X-Test: a\rContent-Length: 3\r\n"), malformed),
        Case("length behind LF CR", post("X-Test: a\n\rContent-Length: 3\r\n"), malformed),
        Case("chunked in HTTP/1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ambiguous),
        Case("another coding", post("Transfer-Encoding: gzip\r\n"), .refused(501, "unknown-transfer-coding")),
        Case(
            "two codings in one", post("Transfer-Encoding: gzip, chunked\r\n"), .refused(501, "unknown-transfer-coding")
        ),
        Case("coding with a vertical tab", post("Transfer-Encoding: \u{B}chunked\r\n"), malformed),
        Case("coding in capitals", post("Transfer-Encoding: CHUNKED\r\n", "0\r\n\r\n"), .served),
        Case("length with leading zeros", post("Content-Length: 0003\r\n"), .served),
        Case("length of 2^64 - 1", post("Content-Length: 18446744073709551615\r\n"), .refused(413, "body-too-large")),
        Case("length of 2^64", post("Content-Length: 18446744073709551616\r\n"), .library(413)),
        Case("negative length", post("Content-Length: -1\r\n"), .library(400)),
        Case("length with plus", post("Content-Length: +3\r\n"), .library(400)),
        Case("hexadecimal length", post("Content-Length: 0x3\r\n"), .library(400)),
        Case("empty length", post("Content-Length:\r\n"), .library(400)),
        Case("list of lengths", post("Content-Length: 3, 3\r\n"), .library(400)),
        Case("length and a blank", post("Content-Length: 3 \r\n"), .library(400)),
        Case("chunk size that is none", chunked("zz\r\n\r\n"), .library(400)),
        Case("negative chunk size", chunked("-3\r\nabc\r\n0\r\n\r\n"), .library(400)),
        Case("chunk size with 0x", chunked("0x3\r\nabc\r\n0\r\n\r\n"), .library(400)),
        Case("chunk size over 64 bits", chunked("fffffffffffffffff\r\n"), .library(413)),
        Case("chunk size of 2^64 - 1", chunked("ffffffffffffffff\r\nabc"), .waits),
        Case("chunk longer than its size", chunked("3\r\nabcX0\r\n\r\n"), .library(400)),
        Case("chunk extension of 40 kB", chunked("3;\(a40k)\r\nabc\r\n0\r\n\r\n"), .waits),
        Case("trailer of 40 kB", chunked("3\r\nabc\r\n0\r\nX: \(a40k)\r\n\r\n"), .library(431)),
        Case("chunks with LF alone", chunked("3\nabc\n0\n\n"), .served),
    ]

    static let heads = [
        Case("no Host", "GET /info HTTP/1.1\r\n\r\n", .refused(400, "one-host")),
        Case("two Hosts", get("Host: y\r\n"), .refused(400, "one-host")),
        Case("lines with LF alone", "GET /info HTTP/1.1\nHost: x\n\n", .served),
        Case("empty lines before", "\r\n\r\nGET /info HTTP/1.1\r\nHost: x\r\n\r\n", .served),
        Case("HTTP/1.2", "GET /info HTTP/1.2\r\nHost: x\r\n\r\n", .served),
        Case("HTTP/2.0", "GET /info HTTP/2.0\r\nHost: x\r\n\r\n", .library(505)),
        Case("HTTP/0.9", "GET /info HTTP/0.9\r\n\r\n", .library(505)),
        Case("no version", "GET /info\r\n\r\n", .library(400)),
        Case("a version that is none", "GET /info FOO\r\nHost: x\r\n\r\n", .library(400)),
        Case("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .library(505)),
        Case("blank in the target", "GET /in fo HTTP/1.1\r\nHost: x\r\n\r\n", malformed),
        Case("two blanks after the target", "GET /info  HTTP/1.1\r\nHost: x\r\n\r\n", malformed),
        Case("no method", " /info HTTP/1.1\r\nHost: x\r\n\r\n", .closed),
        Case("method that is no token", "G(T /info HTTP/1.1\r\nHost: x\r\n\r\n", malformed),
        Case("field without colon", get("Foo\r\n"), .library(400)),
        Case("blank before the first field", "GET /info HTTP/1.1\r\n X: y\r\nHost: x\r\n\r\n", malformed),
        Case("blank in a field name", get("X Y: z\r\n"), malformed),
        Case("umlaut in a field name", get("Xü: z\r\n"), malformed),
        Case("umlaut in a field value", get("X: ü\r\n"), .served),
        Case("bell in a field value", get("X: a\u{7}\r\n"), malformed),
        // The library ends the head at a field without a name, and takes what follows for the next request.
        Case("field without name", get(": x\r\n"), .served),
        Case("target of 40 kB", "GET /\(a40k) HTTP/1.1\r\nHost: x\r\n\r\n", .library(414)),
        Case("method of 40 kB", "\(a40k) / HTTP/1.1\r\nHost: x\r\n\r\n", .library(414)),
        Case("field of 40 kB", get("X: \(a40k)\r\n"), .library(431)),
        Case("10,000 fields", get(String(repeating: "X: y\r\n", count: 10_000)), .library(431)),
        Case("field of 24 kB", get("X: \(a40k.prefix(24_000))\r\n"), .served),
        Case(
            "10,000 parameters", "GET /info?\(String(repeating: "a&", count: 10_000)) HTTP/1.1\r\nHost: x\r\n\r\n",
            .closed),
        Case("head that does not end", "GET /info HTTP/1.1\r\nHost: x\r\n", .waits),
        Case("TLS hello", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{7c}\u{3}\u{3}", .waits),
    ]

    @Test(arguments: framing + heads) func becomes(_ example: Case) throws {
        let server = try TestServer()
        let client = try server.client()
        // A body over the library's window may be cut while it is sent.
        try? client.send(example.request)
        client.setPatience(example.outcome == .waits ? 300 : 5000)
        let outcome = Self.outcome(try? client.receive(), client)
        #expect(outcome == example.outcome)
        if case .refused = outcome {
            #expect(client.isClosedByServer())
            #expect(server.server.counters.refused == 1)
        }
        #expect(try server.client().exchange("GET /info HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
    }

    private static func outcome(_ reply: TestClient.Response?, _ client: TestClient) -> Outcome {
        guard let reply else { return client.isClosedByServer() ? .closed : .waits }
        if reply.status == 200 { return .served }
        guard reply.headers["content-type"] == "application/problem+json" else { return .library(reply.status) }
        let type = reply.text.split(separator: "\"").first { $0.hasPrefix("urn:") }
        return .refused(reply.status, String(type?.dropFirst("urn:belfry:problem:".count) ?? ""))
    }
}
