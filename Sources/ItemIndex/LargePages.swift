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
