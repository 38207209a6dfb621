import DaemonState
import Foundation
import Identifiers
import JSON
import Logging
import Memory
import Retrieval
import RetrievalAPI
import Snapshots
import TestSupport
import Testing

@testable import SnapshotLife

/// The life of snapshots as a daemon has it, without the daemon. The test's own thread is reader 0; others may be more.
final class LifeUnderTest: @unchecked Sendable {
    let life: SnapshotLife
    let serving: Swappable<Generation>
    private let state: StateDirectory?
    /// Is there as long as this is.
    private let shelf: Shelf

    /// Nothing is loaded yet.
    ///
    /// - remembers: whether there is a state directory, that of the shelf.
    init(
        _ shelf: Shelf, remembers: Bool = true, readerCount: Int = 1, samples: [RequestSample] = [],
        _ configure: (inout SnapshotLifeConfiguration) -> Void = { _ in }
    ) throws {
        self.shelf = shelf
        // Each worker once more, for requests that were set aside.
        serving = Swappable(readerCount: 2 * readerCount)
        state = remembers ? try StateDirectory(path: shelf.statePath) : nil
        var configuration = SnapshotLifeConfiguration(
            snapshots: shelf.path, state: state, workerCount: readerCount)
        configuration.warmupSeconds = 0
        configuration.lowersPriority = false
        configuration.itemCountRatio = 0
        configuration.allowsSchemaChange = true
        configure(&configuration)
        life = SnapshotLife(
            configuration: configuration, serving: serving, samples: samples,
            journal: try state.map { try PauseJournal(in: $0) },
            logger: Logger(label: "belfry") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Started.
    static func started(
        _ shelf: Shelf, remembers: Bool = true, readerCount: Int = 1, samples: [RequestSample] = [],
        _ configure: (inout SnapshotLifeConfiguration) -> Void = { _ in }
    ) throws -> LifeUnderTest {
        let tested = try LifeUnderTest(
            shelf, remembers: remembers, readerCount: readerCount, samples: samples, configure)
        try tested.life.start()
        return tested
    }

    /// Ends it as a daemon that stops; the next one may take the state directory.
    func end() {
        life.end()
        state?.close()
    }

    deinit {
        end()
    }

    // MARK: What serves

    /// The id that serves, as a request would see it.
    var servingID: String? {
        serving.withPinned(by: 0) { $0?.snapshot.manifest.id }
    }

    /// Waits until this snapshot serves; false after half a minute.
    func serves(_ id: String) -> Bool { eventually { servingID == id } }

    /// The generation that serves, held weakly.
    func weakServing() -> WeakGeneration {
        serving.withPinned(by: 0) { WeakGeneration($0) }
    }

    // MARK: Commands

    @discardableResult
    func activate(_ id: String) throws -> String { try life.activate(id).wait() }

    @discardableResult
    func load(_ id: String) throws -> String { try life.load(id).wait() }

    @discardableResult
    func rollback() throws -> String { try life.rollback().wait() }

    /// Activates what has to be refused; why it was.
    func refusal(
        of id: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> SnapshotError {
        do {
            try activate(id)
        } catch SnapshotLifeError.refused(let fault) {
            return fault
        }
        Issue.record("'\(id)' is not refused", sourceLocation: sourceLocation)
        throw CancellationError()
    }

    func record(_ id: String) throws -> SnapshotRecord {
        try #require(life.list().first { $0.id == id }, "'\(id)' is not listed")
    }

    func state(_ id: String) throws -> SnapshotRecord.State { try record(id).state }

    /// The events of a snapshot's life, in their order.
    func events(_ id: String) throws -> [String] { try record(id).times.map(\.event) }

    @discardableResult
    func pause(_ ids: String...) throws -> [String] { try #require(life.pauses).pause(ids) }

    @discardableResult
    func resume(_ ids: String...) throws -> [String] { try #require(life.pauses).resume(ids) }
}

/// A generation that somebody else holds, or nobody any more.
struct WeakGeneration: @unchecked Sendable {
    private weak let generation: Generation?
    init(_ generation: Generation?) { self.generation = generation }
    var isFreed: Bool { generation == nil }
    func isSame(as other: WeakGeneration) -> Bool { generation != nil && generation === other.generation }
}

/// Asks generations as a worker would, without HTTP. For one thread.
final class Asker {
    private let decoder: RequestDecoder
    private var query = RetrievalQuery()

    init() throws {
        decoder = try RequestDecoder(maximumBodyByteCount: 1 << 20)
    }

    struct Answer {
        let snapshotID: String
        let ids: [String]
        let embedding: [Float]
    }

    /// What the generation answers to a body, through one worker's session.
    func ask(_ body: String, _ generation: Generation, worker: Int) throws -> Answer {
        let document = try JSONDocument(body)
        defer { withExtendedLifetime(document) {} }
        try decoder.decodeRetrieve(document.root.value, into: &query)
        let found = try generation.session(worker).rehearse(query)
        return Answer(
            snapshotID: generation.snapshot.manifest.id,
            ids: found.rows.map { row in
                switch generation.snapshot.items.ids {
                case .numbers(let table): "\(table.id(of: Int(row)))"
                case .texts(let table): table.text(of: Int(row)).string
                }
            }, embedding: found.embedding)
    }

    /// What serves answers.
    func ask(_ body: String, _ tested: LifeUnderTest, reader: Int = 0) throws -> Answer {
        try tested.serving.withPinned(by: reader) { generation in
            try ask(body, try #require(generation, "nothing serves"), worker: reader)
        }
    }

    /// Every item that may be found.
    static let everything = #"{"user":{},"k":10000,"search":{"exact":true}}"#

    /// The ids of all items that what serves may find.
    func items(_ tested: LifeUnderTest, reader: Int = 0) throws -> Set<String> {
        Set(try ask(Self.everything, tested, reader: reader).ids)
    }
}
