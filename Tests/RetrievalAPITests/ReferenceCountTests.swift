import CAllocationCount
import HTTPServer
import Memory
import RetrievalAPI
import Snapshots
import Synchronization
import TestSupport
import Testing

#if DEBUG
    private let isOptimised = false
#else
    private let isOptimised = true
#endif

/// Workers share a generation, and a reference that two of them count is a cache line that they take from each other. What a
/// request retains must be its worker's own. Code that is not optimised counts references everywhere: `swift test -c release`
/// runs these.
@Suite(.enabled(if: belfry_counts_allocations() == 1 && isOptimised)) struct ReferenceCountTests {
    @Test func theWatchNotes() {
        let kept = Mutex<[Serial]>([])
        let object = Serial()
        belfry_begin_watching_retains()
        kept.withLock { $0.append(object) }
        #expect(watched().contains(UInt(bitPattern: Unmanaged.passUnretained(object).toOpaque())))
        kept.withLock { $0 = [] }
    }

    private final class Serial: Sendable {}
    private final class Noted: Sendable {
        let addresses = Mutex<Set<UInt>>([])
    }

    private static let requests = [
        ("/v1/retrieve", #""k":100"#), ("/v1/retrieve", #""search":{"exact":true}"#),
        ("/v1/retrieve", #""exclude":["1","i2","99999999"],"format":"columns""#),
        ("/v1/embed", ""), ("/v1/score", #""items":["1","i2","99999999"]"#),
    ]

    @Test(arguments: Fixtures.all, requests)
    func twoWorkersRetainNothingInCommon(fixture: String, request: (path: String, more: String)) throws {
        let snapshot = try Snapshot(loading: try SnapshotFiles(path: try Fixtures.path(fixture)))
        let serving = Swappable<Generation>(readerCount: 2)
        serving.swap(Generation(snapshot: snapshot, workerCount: 2))
        // Both live on, so that an object of the second is not taken for one of the first that was at its address.
        var servers: [Serving] = []
        let retained = try (0..<2).map { worker in
            let objects = Noted()
            // A server with one worker, which answers as the worker of that number.
            let own = try Serving(snapshot: snapshot) { readiness in
                let handler = RetrievalHandler(serving: serving, reader: worker, readiness: readiness)
                return { exchange in
                    belfry_begin_watching_retains()
                    handler.handle(exchange)
                    objects.addresses.withLock { $0 = Self.watched() }
                }
            }
            servers.append(own)
            #expect(try own.post(request.path, own.warmup(request.more), times: 5).allSatisfy { $0 == 200 })
            return objects.addresses.withLock { $0 }
        }
        let shared = retained[0].intersection(retained[1])
        #expect(shared.isEmpty, "\(shared.map(Self.className).sorted())")
        withExtendedLifetime(servers) {}
    }

    /// The class of an object that lives. Boxes of captured variables have none, which the first word of what the object's first
    /// word leads to tells (the ABI's metadata kinds: 0 or an address for classes, small numbers for everything else).
    private static func className(_ address: UInt) -> String {
        let object = UnsafeRawPointer(bitPattern: address)!
        let kind = object.load(as: UnsafeRawPointer.self).load(as: UInt.self)
        guard kind == 0 || kind > 0x7FF else { return "a box" }
        return String(reflecting: type(of: Unmanaged<AnyObject>.fromOpaque(object).takeUnretainedValue()))
    }

    /// The addresses of what was retained.
    private static func watched() -> Set<UInt> {
        withUnsafeTemporaryAllocation(of: UnsafeRawPointer?.self, capacity: 4096) { objects in
            let count = belfry_end_watching_retains(objects.baseAddress!, objects.count)
            return Set(objects.prefix(count).map { UInt(bitPattern: $0) })
        }
    }

    private func watched() -> Set<UInt> { Self.watched() }
}
