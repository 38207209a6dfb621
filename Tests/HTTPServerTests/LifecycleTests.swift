import HTTPServer
import Memory
import Testing

@Suite struct HTTPServerTests {
    @Test func startsAndStops() throws {
        let address = try ListenAddress("127.0.0.1:0")
        let server = HTTPServer(configuration: HTTPConfiguration(address: address, workers: 2)) { _ in
            { exchange in exchange.reply.append(exchange.path.bytes) }
        }
        try server.start()
        #expect(server.boundAddress?.port != 0)
        server.drain(timeout: .seconds(1))
        #expect(server.boundAddress == nil)
    }
}
