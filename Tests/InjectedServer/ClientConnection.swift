/// A client's connection and the one request of it that is being answered. Further requests wait in `input`.
struct ClientConnection {
    let descriptor: Int32
    /// Counts the uses of the descriptor.
    var generation: UInt32 = 0
    var isOpen = false
    /// A request was taken and its reply is not out yet.
    var isBusy = false
    /// The request's ordinal; 0 for one that is not counted.
    var ordinal = 0
    /// The connection ends after the reply.
    var closesAfterReply = false
    /// The connection ends in place of the reply.
    var closesUnanswered = false
    /// The socket was full: the rest goes when it is writable.
    var awaitsRoom = false
    /// How much goes at once; 0 for all.
    var pieceByteCount = 0
    /// Where to begin again when all has gone; -1 for not at all.
    var repeatsFrom = -1
    var input = ByteQueue(capacity: 4096)
    var output = ByteQueue(capacity: 16_384)

    init(descriptor: Int32) {
        self.descriptor = descriptor
    }
}
