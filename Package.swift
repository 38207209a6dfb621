// swift-tools-version: 6.2
import PackageDescription

/// Warnings are errors everywhere, and a target may import only what it declares (`make lint` builds with
/// `--explicit-target-dependency-import-check error`). The graph below is the architecture: each target uses only
/// targets above it, and `docs/ARCHITECTURE.md` draws it.
let swift: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]
let c: [CSetting] = [.treatAllWarnings(as: .error)]
let cxx: [CXXSetting] = [.treatAllWarnings(as: .error)]

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swift)
}

/// A target of tests. Optimising tests costs more than it gains, in a build that optimises what they test, unless they count what
/// their own code must not do (allocations).
func tests(_ name: String, _ dependencies: [Target.Dependency], isOptimised: Bool = false) -> Target {
    let settings: [SwiftSetting] = isOptimised ? [] : [.unsafeFlags(["-Onone"], .when(configuration: .release))]
    return .testTarget(name: name, dependencies: dependencies, swiftSettings: swift + settings)
}

let package = Package(
    name: "belfry",
    products: [.executable(name: "belfry", targets: ["belfry"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(
            url: "https://github.com/apple/swift-configuration", from: "1.4.0",
            traits: ["YAML"]),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // What Swift cannot call, behind C headers.
        .target(name: "CKernels", cSettings: c),
        .target(
            name: "CFaiss",
            dependencies: ["CKernels"],
            cxxSettings: cxx + [.headerSearchPath("openmp")],
            linkerSettings: [
                .linkedLibrary("faiss"), .linkedLibrary("openblas"), .linkedLibrary("gomp"), .linkedLibrary("m"),
            ]),
        .target(name: "CMicrohttpd", cSettings: c, linkerSettings: [.linkedLibrary("microhttpd")]),
        .target(name: "CJSON", cSettings: c, cxxSettings: cxx, linkerSettings: [.linkedLibrary("simdjson")]),

        // Memory and formats.
        library("Memory", []),
        library("JSON", ["CJSON", "Memory"]),
        library("Safetensors", ["CKernels", "JSON", "Memory"]),

        // What the daemon remembers, counts and tells systemd. None knows of snapshots or requests.
        library("DaemonState", ["CKernels", "JSON", "Memory"]),
        library("Metrics", ["Memory"]),
        library("ServiceNotification", []),

        // The model and what it searches.
        library("Identifiers", ["CKernels", "Memory"]),
        library("Towers", ["CKernels", "Identifiers", "Memory", "Safetensors"]),
        library("ItemIndex", ["CFaiss", "CKernels", "Memory"]),
        library(
            "Snapshots",
            [
                "CKernels", "Identifiers", "ItemIndex", "JSON", "Memory", "Safetensors", "Towers",
                .product(name: "Crypto", package: "swift-crypto"),
            ]),
        library("Retrieval", ["ItemIndex", "Memory", "Snapshots", "Towers"]),

        // Snapshots into the directory that daemons serve from, and out of it again.
        library(
            "Publishing", ["JSON", "Memory", "Snapshots", .product(name: "Crypto", package: "swift-crypto")]),

        // The way in and out. HTTPServer knows nothing of retrieval.
        library("HTTPServer", ["CMicrohttpd", "Memory"]),
        library(
            "RetrievalAPI",
            [
                "HTTPServer", "Identifiers", "ItemIndex", "JSON", "Memory", "Metrics", "Retrieval", "Snapshots",
                "Towers",
            ]),

        library(
            "SnapshotCheck", ["Identifiers", "ItemIndex", "JSON", "Memory", "Retrieval", "RetrievalAPI", "Snapshots"]),

        // Which snapshot serves: from found to destroyed, and what the admin plane says of it.
        .target(name: "CProcess", cSettings: c),
        library(
            "SnapshotLife",
            [
                "CProcess", "DaemonState", "HTTPServer", "Identifiers", "ItemIndex", "JSON", "Memory", "Metrics",
                "Retrieval",
                "RetrievalAPI", "SnapshotCheck", "Snapshots", "Towers",
                .product(name: "Logging", package: "swift-log"),
            ]),

        // The load tester. It shares no code with the server but what reads files, so that it is able to disagree with it.
        .target(name: "CLinux", cSettings: c),
        .systemLibrary(name: "CZlib"),
        .target(
            name: "LoadTesting",
            dependencies: [
                "CLinux", "CZlib", "JSON", "Memory", "Safetensors",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            resources: [.embedInCode("Report/Resources/report.html")],
            swiftSettings: swift),

        // Measures what replies cost to write.
        .executableTarget(
            name: "bench-encoding",
            dependencies: ["CJSON", "CToChars", "Identifiers", "JSON", "Memory", "Retrieval", "RetrievalAPI"],
            path: "Benchmarks/Encoding", swiftSettings: swift),

        // The floor under a request: its steps alone, and an echo over the same HTTP code.
        .executableTarget(
            name: "bench-floor",
            dependencies: [
                "HTTPServer", "ItemIndex", "Memory", "Retrieval", "RetrievalAPI", "Snapshots",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks/Floor", exclude: ["floor.py"], swiftSettings: swift),

        // Counts allocations in tests that hold the hot path to none.
        .target(name: "CAllocationCount", path: "Tests/CAllocationCount", cSettings: c),
        // Notes what a thread asks of the disk, and lets it find the disk full.
        .target(name: "CDisk", path: "Tests/CDisk", cSettings: c),

        .executableTarget(
            name: "belfry",
            dependencies: [
                "DaemonState", "HTTPServer", "ItemIndex", "JSON", "LoadTesting", "Memory", "Metrics", "Publishing",
                "RetrievalAPI",
                "ServiceNotification", "SnapshotCheck", "SnapshotLife", "Snapshots",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swift),

        // The tower beside ONNX Runtime: `make bench-tower`.
        .executableTarget(
            name: "tower-benchmark",
            dependencies: [
                "CKernels", "Memory", "Retrieval", "RetrievalAPI", "Safetensors", "Snapshots", "Towers",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks/Tower", exclude: ["README.md", "compare.py", "export.py", "requirements.txt"],
            swiftSettings: swift),

        // The standard library's texts of floats, to hold ours to.
        .target(name: "CToChars", path: "Tests/CToChars", cxxSettings: cxx),
        .target(
            name: "TestSupport", dependencies: [.product(name: "Crypto", package: "swift-crypto")],
            path: "Tests/TestSupport", swiftSettings: swift),
        .target(
            name: "SnapshotDamage", dependencies: ["Snapshots", "TestSupport"], path: "Tests/SnapshotDamage",
            swiftSettings: swift),
        // A server that is slow, wrong or gone in known ways, to hold the load tester to.
        .target(
            name: "InjectedServer", dependencies: ["CLinux"], path: "Tests/InjectedServer", swiftSettings: swift),
        .executableTarget(
            name: "injected-server",
            dependencies: ["InjectedServer", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            path: "Tests/InjectedServerCommand", swiftSettings: swift),
        tests("MemoryTests", ["Memory", "TestSupport"]),
        tests("JSONTests", ["CJSON", "CToChars", "JSON", "Memory", "TestSupport"]),
        tests("SafetensorsTests", ["Safetensors", "TestSupport"]),
        tests("DaemonStateTests", ["CDisk", "DaemonState", "TestSupport"]),
        tests("MetricsTests", ["CAllocationCount", "Metrics", "TestSupport"], isOptimised: true),
        tests("ServiceNotificationTests", ["ServiceNotification"]),
        tests("IdentifiersTests", ["Identifiers", "Memory"]),
        tests("TowersTests", ["CKernels", "Memory", "Safetensors", "TestSupport", "Towers"]),
        tests("ItemIndexTests", ["CAllocationCount", "CFaiss", "CKernels", "ItemIndex", "Memory", "TestSupport"]),
        tests(
            "SnapshotsTests",
            ["ItemIndex", "Memory", "Safetensors", "SnapshotCheck", "SnapshotDamage", "Snapshots", "TestSupport"]),
        tests("PublishingTests", ["Publishing", "Snapshots", "TestSupport"]),
        tests("HTTPServerTests", ["HTTPServer", "Memory"]),
        tests(
            "RetrievalAPITests",
            [
                "CAllocationCount", "HTTPServer", "Identifiers", "JSON", "Memory", "Metrics", "Retrieval",
                "RetrievalAPI",
                "Snapshots", "TestSupport", "Towers",
            ], isOptimised: true),
        tests(
            "SnapshotLifeTests",
            [
                "DaemonState", "HTTPServer", "Identifiers", "ItemIndex", "JSON", "Memory", "Metrics", "Retrieval",
                "RetrievalAPI", "SnapshotLife", "Snapshots", "TestSupport", "Towers",
                .product(name: "Logging", package: "swift-log"),
            ]),
        tests(
            "LoadTestingTests",
            [
                "InjectedServer", "JSON", "LoadTesting", "Memory", "Safetensors", "TestSupport",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ]),
        tests(
            "EndToEndTests",
            [
                "CLinux", "Identifiers", "InjectedServer", "ItemIndex", "LoadTesting", "Memory", "Retrieval",
                "SnapshotDamage", "Snapshots", "TestSupport", "Towers", "belfry",
            ]),
    ],
    cxxLanguageStandard: .cxx17
)
