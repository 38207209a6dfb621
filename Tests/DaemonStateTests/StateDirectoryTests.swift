import DaemonState
import Foundation
import Testing

@Suite struct StateDirectoryTests {
    @Test func isMadeForItsOwnerAlone() throws {
        let scratch = try ScratchDirectory()
        let path = "\(scratch.path)/state"
        let state = try StateDirectory(path: path)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o700)
        #expect(state.path == path)
    }

    @Test func aDirectoryWithoutOneAboveIsRefused() throws {
        let scratch = try ScratchDirectory()
        let error = #expect(throws: StateError.self) { try StateDirectory(path: "\(scratch.path)/none/state") }
        #expect(error?.description.contains("\(scratch.path)/none/state: cannot make the directory: No such") == true)
    }

    @Test func aFileIsNoDirectory() throws {
        let scratch = try ScratchDirectory()
        try scratch.write("state", [])
        #expect(throws: StateError.self) { try StateDirectory(path: "\(scratch.path)/state") }
    }

    @Test func oneDaemonHoldsIt() throws {
        let scratch = try ScratchDirectory()
        let other = try ScratchDirectory()
        let first = try StateDirectory(path: scratch.path)
        let error = #expect(throws: StateError.self) { try StateDirectory(path: scratch.path) }
        #expect(error?.path == "\(scratch.path)/lock")
        #expect(
            error?.fault
                == "held by another daemon (process \(ProcessInfo.processInfo.processIdentifier)); "
                + "each daemon needs a --state directory of its own")
        _ = try StateDirectory(path: other.path)
        first.close()
        _ = try StateDirectory(path: scratch.path)
        // The second one's object is gone.
        _ = try StateDirectory(path: scratch.path)
    }

    @Test func anotherProcessIsToldApart() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        func locked() throws -> Bool {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/flock")
            process.arguments = ["--nonblock", "\(scratch.path)/lock", "true"]
            try process.run()
            process.waitUntilExit()
            return process.terminationStatus == 1
        }
        #expect(try locked())
        state.close()
        #expect(try !locked())
    }

    @Test func aChildDoesNotKeepTheLock() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        // Foundation's Process would close every descriptor of the child itself.
        var child: pid_t = 0
        var arguments = [strdup("sleep"), strdup("60"), nil]
        defer { arguments.forEach { free($0) } }
        try #require(posix_spawn(&child, "/bin/sleep", nil, nil, &arguments, nil) == 0)
        defer {
            kill(child, SIGKILL)
            var status: Int32 = 0
            waitpid(child, &status, 0)
        }
        state.close()
        _ = try StateDirectory(path: scratch.path)
    }

    @Test func aClosedDirectoryIsAnError() throws {
        let scratch = try ScratchDirectory()
        let state = try StateDirectory(path: scratch.path)
        let journal = try PauseJournal(in: state)
        state.close()
        state.close()
        #expect(throws: StateError.self) { try state.readChoice() }
        #expect(throws: StateError.self) { try state.write(ServingChoice()) }
        #expect(throws: StateError.self) { try journal.pause(["a"]) }
        #expect(throws: StateError.self) { try PauseJournal(in: state) }
        #expect(try scratch.paused().isEmpty)
    }
}
