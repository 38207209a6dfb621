internal import Glibc
internal import JSON
internal import Memory
internal import Snapshots

/// A snapshot that is published in a directory, as far as its seal tells.
public struct PublishedSnapshot: Sendable, Equatable {
    /// Its id, and its directory's name.
    public let id: String
    /// RFC 3339 UTC, of `_SUCCESS`.
    public let publishedAt: String

    /// Those of a directory, the newest first by the time of publication, and by id where that is the same. What has no
    /// readable `_SUCCESS` is none: neither half-written nor half-removed.
    public static func all(in directory: String) throws(PublishingError) -> [PublishedSnapshot] {
        var found: [PublishedSnapshot] = []
        for name in try asPublishing({ () throws(FileError) in try DirectoryEntries.names(in: directory) }) {
            guard isPublishableID(name), DirectoryEntries.isDirectory("\(directory)/\(name)") else { continue }
            guard let seal = try? Seal(directory: "\(directory)/\(name)") else { continue }
            found.append(PublishedSnapshot(id: name, publishedAt: seal.publishedAt))
        }
        // Times of this form sort as texts.
        return found.sorted { ($0.publishedAt, $0.id) > ($1.publishedAt, $1.id) }
    }

    /// Whether a snapshot may be published under an id: `current` is an id by its letters, but the directory's own name
    /// for the one that serves, in capitals too.
    static func isPublishableID(_ id: String) -> Bool {
        Manifest.isID(id) && id.lowercased() != "current"
    }
}

/// What `_SUCCESS` says: when the snapshot was published, and which manifest it has.
struct Seal: Equatable {
    let publishedAt: String
    let byteCount: Int
    let sha256: String

    /// Reads `_SUCCESS`. Nil if it is not there or says something else than it should.
    init?(directory: String) throws(FileError) {
        guard
            let bytes = try Descriptor.contents(
                of: "\(directory)/_SUCCESS", byteCountMax: PublishingLimits.sealByteCountMax)
        else { return nil }
        do throws(JSONDocumentError) {
            let root = try JSONDocument(bytes).root
            publishedAt = try root.member("published_at").string()
            guard PublicationTime.isTime(publishedAt) else { return nil }
            let manifest = try root.member("manifest")
            byteCount = try manifest.member("bytes").integer(in: 0...Int.max)
            sha256 = try manifest.member("sha256").string()
        } catch {
            return nil
        }
    }

    /// Seals a manifest.
    init(publishedAt: String, manifest: [UInt8]) {
        self.publishedAt = publishedAt
        byteCount = manifest.count
        sha256 = FileHash.digest(of: manifest)
    }

    /// Whether both seal the same manifest, and with it the same files.
    func hasSameContents(as other: Seal) -> Bool {
        byteCount == other.byteCount && sha256 == other.sha256
    }

    /// The text of `_SUCCESS`, laid out as the trainer writes it. Times and digests need no escapes.
    var json: [UInt8] {
        Array(
            """
            {
              "published_at": "\(publishedAt)",
              "manifest": {
                "bytes": \(byteCount),
                "sha256": "\(sha256)"
              }
            }

            """.utf8)
    }
}

/// Runs what throws the operating system's errors where ours are thrown.
func asPublishing<Result>(_ body: () throws(FileError) -> Result) throws(PublishingError) -> Result {
    do throws(FileError) {
        return try body()
    } catch {
        throw .file(error)
    }
}
