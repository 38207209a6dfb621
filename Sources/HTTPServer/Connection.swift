/// One open connection, from accept to close. Touched by its worker's thread only.
final class Connection {
    let connection: OpaquePointer  // libmicrohttpd's, valid while it is open
    let socket: Int32
    /// It came when all places were taken, and is held only to be refused.
    let isRefused: Bool
    /// Where the worker's list has it.
    var index: Int
    /// The request under way, from its request line until its reply is sent.
    var exchange: Exchange?
    /// When the next request could first arrive: when the connection was accepted or the last reply was sent;
    /// nanoseconds of CLOCK_MONOTONIC.
    var readySince: UInt64
    /// How many bytes of the body under way had arrived when the worker last looked.
    var sweptByteCount = -1
    /// Nothing more is read from it.
    var isShutForReading = false

    init(_ connection: OpaquePointer, socket: Int32, isRefused: Bool, index: Int, readySince: UInt64) {
        self.connection = connection
        self.socket = socket
        self.isRefused = isRefused
        self.index = index
        self.readySince = readySince
    }
}
