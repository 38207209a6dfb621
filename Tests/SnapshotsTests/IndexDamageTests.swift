import Foundation
import SnapshotDamage
import Snapshots
import TestSupport
import Testing

/// Indexes that are sealed and do not fit, or that FAISS must not see.
@Suite struct IndexDamageTests {
    @Test(arguments: IndexDamage.all) func refuses(damage: Damage) throws {
        try damage.run()
    }
}
