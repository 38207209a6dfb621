/// A server that misbehaves in known ways.
public final class InjectedServer {
    /// Creates a server.
    public init() {}
}
