import Foundation
import Memory
import Synchronization
import TestSupport
import Testing

@Suite struct SwappableTests {
    /// What went wrong in any thread, counted by kind.
    final class Faults: Sendable {
        let destroyedWhileRead = Atomic<Int>(0)
        let torn = Atomic<Int>(0)
        let returnedWhileRead = Atomic<Int>(0)
        let aliveCount = Atomic<Int>(0)
        let aliveCountMax = Atomic<Int>(0)
        let readCount = Atomic<Int>(0)

        func born() {
            let alive = aliveCount.add(1, ordering: .relaxed).newValue
            aliveCountMax.max(alive, ordering: .relaxed)
        }
    }

    /// A value that knows who is inside it, and whose words add up as long as it lives.
    final class Probe: Sendable {
        let number: UInt64
        let insideCount = Atomic<Int>(0)
        private nonisolated(unsafe) let words: UnsafeMutablePointer<UInt64>
        private static let wordCount = 64
        private let faults: Faults

        init(_ number: UInt64, _ faults: Faults) {
            self.number = number
            self.faults = faults
            words = .allocate(capacity: Self.wordCount)
            for index in 0..<Self.wordCount { words[index] = number &* 0x9E37_79B9 &+ UInt64(index) }
            faults.born()
        }

        deinit {
            if insideCount.load(ordering: .sequentiallyConsistent) != 0 {
                faults.destroyedWhileRead.add(1, ordering: .relaxed)
            }
            // Whoever still reads finds words that do not add up.
            for index in 0..<Self.wordCount { words[index] = .max }
            words.deallocate()
            faults.aliveCount.subtract(1, ordering: .relaxed)
        }

        /// Reads every word, as a request would.
        func read() {
            insideCount.add(1, ordering: .sequentiallyConsistent)
            for index in 0..<Self.wordCount where words[index] != number &* 0x9E37_79B9 &+ UInt64(index) {
                faults.torn.add(1, ordering: .relaxed)
            }
            faults.readCount.add(1, ordering: .relaxed)
            insideCount.subtract(1, ordering: .sequentiallyConsistent)
        }
    }

    struct Refusal: Error {}

    @Test func holdsNothingAtFirst() {
        let cell = Swappable<Probe>(readerCount: 2)
        #expect(cell.withPinned(by: 0) { $0 == nil })
        #expect(cell.withPinned(by: 1) { $0 == nil })
        #expect(cell.swap(nil) == nil)
    }

    @Test func returnsWhatItHeldAndFreesIt() {
        let faults = Faults()
        let cell = Swappable<Probe>(readerCount: 1)
        #expect(cell.swap(Probe(1, faults)) == nil)
        #expect(cell.withPinned(by: 0) { $0?.number } == 1)
        #expect(cell.swap(Probe(2, faults))?.number == 1)
        #expect(faults.aliveCount.load(ordering: .relaxed) == 1)
        #expect(cell.swap(nil)?.number == 2)
        #expect(faults.aliveCount.load(ordering: .relaxed) == 0)
        #expect(cell.withPinned(by: 0) { $0 == nil })
    }

    /// Parts are of the object that is current, nobody's if there is none, and hold swaps up as the whole does.
    @Test func lendsParts() {
        let faults = Faults()
        let cell = Swappable<Probe>(readerCount: 2)
        #expect(cell.withPinned(by: 0, taking: { $0.number }, { $0 }) == nil)
        for number: UInt64 in 1...2 {
            cell.swap(Probe(number, faults))
            #expect(cell.withPinned(by: 0, taking: { $0.number }, { $0 }) == number)
        }
        let swapper = cell.withPinned(by: 0, taking: { $0.number }) { _ in
            let swapper = SwapInBackground(cell, Probe(3, faults))
            #expect(eventually { cell.withPinned(by: 1) { $0?.number } == 3 })
            Thread.sleep(forTimeInterval: 0.03)
            #expect(!swapper.hasReturned)
            #expect(faults.aliveCount.load(ordering: .relaxed) == 2)
            return swapper
        }
        #expect(swapper.threads.join(withinSeconds: 10))
        #expect(faults.aliveCount.load(ordering: .relaxed) == 1)
        #expect(throws: Refusal.self) { try cell.withPinned(by: 0, taking: { $0.number }) { _ in throw Refusal() } }
        cell.swap(nil)
        #expect(faults.aliveCount.load(ordering: .relaxed) == 0)
    }

    @Test func freesTheLastOneWithItself() {
        let faults = Faults()
        weak var last: Probe?
        do {
            let cell = Swappable<Probe>(readerCount: 3)
            let probe = Probe(1, faults)
            last = probe
            cell.swap(probe)
        }
        #expect(last == nil)
        #expect(faults.aliveCount.load(ordering: .relaxed) == 0)
    }

