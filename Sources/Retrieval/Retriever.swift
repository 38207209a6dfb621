internal import Identifiers
public import ItemIndex
public import Memory
public import Snapshots
public import Towers

/// What the snapshot knows of a request's user.
public struct UserContext {
    /// The user's row; nil for a user the snapshot does not know.
    public let row: Int?
    /// Cached vectors, valid until the next `enrich`; nil ones count as zeros.
    public let cached: CachedVectors
    /// Whether the tower has to do without what the snapshot caches by user.
    public let isColdStart: Bool
}

/// A user's embedding: `dimension` floats, valid until the next `embed` of the same retriever.
public struct UserEmbedding {
    /// The numbers.
    public let values: UnsafeBufferPointer<Float>
}

/// One worker's way through a snapshot: enrich, embed, search. It owns every buffer those steps write to, so that a request
/// allocates nothing once the buffers have grown; it is used by one thread at a time.
///
///     let context = try retriever.enrich(query.user)
///     let embedding = try retriever.embed(query.user, context, strict: query.strict)
///     let hits = try retriever.search(embedding, query)
public final class Retriever {
    /// What answers. It keeps alive what the next ones lead to.
    public let snapshot: Snapshot
    // The way to each part of the snapshot, looked up once: what stands in the worker's own retriever is used without
    // counting a reference, what is reached through shared objects is not.
    private let tower: Tower
    private let index: ItemIndex
    private let spaceID: Text
    private let users: UserVectors.View?
    private let itemIDs: Identifiers.View
    private let towerScratch: TowerScratch
    private let vectorScratch: UserVectors.Scratch
    private let searchScratch: SearchScratch
    private let eligible: EligibleRows
    private let paused: PausedRows
    private var pausesFollowed = PausedRows.Position()

    /// Makes the buffers for one worker.
    ///
    /// - paused: rows that no search may find, as they are at the time of the search.
    public init(snapshot: Snapshot, paused: PausedRows = PausedRows()) {
        self.snapshot = snapshot
        self.paused = paused
        tower = snapshot.userTower
        index = snapshot.index
        spaceID = snapshot.spaceID
        users = snapshot.users?.view
        itemIDs = snapshot.items.ids.view
        towerScratch = snapshot.userTower.makeScratch()
        vectorScratch = UserVectors.Scratch(
            dimension: snapshot.manifest.dimension, cascadeDimension: snapshot.manifest.cascadeDimension ?? 0)
        searchScratch = SearchScratch(for: snapshot.index)
        eligible = EligibleRows(rowCount: snapshot.items.count)
    }

    /// Has what a search marks in memory. Before the first search.
    public func touchBuffers() {
        searchScratch.touch()
    }

    /// Refuses a request that insists on another embedding space than the snapshot's.
    @inline(__always)
    public func requireSpace(_ spaceID: Text?) throws(RetrievalError) {
        if let spaceID, spaceID != self.spaceID { throw .otherSpace }
    }

    /// Looks the user up: cached cross and cascade vectors, or zeros and a cold start.
    public func enrich(_ user: borrowing UserQuery) throws(RetrievalError) -> UserContext {
        guard let users else {
            return UserContext(row: nil, cached: CachedVectors(), isColdStart: snapshot.towerReadsCachedVectors)
        }
        guard let id = user.id, let row = try row(of: id, in: users.ids, field: .user) else {
            return UserContext(row: nil, cached: CachedVectors(), isColdStart: true)
        }
        return UserContext(row: row, cached: users.vectors(row: row, vectorScratch), isColdStart: false)
    }

    /// Runs the user tower on the request's features and the cached vectors.
    public func embed(_ user: borrowing UserQuery, _ context: UserContext, strict: Bool) throws(RetrievalError)
        -> UserEmbedding
    {
        try place(user, context, strict: strict, at: 0)
        embedPlaced(count: 1)
        return try embedding(at: 0)
    }

    /// How many users `embedPlaced` takes at a time.
    public static var placeCount: Int { Tower.placeCount }

