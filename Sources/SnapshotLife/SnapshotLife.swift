public import DaemonState
internal import Glibc
public import Logging
public import Memory
internal import CProcess
internal import ItemIndex
public import RetrievalAPI
public import Snapshots
internal import Synchronization

/// The life of a daemon's snapshots: found, verified, loaded, warmed, serving, retired, destroyed. It decides which one serves and
/// makes the change; requests go on meanwhile, each answered from the generation it began with.
///
///     let life = SnapshotLife(configuration: configuration, serving: serving, logger: logger)
///     try life.start()      // returns when the first snapshot is warm and serves
///     life.followCurrent()  // SIGHUP
///     try life.activate("2026-11-21").wait()
///     life.end()
///
/// Two threads belong to it. The control thread watches the directory, carries out commands one after the other and makes the
/// swap. The loader thread does what takes time, on processor time that nobody else wants. At most two generations are in memory: the
/// one that serves, and one that is being loaded, is ready, or is kept for a rollback.
public final class SnapshotLife: Sendable {
    let configuration: SnapshotLifeConfiguration
    let shelf: SnapshotShelf
    let serving: Swappable<Generation>
    let samples: [RequestSample]
    let logger: Logger
    let pauses: Pauses?
    let loader = LoaderThread()
    let counts = SnapshotCounts()
    let records = SnapshotRecords()
    private let commands = Mutex<[Command]>([])
    private let bell: Int32
    private let control = Mutex<pthread_t?>(nil)
    private let isEnding = Atomic<Bool>(false)
    // Of the control thread.
    private let held = Mutex(Held())

    /// The generations in memory, and what the state directory remembers.
    private struct Held: Sendable {
        var serving: Generation?
        /// Ready to serve, or kept from before.
        var spare: Generation?
        var choice = ServingChoice()
        /// What `current` named when it was last followed.
        var followed: String?
        /// Why `current` could not be followed, so that it is logged once.
        var currentFault: String?
        var watch: Int32 = -1
    }

    enum Command: Sendable {
        case follow(always: Bool, Ticket)
        case activate(String, Ticket)
        case load(String, Ticket)
        case rollback(Ticket)
        case dropPauses(Ticket)
    }

    /// - serving: what the workers answer from; has a reader for each.
    /// - samples: of the workers' requests, for comparing a candidate with what serves.
    /// - state: what is remembered; nil remembers nothing, and then nothing can be paused.
    public init(
        configuration: SnapshotLifeConfiguration, serving: Swappable<Generation>, samples: [RequestSample] = [],
        journal: PauseJournal? = nil, logger: Logger
    ) {
        self.configuration = configuration
        shelf = SnapshotShelf(path: configuration.snapshots)
        self.serving = serving
        self.samples = samples
        self.logger = logger
        pauses = journal.map { Pauses(journal: $0) }
        bell = belfry_make_bell()
        precondition(bell >= 0, "no descriptor is left: \(String(cString: strerror(errno)))")
    }

    deinit {
        close(bell)
    }

    // MARK: - Start and end

    /// Loads the first snapshot and begins to watch. The operator's choice comes first, then `current`, then what served last.
    ///
    /// - Throws: why none of them can serve: the first's reason.
    public func start() throws(SnapshotError) {
        belfry_keep_heap_small()
        if let state = configuration.state {
            do throws(StateError) {
                let choice = try state.readChoice()
                held.withLock { $0.choice = choice }
            } catch {
                throw SnapshotError(.directory, file: error.path, error.fault)
            }
        }
        noteEntries(at: .debug)
        try loadFirst()
        if configuration.lowersPriority { loader.lowerPriority() }
        held.withLock { $0.watch = shelf.isOneSnapshot ? -1 : belfry_watch_directory(shelf.path) }
        var created = pthread_t()
        let status = startThread(&created, named: "belfry-control") { [self] in runControl() }
        precondition(status == 0, "a thread cannot be started: \(String(cString: strerror(status)))")
        control.withLock { $0 = created }
    }