    /// Putting the same object back counts its references right, and waits for nobody.
    @Test func takesTheSameObjectAgain() {
        let faults = Faults()
        let cell = Swappable<Probe>(readerCount: 1)
        weak var kept: Probe?
        do {
            let probe = Probe(1, faults)
            kept = probe
            cell.swap(probe)
            cell.withPinned(by: 0) { _ in
                // A reader holds it: a swap for another one would wait.
                TestThreads(1) { _ in cell.swap(probe) }.join()
            }
        }
        #expect(kept != nil)
        cell.swap(nil)
        // The thread may hold it a moment longer.
        #expect(eventually { kept == nil })
    }

    @Test func throwingBodiesReleaseThePin() {
        let faults = Faults()
        let cell = Swappable<Probe>(readerCount: 1)
        cell.swap(Probe(1, faults))
        for _ in 0..<3 {
            #expect(throws: Refusal.self) { try cell.withPinned(by: 0) { _ in throw Refusal() } }
        }
        // Would wait without end for a pin that is left.
        #expect(TestThreads(1) { _ in cell.swap(Probe(2, faults)) }.join(withinSeconds: 10))
        #expect(faults.aliveCount.load(ordering: .relaxed) == 1)
        cell.swap(nil)
        #expect(throws: Refusal.self) { try cell.withPinned(by: 0) { _ in throw Refusal() } }
    }

    /// A reader that stays inside holds the swap up, for its own object and no other.
    @Test func swapsWaitForTheReadersOfTheOldObject() {
        let faults = Faults()
        let cell = Swappable<Probe>(readerCount: 2)
        cell.swap(Probe(1, faults))
        let isInside = DispatchSemaphore(value: 0)
        let mayLeave = DispatchSemaphore(value: 0)
        let reader = TestThreads(1) { _ in
            cell.withPinned(by: 1) { probe in
                isInside.signal()
                mayLeave.wait()
                probe?.read()
            }
        }
        isInside.wait()
        let swapper = SwapInBackground(cell, Probe(2, faults))
        // The new object is there for everybody else while the swap waits.
        #expect(eventually { cell.withPinned(by: 0) { $0?.number } == 2 })
        Thread.sleep(forTimeInterval: 0.03)
        #expect(!swapper.hasReturned)
        #expect(faults.aliveCount.load(ordering: .relaxed) == 2)
        mayLeave.signal()
        reader.join()
        #expect(swapper.threads.join(withinSeconds: 10))
        #expect(swapper.hasReturned)
        #expect(faults.torn.load(ordering: .relaxed) == 0)
        #expect(faults.aliveCount.load(ordering: .relaxed) == 1)
    }

    /// One swap on a thread of its own.
    final class SwapInBackground: Sendable {
        private let returned = Returned()
        let threads: TestThreads

        private final class Returned: Sendable {
            let value = Atomic<Bool>(false)
        }

        init(_ cell: Swappable<Probe>, _ next: Probe) {
            threads = TestThreads(1) { [returned] _ in
                cell.swap(next)
                returned.value.store(true, ordering: .releasing)
            }
        }

        var hasReturned: Bool { returned.value.load(ordering: .acquiring) }
    }

    /// Readers without pause and a swapper without pause: nobody reads what is freed, and a swap returns only what nobody reads.
    @Test(arguments: [1, 3, 8]) func nobodyReadsWhatIsFreed(readerCount: Int) {
        let faults = Faults()
        let cell = Swappable<Probe>(readerCount: readerCount)
        let isOver = Flag()
        let readers = TestThreads(readerCount) { reader in
            var latest: UInt64 = 0
            while !isOver.isSet {
                cell.withPinned(by: reader) { probe in
                    guard let probe else { return }
                    probe.read()
                    // Objects are numbered in their order, and a reader never sees an older one again.
                    if probe.number < latest { faults.torn.add(1, ordering: .relaxed) }
                    latest = probe.number
                }
            }
        }
        cell.swap(Probe(0, faults))
        #expect(eventually { faults.readCount.load(ordering: .relaxed) > 2 * readerCount })
        let swapCount: UInt64 = ProcessInfo.processInfo.environment["BELFRY_LONG"] == "1" ? 100_000 : 1_000
        for number in 1...swapCount {
            // Every so often there is nothing for a while.
            let old = cell.swap(number % 97 == 0 ? nil : Probe(number, faults))
            if let old, old.insideCount.load(ordering: .sequentiallyConsistent) != 0 {
                faults.returnedWhileRead.add(1, ordering: .relaxed)
            }
        }
        isOver.set()
        readers.join()
        cell.swap(nil)
        #expect(faults.destroyedWhileRead.load(ordering: .relaxed) == 0)
        #expect(faults.returnedWhileRead.load(ordering: .relaxed) == 0)
        #expect(faults.torn.load(ordering: .relaxed) == 0)
        #expect(faults.aliveCount.load(ordering: .relaxed) == 0)
        // The one that serves, and the old one until it is let go of.
        #expect(faults.aliveCountMax.load(ordering: .relaxed) <= 2)
        #expect(faults.readCount.load(ordering: .relaxed) > 0)
    }

    final class Flag: Sendable {
        private let value = Atomic<Bool>(false)
        var isSet: Bool { value.load(ordering: .relaxed) }
        func set() { value.store(true, ordering: .relaxed) }
    }
}
