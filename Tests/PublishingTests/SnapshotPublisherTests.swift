import Foundation
import Publishing
import Snapshots
import TestSupport
import Testing

/// Publishing into a directory of the test's own.
@Suite struct SnapshotPublisherTests {
    private let target: TargetDirectory
    private let publisher: SnapshotPublisher

    init() throws {
        target = try TargetDirectory()
        publisher = SnapshotPublisher(directory: target.path, lockTimeoutSeconds: 5)
    }

    @Test(arguments: Fixtures.all) func publishesEveryByte(fixture: String) throws {
        let source = try Fixtures.path(fixture)
        let started = Date(timeIntervalSinceNow: -1)
        let publication = try publisher.publish(source)
        #expect(publication.id == fixture && publication.path == "\(target.path)/\(fixture)")
        #expect(publication.isNew && !publication.isActivated)
        #expect(try target.names == [fixture])

        let names = try FileManager.default.contentsOfDirectory(atPath: source).sorted()
        let published = try target.files(under: fixture)
        #expect(published.keys.sorted() == names)
        #expect(publication.fileCount == names.count)
        #expect(publication.byteCount == published.values.reduce(0) { $0 + $1.count })
        for name in names where name != "_SUCCESS" {
            #expect(published[name] == FileManager.default.contents(atPath: "\(source)/\(name)"), "\(name)")
        }
        let seal = try Self.object(published["_SUCCESS"]!)
        let sourceSeal = try Self.object(Data(contentsOf: URL(fileURLWithPath: "\(source)/_SUCCESS")))
        #expect(seal["manifest"] as? NSDictionary == sourceSeal["manifest"] as? NSDictionary)
        let time = try #require(ISO8601DateFormatter().date(from: seal["published_at"] as? String ?? ""))
        #expect(time >= started.addingTimeInterval(-1) && time <= Date())
        try SnapshotFiles(path: publication.path).verify()
    }

    @Test func activatesByALink() throws {
        let first = try publisher.publish(try Fixtures.path("plain"), activates: true)
        #expect(first.isActivated && target.current == "plain")
        let second = try publisher.publish(try Fixtures.path("cross-only"))
        #expect(!second.isActivated && target.current == "plain")
        let third = try publisher.publish(try Fixtures.path("cross-only"), activates: true)
        #expect(!third.isNew && third.isActivated && target.current == "cross-only")
        let fourth = try publisher.publish(try Fixtures.path("cross-only"), activates: true)
        #expect(!fourth.isNew && !fourth.isActivated && target.current == "cross-only")
        #expect(try target.names == ["cross-only", "current", "plain"])
        #expect(try SnapshotFiles(path: SnapshotDirectory.current(in: target.path)).manifest.id == "cross-only")
    }

    @Test func takesTheSnapshotThatCurrentNames() throws {
        try publisher.publish(try Fixtures.path("plain"), activates: true)
        let other = try TargetDirectory()
        let publication = try SnapshotPublisher(directory: other.path).publish(target.path)
        #expect(publication.id == "plain")
        #expect(try other.names == ["plain"])
    }

