/// One request of a plan, rendered once and sent many times.
public struct LoadRequest: Sendable, Equatable {
    /// The JSON body; empty for a GET.
    public var body: String
    /// How many items it asks for.
    public var k: Int
    /// The ids it excludes.
    public var excluded: Set<String>

    /// Creates a request.
    public init(body: String, k: Int, excluded: Set<String> = []) {
        self.body = body
        self.k = k
        self.excluded = excluded
    }
}
