/// How much publishing takes at once, and how long it waits.
enum PublishingLimits {
    /// A copy is read, hashed and written in pieces of this size.
    static let pieceByteCount = 1 << 20
    /// So much is written before it is forced to the disk and dropped from the page cache: what is dirty cannot be dropped,
    /// and a whole file of it would push out what a daemon on the same machine serves from.
    static let windowByteCount = 32 << 20
    /// `_SUCCESS` has about 200 bytes.
    static let sealByteCountMax = 65_536
    /// As the daemon reads a manifest.
    static let manifestByteCountMax = 16 << 20
    /// The longest anybody else is expected to publish: some gigabytes onto a slow disk.
    static let lockTimeoutSeconds = 600
    /// How often a waiting publisher looks at the lock.
    static let lockPollMicroseconds: UInt32 = 20_000
    /// Whoever still writes into a directory of that age has been killed.
    static let leftoverAgeSeconds = 3600
    /// Room that is left to file systems for what a snapshot costs besides its bytes: directory, index blocks, journal.
    static let reserveByteCount = 1 << 20
}