    private func loadFirst() throws(SnapshotError) {
        let choice = held.withLock { $0.choice }
        var first: SnapshotError?
        var candidates: [String] = []
        do throws(SnapshotError) {
            let current = try shelf.current()
            held.withLock { $0.followed = current.id }
            if let chosen = choice.chosen, choice.currentWhenChosen == current.id {
                candidates = [chosen, current.id]
            } else {
                candidates = [current.id]
            }
        } catch {
            first = error
            if let chosen = choice.chosen { candidates = [chosen] }
        }
        for id in [choice.serving, choice.previous] {
            if let id, !candidates.contains(id) { candidates.append(id) }
        }
        for (position, id) in candidates.enumerated() {
            do throws(SnapshotError) {
                guard let entry = shelf.entry(id) ?? currentEntry(id) else {
                    throw SnapshotError(.directory, file: "\(shelf.path)/\(id)", "does not exist")
                }
                let generation = try prepare(entry)
                held.withLock {
                    // What was chosen may also serve for want of better; that is no choice any more once `current` names another.
                    let isChoice =
                        id == choice.chosen && ($0.followed ?? choice.currentWhenChosen) == choice.currentWhenChosen
                    if !isChoice { ($0.choice.chosen, $0.choice.currentWhenChosen) = (nil, nil) }
                }
                putInPlace(generation)
                return
            } catch {
                first = first ?? error
                // The last reason is the caller's to tell.
                guard position + 1 < candidates.count else { break }
                logger.error(
                    "snapshot refused, trying '\(candidates[position + 1])'",
                    metadata: ["id": "\(id)", "stage": "\(error.stage.rawValue)", "reason": "\(error)"])
            }
        }
        throw first ?? SnapshotError(.directory, file: shelf.path, "has no snapshot")
    }

    /// `current` may lead to a directory elsewhere.
    private func currentEntry(_ id: String) -> SnapshotShelf.Entry? {
        (try? shelf.current()).flatMap { $0.id == id ? $0 : nil }
    }

    /// Begins no further command, and gives up a snapshot that is being loaded. `end` follows.
    public func prepareToEnd() {
        isEnding.store(true, ordering: .releasing)
    }

    /// Whether the life is about to end.
    var endsSoon: Bool { isEnding.load(ordering: .acquiring) }

    /// Stops watching, ends the command under way and refuses those that wait. The generation that serves goes on serving.
    public func end() {
        // Under the lock: a command is taken in before, and refused below, or after, and refused at once.
        commands.withLock { _ in isEnding.store(true, ordering: .releasing) }
        belfry_ring_bell(bell)
        let running = control.withLock { thread in
            defer { thread = nil }; return thread
        }
        if let running { pthread_join(running, nil) }
        loader.end()
        for command in commands.withLock({ commands in
            defer { commands = [] }; return commands
        }) {
            command.ticket.finish(.failure(.ending))
        }
        let watch = held.withLock { held in
            defer { held.watch = -1 }; return held.watch
        }
        if watch >= 0 { close(watch) }
    }

    /// Destroys what is in memory. After `end`, when no worker answers any more.
    public func destroyGenerations() {
        serving.swap(nil)
        let generations = held.withLock { held in
            defer { (held.serving, held.spare) = (nil, nil) }; return [held.serving, held.spare]
        }
        for generation in generations { generation.map { pauses?.forget($0) } }
    }

    // MARK: - Commands, from any thread

    /// Activates what `current` names, also if it names what it named before, and forgets an operator's choice.
    @discardableResult
    public func followCurrent() -> Ticket { submit { .follow(always: true, $0) } }

    /// Makes a snapshot serve. Until `current` names another one than it does now, this is remembered over restarts.
    public func activate(_ id: String) -> Ticket { submit { .activate(id, $0) } }

    /// Verifies, loads and warms a snapshot, so that activating it is immediate.
    public func load(_ id: String) -> Ticket { submit { .load(id, $0) } }

    /// Makes the snapshot serve that served before.
    public func rollback() -> Ticket { submit { .rollback($0) } }

    /// Drops pauses of items that no published snapshot has. The ticket's text is how many.
    public func dropPauses() -> Ticket { submit { .dropPauses($0) } }

    private func submit(_ make: (Ticket) -> Command) -> Ticket {
        let ticket = Ticket()
        let command = make(ticket)
        let isTaken = commands.withLock { commands in
            guard !isEnding.load(ordering: .acquiring) else { return false }
            commands.append(command)
            return true
        }
        guard isTaken else {
            ticket.finish(.failure(.ending))
            return ticket
        }
        belfry_ring_bell(bell)
        return ticket
    }

    /// Every snapshot that is known, by id.
    public func list() -> [SnapshotRecord] {
        noteEntries()
        return records.sorted
    }

    /// The ids that serve, and served before.
    public var choice: ServingChoice { held.withLock { $0.choice } }

    /// The directory of snapshots, or the snapshot.
    public var directory: String { shelf.path }

    // MARK: - The control thread