    /// Takes in one of several users that are embedded together, up to `placeCount`; the context has to be of the last
    /// `enrich`.
    ///
    ///     for place in 0..<count {
    ///         try retriever.place(users[place], try retriever.enrich(users[place]), strict: strict, at: place)
    ///     }
    ///     retriever.embedPlaced(count: count)
    ///     for place in 0..<count { use(try retriever.embedding(at: place)) }
    public func place(_ user: borrowing UserQuery, _ context: UserContext, strict: Bool, at place: Int)
        throws(RetrievalError)
    {
        let userID: FeatureValue? =
            switch user.id {
            case .text(let text): .text(text)
            case .number(let number): .unsigned(number)
            case nil: nil
            }
        do throws(FeatureError) {
            try tower.place(
                userID: userID, user.features, cached: context.cached, strict: strict, at: place, towerScratch)
        } catch {
            throw .feature(error)
        }
    }

    /// Runs the user tower on the users at the first `count` places. Each embedding has the bits that `embed` gives.
    public func embedPlaced(count: Int) {
        tower.embedPlaced(count: count, towerScratch)
    }

    /// The embedding of one place after `embedPlaced`, valid until the next `place` or `embed`; refused if it is not finite.
    public func embedding(at place: Int) throws(RetrievalError) -> UserEmbedding {
        let values = tower.embedding(at: place, towerScratch)
        for value in values where !value.isFinite { throw .embeddingNotFinite }
        return UserEmbedding(values: UnsafeBufferPointer(values))
    }

    /// The request's features that the snapshot did not know, as indices among `FeatureValues.entries`; of the last `embed`.
    public var ignoredFeatures: [Int] { towerScratch.ignoredEntries }

    /// Finds the best items that are neither excluded nor paused. The hits lie in this retriever until its next search.
    ///
    /// - deadline: when the search ends with what it has found by then, in nanoseconds of CLOCK_MONOTONIC; nil is never.
    public func search(
        _ embedding: UserEmbedding, _ query: borrowing RetrievalQuery, deadline: UInt64? = nil
    ) throws(RetrievalError) -> Hits {
        eligible.includeAll()
        paused.bring(eligible, upToDate: &pausesFollowed)
        for position in query.exclude.indices {
            if let row = try row(of: query.exclude[position], in: itemIDs, field: .exclude(position)) {
                eligible.exclude(row)
            }
        }
        let hits: Hits
        do throws(SearchError) {
            hits = try index.search(
                embedding.values.baseAddress!, k: query.k,
                parameters: parameters(of: query, deadline: deadline),
                eligible: eligible, scratch: searchScratch)
        } catch {
            throw .search(error)
        }
        guard hits.isComplete || hits.count > 0 else { throw .deadlineExceeded }
        return hits
    }

    @inline(__always)
    private func parameters(of query: borrowing RetrievalQuery, deadline: UInt64?) -> SearchParameters {
        SearchParameters(
            ef: query.ef ?? (query.nprobe == nil ? snapshot.manifest.index.ef : nil),
            nprobe: query.nprobe ?? (query.ef == nil ? snapshot.manifest.index.nprobe : nil),
            exact: query.exact, deadline: deadline)
    }

    /// Whether a search may take longer than so many nanoseconds.
    public func mayTake(longerThan nanoseconds: UInt64, _ query: borrowing RetrievalQuery) -> Bool {
        index.mayTakeNanoseconds(k: query.k, parameters: parameters(of: query, deadline: nil)) > Double(nanoseconds)
    }

    /// Has searches call `others`, which is not retained, every 20 us or so and go on when it returns; nil for no more calls.
    ///
    /// - others: must not use this retriever.
    public func yield(to others: (any SearchYielding)?) {
        searchScratch.yield(to: others)
    }

    /// The item's row, if the snapshot has it.
    @inline(__always)
    public func itemRow(of id: RequestedID, field: RetrievalError.IDField) throws(RetrievalError) -> Int? {
        try row(of: id, in: itemIDs, field: field)
    }

    /// The score of one item for an embedding.
    @inline(__always)
    public func score(_ embedding: UserEmbedding, itemRow: Int) -> Float {
        index.score(embedding.values.baseAddress!, itemRow)
    }

    @inline(__always)
    private func row(of id: RequestedID, in ids: Identifiers.View, field: RetrievalError.IDField) throws(RetrievalError)
        -> Int?
    {
        switch (id, ids) {
        case (.text(let text), _): return ids.row(of: text)
        case (.number(let number), .numbers(let table)): return table.row(of: number)
        case (.number, .texts): throw .numberForTextID(field)
        }
    }
}
