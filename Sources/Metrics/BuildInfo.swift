/// Which build runs: `belfry_build_info{version="...",...} 1`.
public struct BuildInfo: Sendable, Equatable {
    /// The program's version.
    public var version: String
    /// The instruction set that the kernels use.
    public var instructionSet: String
    /// The compiler's version, such as `6.3`.
    public static let swiftVersion: String = {
        #if swift(>=6.4)
            "6.4 or later"
        #elseif swift(>=6.3)
            "6.3"
        #else
            "6.2"
        #endif
    }()
    /// Whether it was built with checks and without optimisation.
    public static let isDebugBuild: Bool = {
        #if DEBUG
            true
        #else
            false
        #endif
    }()

    /// Describes a build.
    public init(version: String, instructionSet: String) {
        self.version = version
        self.instructionSet = instructionSet
    }

    /// Writes the gauge.
    public func write(to text: inout MetricsText) {
        text.info(
            "belfry_build_info", help: "The build that runs; always 1.",
            [
                ("version", version), ("instruction_set", instructionSet), ("swift", Self.swiftVersion),
                ("configuration", Self.isDebugBuild ? "debug" : "release"),
            ])
    }
}