    private func runControl() {
        while !isEnding.load(ordering: .acquiring) {
            let watch = held.withLock { $0.watch }
            // Once a second even without an event: some file systems send none.
            let ready = belfry_wait_readable(bell, watch, 1000)
            if ready & 1 != 0 { belfry_clear_bell(bell) }
            if ready & 2 != 0 { belfry_clear_watch(watch) }
            noteEntries()
            followChange()
            while !isEnding.load(ordering: .acquiring),
                let command = commands.withLock({ $0.isEmpty ? nil : $0.removeFirst() })
            {
                carryOut(command)
            }
        }
    }

    private func carryOut(_ command: Command) {
        let outcome: Result<String, SnapshotLifeError>
        do throws(SnapshotLifeError) {
            switch command {
            case .follow(let always, _): outcome = .success(try follow(always: always))
            case .activate(let id, _): outcome = .success(try makeServe(id, isChoice: true))
            case .load(let id, _): outcome = .success(try makeReady(id))
            case .rollback:
                guard let previous = held.withLock({ $0.choice.previous }) else { throw .nothingBefore }
                outcome = .success(try makeServe(previous, isChoice: true))
            case .dropPauses: outcome = .success("\(try dropOrphans())")
            }
        } catch {
            outcome = .failure(error)
        }
        command.ticket.finish(outcome)
    }

    /// Goes where `current` leads if it leads elsewhere than before.
    private func followChange() {
        guard !shelf.isOneSnapshot else { return }
        do throws(SnapshotError) {
            let current = try shelf.current()
            held.withLock { $0.currentFault = nil }
            guard current.id != held.withLock({ $0.followed }) else { return }
        } catch {
            let fault = error.description
            let isNew = held.withLock { held in
                defer { held.currentFault = fault }; return held.currentFault != fault
            }
            if isNew { logger.error("current refused", metadata: ["reason": "\(fault)"]) }
            return
        }
        _ = try? follow(always: false)
    }

    private func follow(always: Bool) throws(SnapshotLifeError) -> String {
        let current: SnapshotShelf.Entry
        do throws(SnapshotError) {
            current = try shelf.current()
        } catch {
            logger.error("current refused", metadata: ["reason": "\(error)"])
            throw .refused(error)
        }
        held.withLock { $0.followed = current.id }
        let choice = held.withLock { $0.choice }
        if !always, choice.chosen != nil, choice.currentWhenChosen == current.id { return choice.chosen! }
        return try makeServe(current.id, isChoice: false)
    }

    /// Makes a snapshot serve and remembers it.
    private func makeServe(_ id: String, isChoice: Bool) throws(SnapshotLifeError) -> String {
        if held.withLock({ $0.serving?.snapshot.manifest.id }) != id {
            let generation: Generation
            if let spare = held.withLock({ $0.spare }), spare.snapshot.manifest.id == id {
                generation = spare
                held.withLock { $0.spare = nil }
            } else {
                generation = try load(entryOf: id)
            }
            swap(to: generation, isChoice: isChoice)
        } else {
            remember(isChoice, serving: id, previous: held.withLock { $0.choice.previous })
        }
        return id
    }

    private func makeReady(_ id: String) throws(SnapshotLifeError) -> String {
        let (servingID, spareID) = held.withLock {
            ($0.serving?.snapshot.manifest.id, $0.spare?.snapshot.manifest.id)
        }
        guard id != servingID else { return id }
        if id == spareID {
            records.update(id) { $0.enter(.ready) }
        } else {
            let generation = try load(entryOf: id)
            held.withLock { $0.spare = generation }
        }
        return id
    }

    /// Loads beside what serves; whatever else was in memory goes first.
    private func load(entryOf id: String) throws(SnapshotLifeError) -> Generation {
        guard let entry = shelf.entry(id) ?? currentEntry(id) else { throw .unknownSnapshot(id) }
        dropSpare()
        do throws(SnapshotError) {
            return try prepare(entry)
        } catch {
            logger.error(
                "snapshot refused",
                metadata: ["id": "\(id)", "stage": "\(error.stage.rawValue)", "reason": "\(error)"])
            throw .refused(error)
        }
    }

    private func dropSpare() {
        guard
            let spare = held.withLock({ held in
                defer { held.spare = nil }; return held.spare
            })
        else { return }
        records.update(spare.snapshot.manifest.id) { if $0.state == .ready { $0.enter(.found) } }
        destroy(consume spare)
    }

