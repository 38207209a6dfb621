#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Asks the system to hold memory in pages of 2 MB. A walk goes to rows anywhere in hundreds of megabytes, and with 4 KB
/// pages nearly every step waits for an address to be translated first. Only a wish: a refusal changes nothing but speed.
func askForLargePages(_ start: UnsafeRawPointer?, byteCount: Int) {
    let pageSize = UInt(2 << 20)
    guard let start else { return }
    let first = (UInt(bitPattern: start) + pageSize - 1) & ~(pageSize - 1)
    let end = (UInt(bitPattern: start) + UInt(byteCount)) & ~(pageSize - 1)
    guard end > first, let address = UnsafeMutableRawPointer(bitPattern: first) else { return }
    _ = madvise(address, Int(end - first), MADV_HUGEPAGE)
    // Linux 6.1 can do it at once and not some time later. Older headers do not have the number.
    let collapse: Int32 = 25
    _ = madvise(address, Int(end - first), collapse)
}

/// Gives memory that will be freed next back to the system, in pieces with pauses between them: unmapping hundreds of
/// megabytes at once keeps the kernel busy for tens of milliseconds, with the process's map locked. What stood there is gone.
func releaseGradually(_ start: UnsafeRawPointer?, byteCount: Int) {
    let pieceSize = 8 << 20
    let pageSize = UInt(4096)
    guard let start, byteCount > 2 * pieceSize else { return }
    var address = (UInt(bitPattern: start) + pageSize - 1) & ~(pageSize - 1)
    let end = (UInt(bitPattern: start) + UInt(byteCount)) & ~(pageSize - 1)
    while address < end, let piece = UnsafeMutableRawPointer(bitPattern: address) {
        let size = min(UInt(pieceSize), end - address)
        _ = madvise(piece, Int(size), MADV_DONTNEED)
        address += size
        usleep(500)
    }
}
