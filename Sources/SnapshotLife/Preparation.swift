internal import CProcess
internal import Identifiers
internal import Logging
internal import Memory
internal import RetrievalAPI
internal import SnapshotCheck
internal import Snapshots
internal import Towers

/// From a directory to a generation that is ready to serve. All of it happens on the loader thread, beside what serves; the first
/// thing that is wrong ends it, and what was loaded by then is freed.
extension SnapshotLife {
    func prepare(_ entry: SnapshotShelf.Entry) throws(SnapshotError) -> Generation {
        let paused = pauses?.beginGeneration() ?? []
        let serving = servingGeneration
        let result = loader.run { [self] () -> Result<Generation, SnapshotError> in
            do throws(SnapshotError) {
                return .success(try bringUp(entry, beside: serving, paused: paused))
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let generation):
            pauses?.follow(generation)
            records.update(entry.id) { $0.enter(.ready) }
            return generation
        case .failure(let error):
            pauses?.abandonGeneration()
            counts.refused(error.stage)
            records.update(entry.id) {
                $0.enter(.failed)
                $0.fault = error
            }
            throw error
        }
    }

    private func bringUp(_ entry: SnapshotShelf.Entry, beside serving: Generation?, paused: [String])
        throws(SnapshotError) -> Generation
    {
        let id = entry.id
        var meter = StepMeter()
        records.update(id) { $0.enter(.verifying) }
        let files = try verify(entry, beside: serving, &meter)
        var cost = meter.stop()
        records.update(id) {
            $0.costs[.verify] = cost
            $0.enter(.loading)
        }

        try requireTime(id)
        meter = StepMeter()
        let snapshot = try Snapshot(loading: files)
        try requireTime(id)
        let generation = Generation(
            snapshot: snapshot, workerCount: configuration.workerCount,
            pausedRows: paused.compactMap { snapshot.items.ids.row(ofText: $0) })
        // The index stands in memory now, and its file would only take room from files that are read where they are mapped.
        if !configuration.keepsFilesCached { belfry_drop_file_cache(files.path(of: "index.faiss")) }
        cost = meter.stop()
        records.update(id) {
            $0.costs[.load] = cost
            $0.enter(.warming)
        }

        meter = StepMeter()
        try SnapshotCheck.checkAnswers(of: snapshot, files)
        try requireTime(id)
        var rehearsal = try Rehearsal()
        let roundCount = try rehearsal.warm(generation, entry.path, until: configuration.warmupSeconds)
        try requireLittleSkew(generation, beside: serving, &rehearsal)
        cost = meter.stop()
        records.update(id) { $0.costs[.warm] = cost }
        logger.info(
            "snapshot loaded",
            metadata: [
                "id": "\(id)", "space_id": "\(snapshot.manifest.spaceID)", "items": "\(snapshot.items.count)",
                "dimension": "\(snapshot.manifest.dimension)", "warmup_rounds": "\(roundCount)",
                "milliseconds": "\(describe(id))",
            ])
        return generation
    }

    /// Between two steps: a daemon that ends does not wait for a snapshot to be loaded.
    private func requireTime(_ id: String) throws(SnapshotError) {
        guard !endsSoon else { throw SnapshotError(.directory, file: id, "is given up, because the daemon ends") }
    }

    /// `verify 812.1 (cpu 790.3), ...`
    private func describe(_ id: String) -> String {
        let costs = records[id]?.costs ?? [:]
        return SnapshotRecord.Step.allCases.compactMap { step in
            costs[step].map { "\(step.rawValue) \(rounded($0.millis)) (cpu \(rounded($0.cpuMillis)))" }
        }.joined(separator: ", ")
    }

    // MARK: - Verification

    /// What can be refused before anything is loaded, the cheapest first.
    private func verify(_ entry: SnapshotShelf.Entry, beside serving: Generation?, _ meter: inout StepMeter)
        throws(SnapshotError) -> SnapshotFiles
    {
        let files = try SnapshotFiles(path: entry.path)
        let manifest = files.manifest
        records.update(entry.id) {
            $0.byteCount = manifest.files.values.reduce(0) { $0 + $1.byteCount }
            $0.itemCount = manifest.itemCount
            $0.spaceID = manifest.spaceID
            $0.createdAt = manifest.createdAt
        }
        guard manifest.id == entry.id else {
            throw SnapshotError(
                .manifest, file: "manifest.json", "has the id '\(manifest.id)', its directory is '\(entry.id)'")
        }
        if let serving {
            try requireSchema(manifest, of: serving.snapshot.manifest)
            try requireItemCount(manifest, of: serving.snapshot.manifest)
        }
        try requireMemory(manifest)
        try files.verify()
        try parseElsewhere(files, &meter)
        return files
    }

    /// Callers send what the serving snapshot takes: a feature that is gone would be ignored from now on without a word, one of
    /// another type refused.
    private func requireSchema(_ candidate: Manifest, of serving: Manifest) throws(SnapshotError) {
        guard !configuration.allowsSchemaChange else { return }
        let new = Dictionary(candidate.user.features.map { ($0.name, $0) }) { first, _ in first }
        for old in serving.user.features {
            guard let feature = new[old.name] else {
                throw SnapshotError(
                    .schema, file: "manifest.json",
                    "lacks the feature '\(old.name)', which the serving snapshot '\(serving.id)' has")
            }
            guard feature.type == old.type, feature.source == old.source,
                (feature.maximumValues == nil) == (old.maximumValues == nil)
            else {
                throw SnapshotError(
                    .schema, file: "manifest.json",
                    "declares the feature '\(old.name)' as \(describe(feature)), the serving snapshot '\(serving.id)' as "
                        + describe(old))
            }
        }
    }

