internal import Crypto

/// SHA-256 as manifests write it.
struct FileHash {
    private var hash = SHA256()

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        hash.update(bufferPointer: bytes)
    }

    /// 64 lower-case hexadecimal digits.
    func digits() -> String {
        let letters = Array("0123456789abcdef")
        return hash.finalize().reduce(into: "") { text, byte in
            text.append(letters[Int(byte >> 4)])
            text.append(letters[Int(byte & 15)])
        }
    }

    static func digest(of bytes: [UInt8]) -> String {
        var hash = FileHash()
        bytes.withUnsafeBytes { hash.update($0) }
        return hash.digits()
    }
}
