import Foundation
import SnapshotDamage
import Snapshots
import TestSupport
import Testing

/// Golden answers that are sealed and wrong, and what only running the model shows.
@Suite struct GoldenDamageTests {
    @Test(arguments: GoldenDamage.all) func refuses(damage: Damage) throws {
        try damage.run()
    }
}