    @Test func leavesWhatIsPublishedAlone() throws {
        try publisher.publish(try Fixtures.path("plain"))
        let before = try target.files()
        let again = try publisher.publish(try Fixtures.path("plain"))
        #expect(!again.isNew && again.fileCount == 9)
        let error = #expect(throws: PublishingError.self) {
            try publisher.publish(try Fixtures.path("cross-only"), id: "plain", activates: true)
        }
        guard case .otherContents("plain", target.path) = try #require(error) else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try target.files() == before)
        #expect(target.current == nil)
    }

    @Test func changesNothingButTheID() throws {
        let source = try Fixtures.path("cs3-two-cycles")
        let publication = try publisher.publish(source, id: "Other_id-1")
        #expect(publication.id == "Other_id-1")
        let published = try target.files(under: "Other_id-1")
        for (name, bytes) in published where name != "_SUCCESS" && name != "manifest.json" {
            #expect(bytes == FileManager.default.contents(atPath: "\(source)/\(name)"), "\(name)")
        }
        let manifest = String(decoding: published["manifest.json"]!, as: UTF8.self)
        let original = try String(contentsOfFile: "\(source)/manifest.json", encoding: .utf8)
        #expect(manifest != original)
        #expect(
            manifest
                == original.replacingOccurrences(of: #""id": "cs3-two-cycles""#, with: #""id": "Other_id-1""#))
        try SnapshotFiles(path: publication.path).verify()
        #expect(try !publisher.publish(source, id: "Other_id-1").isNew)
        // One that was published under another id is a source like any other.
        #expect(try publisher.publish(publication.path, id: "back").isNew)
        try SnapshotFiles(path: "\(target.path)/back").verify()
    }

    @Test(arguments: ["", "a/b", "..", ".", "a.tmp", "naïve", "current", "CURRENT", "Current"])
    func refusesTheID(_ id: String) throws {
        let error = #expect(throws: PublishingError.self) { try publisher.publish(try Fixtures.path("plain"), id: id) }
        #expect(error?.description.contains("'\(id)' cannot be") == true)
        #expect(try target.names == [])
    }

    @Test func refusesASnapshotCalledCurrent() throws {
        let copy = try SnapshotCopy(of: "plain")
        copy.set("id", "\"current\"")
        try copy.seal()
        #expect(throws: PublishingError.self) { try publisher.publish(copy.path) }
        #expect(try target.names == [])
    }

    /// What is wrong with a source, and the words that say so.
    struct Damage: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let stage: SnapshotError.Stage
        let words: String
        let make: @Sendable (SnapshotCopy) throws -> Void

        init(
            _ name: String, _ stage: SnapshotError.Stage, _ words: String,
            _ make: @escaping @Sendable (SnapshotCopy) throws -> Void
        ) {
            testDescription = name
            self.stage = stage
            self.words = words
            self.make = make
        }
    }

    static let damages: [Damage] = [
        Damage("no _SUCCESS", .directory, "has no _SUCCESS") { try $0.remove("_SUCCESS") },
        Damage("a broken _SUCCESS", .manifest, "_SUCCESS: ") { try $0.truncate("_SUCCESS", to: 80) },
        Damage("another manifest", .integrity, "manifest.json: has sha256") { try $0.flipBit("manifest.json", at: 90) },
        Damage("a key too many", .manifest, "unknown key") {
            $0.set("more", "1")
            try $0.seal()
        },
        Damage("a file too short", .integrity, "golden.jsonl: has 1000 bytes, the manifest says") {
            try $0.truncate("golden.jsonl", to: 1000)
        },
        Damage("a flipped bit in the first file", .integrity, "attributes.json: has sha256") {
            try $0.flipBit("attributes.json", at: 64_000)
        },
        Damage("a flipped bit in the last file", .integrity, "warmup.jsonl: has sha256") {
            try $0.flipBit("warmup.jsonl", at: 141_960)
        },
        Damage("a file missing", .integrity, "index.faiss: cannot open") { try $0.remove("index.faiss") },
        Damage("a directory in place of a file", .integrity, "index.faiss: is not a regular file") {
            try $0.replaceByDirectory("index.faiss")
        },
        Damage("a pipe in place of a file", .integrity, "index.faiss: is not a regular file") {
            try $0.replaceByPipe("index.faiss")
        },
    ]

    @Test(arguments: damages) func refusesADamagedSource(_ damage: Damage) throws {
        try publisher.publish(try Fixtures.path("cross-only"), activates: true)
        let before = try target.files()
        let copy = try SnapshotCopy(of: "plain")
        try damage.make(copy)
        let error = #expect(throws: PublishingError.self) { try publisher.publish(copy.path, activates: true) }
        guard case .source(copy.path, let fault) = try #require(error) else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(fault.stage == damage.stage)
        #expect(fault.description.contains(damage.words), "\(fault)")
        #expect(try target.files() == before)
        #expect(target.current == "cross-only")
    }

    @Test func refusesWhatIsNoDirectoryOfSnapshots() throws {
        let snapshot = try Fixtures.path("plain")
        try target.write("file", "text")
        for (path, words) in [
            ("\(target.path)/gone", "does not exist"), ("\(target.path)/file", "is not a directory"),
            (snapshot, "is a snapshot itself"),
        ] {
            let error = #expect(throws: PublishingError.self) {
                try SnapshotPublisher(directory: path).publish(snapshot, id: "other")
            }
            #expect(error?.description.contains(words) == true, "\(String(describing: error))")
        }
        #expect(!FileManager.default.fileExists(atPath: "\(target.path)/gone"))
        #expect(!FileManager.default.fileExists(atPath: "\(snapshot)/.publish.lock"))
    }

    @Test func replacesTheDraftOfAKilledPublisher() throws {
        try target.makeDirectory("plain.tmp/folder")
        try target.write("plain.tmp/folder/file", "half")
        try target.write("plain.tmp/index.faiss", "half")
        try target.link("plain.tmp/warmup.jsonl", to: try Fixtures.path("plain"))
        try target.makeDirectory("other.tmp")
        try publisher.publish(try Fixtures.path("plain"))
        #expect(try target.names == ["other.tmp", "plain"])
        try SnapshotFiles(path: "\(target.path)/plain").verify()
        try SnapshotFiles(path: try Fixtures.path("plain")).verify()
    }

    @Test func refusesAnIDUnderWhichSomethingElseStands() throws {
        try target.makeDirectory("plain")
        try target.write("plain/notes", "mine")
        try target.write("cross-only", "a file")
        for fixture in ["plain", "cross-only"] {
            let error = #expect(throws: PublishingError.self) { try publisher.publish(try Fixtures.path(fixture)) }
            #expect(error?.description.contains("is there and is no published snapshot") == true)
        }
        #expect(try target.files(under: "plain") == ["notes": Data("mine".utf8)])
        #expect(try target.names == ["cross-only", "plain"])
    }

    @Test(arguments: [true, false]) func doesNotCallADamagedOnePublished(isMissing: Bool) throws {
        try publisher.publish(try Fixtures.path("plain"))
        let file = "\(target.path)/plain/index.faiss"
        if isMissing { try FileManager.default.removeItem(atPath: file) } else { truncate(file, 100) }
        let error = #expect(throws: PublishingError.self) {
            try publisher.publish(try Fixtures.path("plain"), activates: true)
        }
        #expect(error?.description.contains("is damaged, its index.faiss") == true, "\(String(describing: error))")
        #expect(target.current == nil)
    }

    @Test func saysSoWhenOnlyTheLinkFails() throws {
        try target.makeDirectory("current/file")
        let error = #expect(throws: PublishingError.self) {
            try publisher.publish(try Fixtures.path("plain"), activates: true)
        }
        #expect(error?.description.contains("'plain' is published and whole, but 'current' was not set") == true)
        try SnapshotFiles(path: "\(target.path)/plain").verify()
        #expect(try target.names.filter { !$0.hasPrefix(".") } == ["current", "plain"])
    }

    // MARK: Several publishers

    @Test func waitsForAnotherPublisherOrGivesUp() throws {
        let lock = open("\(target.path)/.publish.lock", O_RDWR | O_CREAT, 0o600)
        defer { close(lock) }
        #expect(flock(lock, LOCK_EX) == 0)
        let impatient = SnapshotPublisher(directory: target.path, lockTimeoutSeconds: 0)
        let error = #expect(throws: PublishingError.self) { try impatient.publish(try Fixtures.path("plain")) }
        guard case .locked(target.path, 0) = try #require(error) else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try target.names == [])
        let released = Thread {
            usleep(50_000)
            flock(lock, LOCK_UN)
        }
        released.start()
        #expect(try publisher.publish(try Fixtures.path("plain")).isNew)
    }

    @Test func oneOfManyAtOnceCopies() async throws {
        let publisher = publisher
        let publications = try await withThrowingTaskGroup(of: SnapshotPublisher.Publication.self) { group in
            for number in 0..<12 {
                group.addTask {
                    try publisher.publish(try Fixtures.path("plain"), id: "id-\(number % 3)", activates: true)
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        for id in ["id-0", "id-1", "id-2"] {
            #expect(publications.filter { $0.id == id && $0.isNew }.count == 1)
            try SnapshotFiles(path: "\(target.path)/\(id)").verify()
        }
        #expect(try target.names == ["current", "id-0", "id-1", "id-2"])
    }

    // MARK: The page cache

    /// What was written leaves the page cache, so that publishing does not push out what a daemon serves from.
    @Test func leavesNothingInThePageCache() throws {
        // A file system in memory has nowhere to drop its pages to: a file of our own shows it.
        let control = "\(target.path)/control"
        try Data(repeating: 7, count: 1 << 20).write(to: URL(fileURLWithPath: control))
        #expect(try Self.pages(of: control).resident == 256)
        let descriptor = open(control, O_RDONLY)
        fsync(descriptor)
        posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_DONTNEED))
        close(descriptor)
        guard try Self.pages(of: control).resident < 256 else { return }

        try publisher.publish(try Fixtures.path("cs3-one-cycle"))
        let pages = try Self.pages(of: "\(target.path)/cs3-one-cycle/user_tower.safetensors")
        #expect(pages.all > 200)
        #expect(pages.resident <= pages.all / 10, "\(pages)")
    }

    private static func pages(of path: String) throws -> (resident: Int, all: Int) {
        let descriptor = open(path, O_RDONLY)
        defer { close(descriptor) }
        var status = stat()
        try #require(fstat(descriptor, &status) == 0)
        let byteCount = Int(status.st_size)
        let count = (byteCount + 4095) / 4096
        let base = mmap(nil, byteCount, PROT_READ, MAP_SHARED, descriptor, 0)
        defer { munmap(base, byteCount) }
        var resident = [UInt8](repeating: 0, count: count)
        try #require(mincore(base, byteCount, &resident) == 0)
        return (resident.filter { $0 & 1 == 1 }.count, count)
    }

    private static func object(_ bytes: Data) throws -> [String: Any] {
        try JSONSerialization.jsonObject(with: bytes) as? [String: Any] ?? [:]
    }
}
