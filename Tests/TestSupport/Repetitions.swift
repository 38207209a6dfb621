import Foundation

/// How often a test repeats what it draws at random: with `BELFRY_LONG=1` as often as its claim wants, with `BELFRY_SHORT=1`, where
/// each repetition is slow (`make sanitize`), a third of the usual.
public enum Repetitions {
    /// Whether all of them are asked for.
    public static let isLong = ProcessInfo.processInfo.environment["BELFRY_LONG"] == "1"
    private static let isShort = ProcessInfo.processInfo.environment["BELFRY_SHORT"] == "1"

    /// How many to do.
    public static func count(_ usual: Int, long: Int) -> Int {
        isLong ? long : isShort ? (usual + 2) / 3 : usual
    }
}
