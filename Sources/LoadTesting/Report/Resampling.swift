/// One report's seconds, ready to be drawn again and again.
///
/// Seconds are drawn, not requests: requests that queue behind each other, or run while the server does something else, are
/// slow together. Drawn one by one they would pass for independent and the intervals would be far too narrow. As hiccups
/// outlast a second too, neighbouring seconds are drawn together (circular block bootstrap: Politis and Romano, 1992).
struct Resampling {
    /// What one resample, or the report itself, comes to.
    struct Figures {
        /// By `Resampling.percentiles`, in microseconds; nan without a success.
        var percentiles: [Double]
        /// Successes per second.
        var rate: Double
        /// Of all requests.
        var errorShare: Double
    }

    static let percentiles = [50.0, 90, 99]
    /// More requests in a second are none of ours; sums of fewer fit 64 bits.
    static let requestCountMax = 1 << 32

    /// Values of the cells that are not empty in any second, ascending, in microseconds. (cells)
    private var values: [Double] = []
    /// Second s has the entries `starts[s] ..< starts[s + 1]`. (seconds + 1)
    private var starts = [0]
    /// Index into `values`. (entries)
    private var cells: [Int] = []
    /// How many samples. (entries)
    private var counts: [Int] = []
    private let intervals: [Report.Interval]
    /// Seconds drawn together.
    private let blockLength: Int

    var secondCount: Int { intervals.count }

    /// How many draws of neighbouring seconds make up a resample.
    private var blockCount: Double { Double(secondCount) / Double(blockLength) }

    /// Resamples of few blocks differ less than runs would: by the root of (n - 1) / n, and as Student's t does from the normal
    /// distribution, here at 99 % (Cornish and Fisher's expansion).
    var widening: Double {
        let freedom = max(1, blockCount - 1)
        return ((freedom + 1) / freedom).squareRoot() * (1 + 1.91 / freedom + 3.43 / (freedom * freedom))
    }

    /// - name: the report's, for errors.
    init(_ report: Report, name: String) throws(LoadTestError) {
        intervals = report.intervals
        blockLength = max(1, Int(Double(intervals.count).cubeRoot.rounded()))
        var seconds: [[HistogramCell]] = []
        for (number, interval) in intervals.enumerated() {
            let place = "\(name) is damaged: intervals[\(number)]"
            let cells: [HistogramCell]
            do {
                cells = try HistogramCodec.cells(interval.latency)
            } catch {
                throw .failed("\(place).latency: \(error)")
            }
            guard interval.lengthS > 0, interval.errors >= 0, (0...Self.requestCountMax).contains(interval.requests),
                interval.errors <= interval.requests, (0...interval.requests).contains(interval.succeeded)
            else { throw .failed("\(place) has a length or a count that cannot be") }
            let samples = cells.reduce(0.0) { $0 + Double($1.count) }
            guard samples == Double(interval.succeeded) else {
                throw .failed("\(place) has \(interval.succeeded) successes and \(short(samples)) latencies")
            }
            seconds.append(cells)
        }
        let occupied = Set(seconds.joined().lazy.map(\.index)).sorted()
        var places = [Int](repeating: 0, count: CellLayout.count)
        for (place, index) in occupied.enumerated() { places[index] = place }
        values = occupied.map { Double(CellLayout.highest($0)) / 1_000 }
        for second in seconds {
            for cell in second {
                cells.append(places[cell.index])
                counts.append(cell.count)
            }
            starts.append(cells.count)
        }
    }

    /// As often as asked, as many seconds as the report has, drawn with replacement.
    func draws(_ count: Int, random: inout SplitMix64) -> [Figures] {
        var drawn = [Int](repeating: 0, count: secondCount)
        var sums = [Int](repeating: 0, count: values.count)
        return (0..<count).map { _ in
            for second in drawn.indices { drawn[second] = 0 }
            var missing = secondCount
            while missing > 0 {
                let first = Int(random.next() % UInt64(secondCount))
                for offset in 0..<min(blockLength, missing) { drawn[(first + offset) % secondCount] += 1 }
                missing -= min(blockLength, missing)
            }
            return figures(drawn, &sums)
        }
    }

    /// - drawn: how often each second is in. (seconds)
    /// - sums: scratch. (cells)
    private func figures(_ drawn: [Int], _ sums: inout [Int]) -> Figures {
        var (requests, succeeded, errors, length) = (0, 0, 0, 0.0)
        for (second, times) in drawn.enumerated() where times > 0 {
            requests += times * intervals[second].requests
            succeeded += times * intervals[second].succeeded
            errors += times * intervals[second].errors
            length += Double(times) * intervals[second].lengthS
        }
        let samples = add(drawn, to: &sums)
        return Figures(
            percentiles: percentiles(sums, samples: samples), rate: Double(succeeded) / length,
            errorShare: requests == 0 ? 0 : Double(errors) / Double(requests))
    }

    /// The inner loop: a thousand times over every entry. Buffers, as a build with checks would take seconds.
    private func add(_ drawn: [Int], to sums: inout [Int]) -> Int {
        var samples = 0
        sums.withUnsafeMutableBufferPointer { sums in
            sums.update(repeating: 0)
            cells.withUnsafeBufferPointer { cells in
                counts.withUnsafeBufferPointer { counts in
                    for (second, times) in drawn.enumerated() where times > 0 {
                        var entry = starts[second]
                        let end = starts[second + 1]
                        while entry < end {
                            let added = times &* counts[entry]
                            sums[cells[entry]] &+= added
                            samples &+= added
                            entry &+= 1
                        }
                    }
                }
            }
        }
        return samples
    }

    private func percentiles(_ sums: [Int], samples: Int) -> [Double] {
        var place = 0
        var below = 0
        return Self.percentiles.map { percentile in
            let rank = max(1, Int((percentile.nextDown * Double(samples) / 100).rounded(.up)))
            while place < sums.count, below + sums[place] < rank {
                below += sums[place]
                place += 1
            }
            return samples == 0 ? .nan : values[place]
        }
    }
}

extension Double {
    fileprivate var cubeRoot: Double {
        var root = Swift.max(1, self / 3)
        for _ in 0..<60 { root -= (root - self / (root * root)) / 3 }
        return root
    }
}