    /// The swap itself: from here on every request that begins is answered from the new generation.
    private func swap(to generation: Generation, isChoice: Bool) {
        let meter = StepMeter()
        let id = generation.snapshot.manifest.id
        let oldID = held.withLock { $0.serving?.snapshot.manifest.id }
        serving.swap(generation)
        let cost = meter.stop()
        counts.swapped(costs: records.serves(id, swap: cost))
        remember(isChoice, serving: id, previous: oldID)
        logger.info(
            "snapshot serves",
            metadata: ["id": "\(id)", "before": "\(oldID ?? "")", "swap_ms": "\(rounded(cost.millis))"])
        if let oldID { records.update(oldID) { $0.enter(.retired) } }
        let keepsPrevious = configuration.keepsPrevious
        let unwanted = held.withLock { held -> Generation? in
            let old = held.serving
            held.serving = generation
            if keepsPrevious { held.spare = old }
            return keepsPrevious ? nil : old
        }
        configuration.tellStatus(status)
        guard let last = consume unwanted else { return }
        destroy(consume last)
    }

    /// - isChoice: whether an operator chose it; nil leaves what was chosen, and against which `current`, as it was read.
    private func remember(_ isChoice: Bool?, serving: String, previous: String?) {
        let choice = held.withLock { held in
            held.choice.serving = serving
            held.choice.previous = previous == serving ? held.choice.previous : previous
            if isChoice == true, held.followed != serving {
                (held.choice.chosen, held.choice.currentWhenChosen) = (serving, held.followed)
            } else if isChoice != nil {
                (held.choice.chosen, held.choice.currentWhenChosen) = (nil, nil)
            }
            return held.choice
        }
        guard let state = configuration.state else { return }
        do throws(StateError) {
            try state.write(choice)
        } catch {
            // It serves all the same; only a restart would not know.
            logger.error("the state directory does not take the choice of snapshot", metadata: ["reason": "\(error)"])
        }
    }

    /// The first generation of all.
    private func putInPlace(_ generation: Generation) {
        let id = generation.snapshot.manifest.id
        serving.swap(generation)
        let previous = held.withLock { held in
            held.serving = generation
            return held.choice.serving == id ? held.choice.previous : held.choice.serving
        }
        records.update(id) { $0.enter(.serving) }
        remember(nil, serving: id, previous: previous)
    }

    /// Frees a generation that nobody reads any more, on the loader's time.
    private func destroy(_ generation: consuming Generation) {
        pauses?.forget(generation)
        let id = generation.snapshot.manifest.id
        let files = configuration.keepsFilesCached ? [] : ["index.faiss"]
        let path = generation.snapshot.path
        // Ours ends here: the job may be done before this returns.
        let box = Mutex<Generation?>(consume generation)
        loader.begin { [self] in
            let meter = StepMeter()
            // The last reference: this thread frees it, piece by piece.
            box.withLock { $0 = nil }
            for file in files { belfry_drop_file_cache("\(path)/\(file)") }
            let cost = meter.stop()
            records.destroyed(id, cost)
            counts.destroyed(cost)
            logger.info("snapshot destroyed", metadata: ["id": "\(id)", "destroy_ms": "\(rounded(cost.millis))"])
        }
    }

    // MARK: - Records

    /// Notes snapshots that have been published, and forgets those that have been removed.
    private func noteEntries(at level: Logger.Level = .info) {
        let ids = shelf.entries().map(\.id)
        // What `current` names may lie elsewhere or not be complete, and whoever named it has to see why it is refused; what is in
        // memory needs no files.
        let others = [(try? shelf.current())?.id, held.withLock { $0.spare?.snapshot.manifest.id }]
        let new = records.note(ids, others: others.compactMap(\.self), followed: held.withLock { $0.followed })
        for id in new { logger.log(level: level, "snapshot found", metadata: ["id": "\(id)"]) }
    }

    /// The generation that serves, for the control thread: whoever else held it might be the one who frees it.
    var servingGeneration: Generation? { held.withLock { $0.serving } }

    /// What answers, or may answer without being loaded again; for the control thread as well.
    var generationsInMemory: [Generation] { held.withLock { [$0.serving, $0.spare].compactMap { $0 } } }

    /// What reports say of the generation that serves.
    struct ServingFacts: Sendable {
        let id: String
        let spaceID: String
        let createdAt: String
        let itemCount: Int
        let indexByteCount: Int
    }

    var servingFacts: ServingFacts? {
        held.withLock { held in
            held.serving.map { generation in
                let manifest = generation.snapshot.manifest
                return ServingFacts(
                    id: manifest.id, spaceID: manifest.spaceID, createdAt: manifest.createdAt,
                    itemCount: manifest.itemCount, indexByteCount: generation.snapshot.index.byteCount)
            }
        }
    }
}
