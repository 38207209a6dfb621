import Foundation
import TestSupport
import Testing

/// The README's first screen: the request that stands there gets the answer that stands there.
@Suite struct ReadmeTests {
    @Test func theDemonstrationAnswersAsPrinted() throws {
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let readme = try String(contentsOf: package.appendingPathComponent("README.md"), encoding: .utf8)
        let request = try #require(readme.firstMatch(of: /--json '(.*)'/)).1
        let printed = try #require(readme.firstMatch(of: /\n    (\{"snapshot".*\})\n/)).1
        let expected = try JSONSerialization.jsonObject(with: Data(printed.utf8)) as! [String: Any]

        let daemon = try Daemon(snapshot: package.appendingPathComponent("models/demo").path)
        let reply = try daemon.post("/v1/retrieve", String(request)).json
        #expect(Set(reply.keys) == Set(expected.keys))
        #expect(reply["snapshot"] as? [String: String] == expected["snapshot"] as? [String: String])
        #expect(reply["cold_start"] as? Bool == expected["cold_start"] as? Bool)
        let items = reply["items"] as! [[String: Any]]
        let printedItems = expected["items"] as! [[String: Any]]
        #expect(items.map { $0["id"] as! String } == printedItems.map { $0["id"] as! String })
        // The last digit depends on the instruction set and on whether the build is optimised.
        for (item, printed) in zip(items, printedItems) {
            #expect(abs((item["score"] as! Double) - (printed["score"] as! Double)) < 1e-6)
        }
    }
}
