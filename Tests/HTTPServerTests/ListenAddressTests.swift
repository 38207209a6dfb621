import HTTPServer
import Testing

@Suite struct ListenAddressTests {
    @Test(arguments: [
        ("127.0.0.1:8080", ListenAddress.ipv4(host: "127.0.0.1", port: 8080)),
        ("0.0.0.0:0", .ipv4(host: "0.0.0.0", port: 0)),
        ("localhost:65535", .ipv4(host: "127.0.0.1", port: 65535)),
        ("[::1]:8080", .ipv6(host: "::1", port: 8080)),
        ("[::]:1", .ipv6(host: "::", port: 1)),
        ("unix:/run/belfry/admin.sock", .unix(path: "/run/belfry/admin.sock")),
        ("unix:relative", .unix(path: "relative")),
    ])
    func reads(_ text: String, _ address: ListenAddress) throws {
        #expect(try ListenAddress(text) == address)
        #expect(try ListenAddress("\(address)") == address)
    }

    @Test(arguments: [
        ("", "expected HOST:PORT, [IPV6]:PORT or unix:PATH"),
        ("8080", "expected HOST:PORT, [IPV6]:PORT or unix:PATH"),
        ("127.0.0.1:", "the port must be a number from 0 to 65535"),
        ("127.0.0.1:65536", "the port must be a number from 0 to 65535"),
        ("127.0.0.1:+80", "the port must be a number from 0 to 65535"),
        ("127.0.0.1:http", "the port must be a number from 0 to 65535"),
        (":8080", "the host must be a numeric address"),
        ("example.org:80", "the host must be a numeric address"),
        ("127.0.0.256:80", "the host must be a numeric address"),
        ("::1:8080", "an IPv6 address stands in brackets"),
        ("[::1:8080", "an IPv6 address stands in brackets"),
        ("[::g]:8080", "::g is not an IPv6 address"),
        ("unix:", "the path after unix: must have 1 to 107 bytes"),
        ("unix:/" + String(repeating: "a", count: 107), "the path after unix: must have 1 to 107 bytes"),
    ])
    func refuses(_ text: String, _ reason: String) {
        #expect(throws: HTTPServerError.invalidAddress(text, reason: reason)) { try ListenAddress(text) }
    }
}
