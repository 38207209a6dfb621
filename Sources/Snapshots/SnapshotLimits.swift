/// What a snapshot may hold. A limit bounds what a forged manifest can make the daemon allocate or compute.
enum SnapshotLimits {
    /// `_SUCCESS` has about 200 bytes.
    static let sealByteCountMax = 65_536
    /// A manifest has some kilobytes, 20 more for each thousand boundaries. Parsing takes twelve times its size.
    static let manifestByteCountMax = 16 << 20
    /// Item and user vectors, and one layer's width, as FAISS and our kernels are tested with.
    static let dimension = 1...4096
    /// Row numbers are 32 bits in FAISS's graphs.
    static let rowCountMax = Int(Int32.max) - 1
    /// A wider layer would make a single request slow enough to hold up its worker.
    static let layerWidth = 1...65_536
    static let layerCountMax = 256
    /// Beyond a handful, cycles cost time and change nothing.
    static let cyclesMax = 16
    static let featureCountMax = 1024
    static let attributeCountMax = 1024
    /// Every feature once, and the cached vectors.
    static let inputCountMax = 2048
    static let tableRowCountMax = 1 << 32
    static let boundaryCountMax = 65_536
    static let valueCountMax = 65_536
    /// ef and nprobe.
    static let searchParameterMax = 1_000_000
}