    private func describe(_ feature: Feature) -> String {
        "\(feature.maximumValues == nil ? "" : "a list of ")\(feature.type.rawValue) of \(feature.source)"
    }

    private func requireItemCount(_ candidate: Manifest, of serving: Manifest) throws(SnapshotError) {
        let ratio = configuration.itemCountRatio
        guard ratio > 0, serving.itemCount > 0 else { return }
        let count = Double(candidate.itemCount)
        guard count >= ratio * Double(serving.itemCount), count * ratio <= Double(serving.itemCount) else {
            throw SnapshotError(
                .itemCount, file: "manifest.json",
                "has \(candidate.itemCount) items and the serving snapshot '\(serving.id)' \(serving.itemCount); allowed is a "
                    + "ratio of \(ratio) to \(rounded(1 / ratio))")
        }
    }

    private func requireMemory(_ manifest: Manifest) throws(SnapshotError) {
        let need = MemoryNeed(manifest, workerCount: configuration.workerCount).byteCount
        guard let available = MemoryNeed.available() else { return }
        guard need <= available - configuration.memoryReserve else {
            throw SnapshotError(
                .memory, file: "index.faiss",
                "loading takes about \(need) bytes and \(configuration.memoryReserve) must be left, and \(available) are "
                    + "available")
        }
    }

    /// FAISS reads the index in a process of its own first: a file that was forged to have it abort ends that one.
    private func parseElsewhere(_ files: SnapshotFiles, _ meter: inout StepMeter) throws(SnapshotError) {
        guard let program = configuration.indexParser else { return }
        let path = files.path(of: "index.faiss")
        let texts: [UnsafeMutablePointer<CChar>?] = [strdup(program), strdup("parse-index"), strdup(path), nil]
        defer { for text in texts { free(text) } }
        let arguments = texts.map { text in text.map { UnsafePointer<CChar>($0) } }
        var errors = [CChar](repeating: 0, count: 1024)
        let size = files.manifest.files["index.faiss"]?.byteCount ?? 0
        let end = belfry_run_child(
            program, arguments, 4 * size + (4 << 30), configuration.parseMillisMax, &errors, errors.count)
        meter.elsewhere += end.cpu_ns
        func refuse(_ fault: String) -> SnapshotError { SnapshotError(.index, file: "index.faiss", fault) }
        guard end.error == 0 else {
            throw refuse("cannot be parsed in a process of its own: \(String(cString: strerror(end.error)))")
        }
        guard end.timed_out == 0 else {
            throw refuse("was not parsed within \(configuration.parseMillisMax) ms by a process of its own")
        }
        guard end.signal == 0 else {
            throw refuse("ended the process that parsed it with signal \(end.signal)")
        }
        guard end.exit_status == 0 else {
            let said = String(decoding: errors.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw refuse("is refused by the process that parsed it: \(said.split(separator: "\n").last ?? "")")
        }
    }

    // MARK: - Skew

    private static let comparedCountMax = 256

    /// Compares answers over recorded and sampled requests with those of the snapshot that serves. Reported always, required where
    /// the configuration says so.
    private func requireLittleSkew(
        _ candidate: Generation, beside serving: Generation?, _ rehearsal: inout Rehearsal
    ) throws(SnapshotError) {
        guard let serving else { return }
        var bodies = samples.flatMap { $0.bodies() }
        if let recorded = configuration.recordedRequests {
            bodies += try RequestLines(of: recorded, named: recorded, stage: .skew, limit: Self.comparedCountMax).bodies
        }
        guard let report = rehearsal.compare(candidate, with: serving, Array(bodies.prefix(2 * Self.comparedCountMax)))
        else { return }
        records.update(candidate.snapshot.manifest.id) { $0.skew = report }
        if let fault = configuration.skew.fault(of: report) {
            throw SnapshotError(.skew, file: candidate.snapshot.manifest.id, fault)
        }
    }

    // MARK: - Pauses

    /// Drops pauses of items that no snapshot has, neither a published one nor one in memory, whose directory may be elsewhere or
    /// gone. Nothing is dropped while one of them cannot be read.
    func dropOrphans() throws(SnapshotLifeError) -> Int {
        guard let pauses else { throw .state("nothing is paused without --state") }
        let shelf = shelf
        let paused = pauses.ids
        let generations = generationsInMemory
        let result = loader.run { () -> Result<[String], SnapshotError> in
            var orphans = Set(paused)
            for generation in generations {
                orphans = orphans.filter { generation.snapshot.items.ids.row(ofText: $0) == nil }
            }
            // Reading takes time, in which more may be published.
            var seen: [SnapshotShelf.Entry] = []
            while let entry = shelf.entries().first(where: { !seen.contains($0) }), !orphans.isEmpty {
                seen.append(entry)
                do throws(SnapshotError) {
                    let candidates = orphans
                    let held = try SnapshotFiles(path: entry.path).withItemIDs { ids in
                        candidates.filter { ids.row(ofText: $0) != nil }
                    }
                    orphans.subtract(held)
                } catch {
                    return .failure(error)
                }
            }
            return .success(orphans.sorted())
        }
        do {
            return try pauses.drop(try result.get())
        } catch {
            throw .state("pauses are kept: \(error)")
        }
    }
}

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif
