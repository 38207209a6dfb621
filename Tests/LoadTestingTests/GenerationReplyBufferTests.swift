import Foundation
import TestSupport
import Testing

@testable import LoadTesting

extension GenerationTests {
    /// Replies written by hand, through a pair of sockets, in pieces.
    @Suite struct ReplyBuffers {
        /// A reply buffer and the socket that fills it.
        private final class Wire {
            private var ends: [Int32] = [-1, -1]
            private(set) var buffer = ReplyBuffer()

            init() {
                precondition(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
                for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
            }

            deinit {
                for end in ends { close(end) }
                buffer.free()
            }

            func clear() { buffer.removeAll() }

            /// Hands over pieces as they come from a socket, until one of them settles the matter.
            func feed(_ pieces: [ArraySlice<UInt8>]) -> ReplyBuffer.Progress {
                var progress = ReplyBuffer.Progress.partial
                for piece in pieces {
                    var rest = piece
                    while !rest.isEmpty {
                        let part = rest.prefix(4096)
                        rest = rest.dropFirst(4096)
                        let sent = part.withUnsafeBytes { send(ends[0], $0.baseAddress, $0.count, 0) }
                        precondition(sent == part.count)
                        precondition(buffer.receive(ends[1]) == part.count)
                        progress = buffer.progress()
                        if progress != .partial { return progress }
                    }
                }
                return progress
            }

            func feed(_ text: String) -> ReplyBuffer.Progress { feed([Array(text.utf8)[...]]) }
            func end() -> ReplyBuffer.Progress { buffer.progressAtClose() }
            var body: String { String(decoding: buffer.body, as: UTF8.self) }
        }

        private func progress(_ text: String) -> ReplyBuffer.Progress { Wire().feed(text) }

        private static let whole = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
        private static let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n1;name=value\r\nl\r\n0A\r\no, world!\n\r\n"
            + "0\r\n\r\n"

        @Test func theLengthOfABinaryRepliesJSONIsRead() {
            let wire = Wire()
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
            #expect(wire.feed(head + "Inference-Header-Content-Length: 3\r\n\r\nhello") == .whole)
            #expect(wire.buffer.jsonByteCount == 3)
            wire.clear()
            #expect(wire.feed(head + "\r\nhello") == .whole)
            #expect(wire.buffer.jsonByteCount == nil)
            wire.clear()
            #expect(wire.feed(head + "inference-header-content-length:0\r\n\r\nhello") == .whole)
            #expect(wire.buffer.jsonByteCount == 0)
            wire.clear()
            #expect(wire.feed(head + "Inference-Header-Content-Length: three\r\n\r\nhello") == .malformed)
        }

        @Test func whatTheServerSaysOfItsTimeIsRead() {
            let wire = Wire()
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
            #expect(wire.feed(head + "server-timing: db;dur=1, total;dur=0.125\r\n\r\nhello") == .whole)
            #expect(wire.buffer.serverNanoseconds == 125_000)
            wire.clear()
            #expect(wire.feed(head + "Server-Timing: total;dur=2\r\nServer-Timing: db;dur=1\r\n\r\nhello") == .whole)
            #expect(wire.buffer.serverNanoseconds == 2_000_000)
            wire.clear()
            #expect(wire.feed(head + "Server-Timing: total\r\n\r\nhello") == .whole)
            #expect(wire.buffer.serverNanoseconds == 0)
        }

        @Test func aReplyIsWholeAtItsLastByteAndNotBefore() {
            let wire = Wire()
            for (text, body) in [
                (Self.whole, "hello"), (Self.chunked, "hello, world!\n"),
                ("HTTP/1.1 204 No Content\r\n\r\n", ""), ("HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", ""),
                ("HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\n" + Self.whole, "hello"),
                ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + Self.chunked, "hello, world!\n"),
            ] {
                let bytes = Array(text.utf8)
                // In two pieces, split at every byte.
                for place in 1..<bytes.count {
                    wire.clear()
                    #expect(wire.feed([bytes[..<place]]) == .partial, "\(place) of \(text)")
                    #expect(wire.end() == .partial)
                    #expect(wire.feed([bytes[place...]]) == .whole, "\(place) of \(text)")
                    #expect(wire.body == body)
                }
                // Byte by byte, and at once.
                wire.clear()
                #expect(wire.feed(bytes.indices.map { bytes[$0...$0] }) == .whole)
                #expect(wire.body == body)
                wire.clear()
                #expect(wire.feed(text) == .whole)
                #expect(wire.body == body)
                #expect(!wire.buffer.closes)
            }
        }

        @Test func theStatusIsRead() {
            let wire = Wire()
            for status in [200, 201, 299, 301, 400, 404, 429, 500, 503, 599] {
                wire.clear()
                #expect(wire.feed("HTTP/1.1 \(status) Words\r\nContent-Length: 2\r\n\r\nno") == .whole)
                #expect(wire.buffer.status == UInt16(status))
                #expect(wire.body == "no")
            }
            #expect(progress("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n") == .whole)
        }

        /// RFC 9112, 6.3: these have no body, whatever their fields say.
        @Test(arguments: [204, 304]) func someStatusesHaveNoBody(_ status: Int) {
            #expect(progress("HTTP/1.1 \(status) X\r\n\r\n") == .whole)
            #expect(progress("HTTP/1.1 \(status) X\r\nContent-Length: 0\r\n\r\n") == .whole)
            let wire = Wire()
            #expect(wire.feed("HTTP/1.1 \(status) X\r\nContent-Length: 10\r\n\r\n") == .whole)
            #expect(wire.body == "")
            #expect(!wire.buffer.closes)
            #expect(progress("HTTP/1.1 \(status) X\r\n\r\nno body") == .malformed)
        }

        @Test func whatHasNoLengthEndsWithTheConnection() {
            let wire = Wire()
            #expect(wire.feed("HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\nall of") == .partial)
            #expect(wire.feed(" it") == .partial)
            #expect(wire.end() == .whole)
            #expect(wire.body == "all of it")
            #expect(wire.buffer.closes)
            wire.clear()
            #expect(wire.feed("HTTP/1.1 200 OK\r\nContent-Type: x\r\n") == .partial)
            #expect(wire.end() == .partial)
        }

        @Test func persistence() {
            func closes(_ version: String, _ field: String) -> Bool {
                let wire = Wire()
                #expect(wire.feed("HTTP/\(version) 200 OK\r\n\(field)Content-Length: 2\r\n\r\nok") == .whole)
                return wire.buffer.closes
            }
            #expect(!closes("1.1", ""))
            #expect(closes("1.1", "Connection: close\r\n"))
            #expect(closes("1.1", "CONNECTION:Close\r\n"))
            #expect(!closes("1.1", "Connection: keep-alive\r\n"))
            #expect(closes("1.0", ""))
            #expect(closes("1.0", "Connection: close\r\n"))
            #expect(!closes("1.0", "Connection: Keep-Alive\r\n"))
            let wire = Wire()
            #expect(wire.feed("HTTP/1.0 200 OK\r\n\r\nbody") == .partial)
            #expect(wire.end() == .whole)
            #expect(wire.body == "body")
        }

        @Test(arguments: [
            // Lengths that contradict each other or are none.
            "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 6\r\nContent-Length: 5\r\n",
            "Content-Length: -5\r\n", "Content-Length: +5\r\n", "Content-Length: 5x\r\n", "Content-Length: 0x5\r\n",
            "Content-Length:\r\n", "Content-Length: \r\n", "Content-Length: 5, 6\r\n", "Content-Length: 1 2\r\n",
            "Content-Length: 5.0\r\n", "Content-Length: 268435457\r\n", "Content-Length: 9223372036854775807\r\n",
            "Content-Length: 9223372036854775808\r\n", "Content-Length: 18446744073709551621\r\n",
            "Content-Length: 99999999999999999999999999999999\r\n",
            // What smuggles requests elsewhere.
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "transfer-encoding: CHUNKED\r\ncontent-length: 5\r\n",
            "Transfer-Encoding: gzip\r\n", "Transfer-Encoding: identity\r\n",
        ]) func fieldsThatSayNoLengthAreRefused(_ fields: String) {
            #expect(progress("HTTP/1.1 200 OK\r\n\(fields)\r\nhello") == .malformed)
        }

        @Test func lengthsAtTheLimits() {
            let same = Wire()
            #expect(
                same.feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 05\r\n\r\nhello") == .whole)
            #expect(progress("HTTP/1.1 200 OK\r\nContent-Length: 0000000000000000000005\r\n\r\nhello") == .whole)
            #expect(progress("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\nhello") == .partial)
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            #expect(progress(head + "10000000\r\nhello") == .partial)
            #expect(progress(head + "10000001\r\nhello") == .malformed)
            #expect(progress(head + "7fffffffffffffff\r\nhello") == .malformed)
            #expect(progress(head + "ffffffffffffffff\r\nhello") == .malformed)
            #expect(progress(head + "10000000000000005\r\nhello\r\n0\r\n\r\n") == .malformed)
        }

        @Test(arguments: [
            "zz\r\n", "-1\r\n", "\r\n", ";x\r\n", " 5\r\n", "5x\r\nhello\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhelloxx",
            "5\nhello\n", "0x5\r\nhello\r\n", "0\r\n\r\nmore", "5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
            String(repeating: "0", count: 65), "5;" + String(repeating: "e", count: 100),
        ]) func brokenChunksAreRefused(_ chunks: String) {
            #expect(progress("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)") == .malformed)
        }

        /// Whether a size line is too long must not depend on how it is cut into segments.
        @Test func aLongSizeLineIsRefusedHoweverItComes() {
            let text =
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;\(String(repeating: "e", count: 80))\r\nhello\r\n"
                + "0\r\n\r\n"
            let bytes = Array(text.utf8)
            #expect(Wire().feed(bytes.indices.map { bytes[$0...$0] }) == .malformed)
            #expect(progress(text) == .malformed)
        }

        @Test(arguments: [
            "\u{1}\u{2}BELFRY-8 no such protocol\r\n\r\n", "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
            "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "\r\n\r\n", "HTTP/1.1\r\n\r\n", "x\r\n\r\n", "HTTP/1.1 \r\n\r\n\r\n\r\n",
            "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1x200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.x 200 OK\r\nContent-Length: 0\r\n\r\n",
        ]) func garbageIsRefused(_ text: String) {
            #expect(progress(text) == .malformed)
        }

        @Test func aHeadEndsSomewhere() {
            let wire = Wire()
            #expect(wire.feed("HTTP/1.1 200 OK\r\n") == .partial)
            var count = 17
            var progress = ReplyBuffer.Progress.partial
            while progress == .partial, count < 1 << 20 {
                let field = "X-More: there is another field after this one\r\n"
                count += field.utf8.count
                progress = wire.feed(field)
            }
            #expect(progress == .malformed)
            #expect(count >= 64 << 10)
            #expect(count < (64 << 10) + 64)
        }

        @Test func bytesAfterTheReplyAreAFault() {
            #expect(progress(Self.whole + "x") == .malformed)
            #expect(progress(Self.whole + Self.whole) == .malformed)
            #expect(progress(Self.chunked + Self.whole) == .malformed)
            #expect(progress("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n") == .malformed)
        }

        @Test func theMemoryGrowsAndIsUsedAgain() {
            let wire = Wire()
            for count in [100, 100_000, 16_384, 3, 1_000_000] {
                let body = String(repeating: "abcdefg", count: count / 7 + 1)
                wire.clear()
                #expect(wire.feed("HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)") == .whole)
                #expect(wire.body == body)
                var chunks = "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n"
                var rest = Substring(body)
                while !rest.isEmpty {
                    let part = rest.prefix(4099)
                    rest = rest.dropFirst(4099)
                    chunks += String(part.utf8.count, radix: 16, uppercase: true) + "\r\n\(part)\r\n"
                }
                wire.clear()
                #expect(wire.feed(chunks + "0\r\n\r\n") == .whole)
                #expect(wire.buffer.status == 503)
                #expect(wire.body == body)
            }
        }

        /// Damaged replies never trap, and how they are cut into segments changes nothing but when a fault is seen.
        @Test func mutationsNeverTrap() {
            let seeds = [
                Self.whole, Self.chunked, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\n" + Self.whole, "HTTP/1.0 200 OK\r\n\r\nuntil close",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
                "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ].map { Array($0.utf8) }
            var random = SeededRandom(seed: 0x5EED)
            let atOnce = Wire()
            let inPieces = Wire()
            var counts: [ReplyBuffer.Progress: Int] = [:]
            for number in 0..<Repetitions.count(20_000, long: 400_000) {
                var bytes = random.element(seeds)
                for _ in 0..<(1 + random.below(4)) { Self.mutate(&bytes, &random) }
                var pieces: [ArraySlice<UInt8>] = []
                var start = 0
                while start < bytes.count {
                    let end = min(bytes.count, start + 1 + random.below(random.below(2) == 0 ? 3 : 60))
                    pieces.append(bytes[start..<end])
                    start = end
                }
                atOnce.clear()
                inPieces.clear()
                let one = atOnce.feed([bytes[...]])
                let other = inPieces.feed(pieces)
                counts[one, default: 0] += 1
                let text = String(decoding: bytes, as: UTF8.self)
                switch (one, other) {
                case (.whole, .whole), (.partial, .partial), (.malformed, .malformed): break
                // The reply was whole before the bytes came that nobody asked for.
                case (.malformed, .whole): break
                default: Issue.record("mutation \(number): \(one) at once and \(other) in pieces: \(text)")
                }
                if one == .whole {
                    #expect(atOnce.buffer.status == inPieces.buffer.status)
                    #expect(atOnce.buffer.closes == inPieces.buffer.closes)
                    #expect(atOnce.buffer.body.elementsEqual(inPieces.buffer.body), "\(text)")
                    #expect(atOnce.buffer.body.count < bytes.count)
                }
                if one == .partial { #expect(atOnce.end() == inPieces.end()) }
            }
            // All three happen, else the mutations show nothing.
            for kind in [ReplyBuffer.Progress.whole, .partial, .malformed] { #expect(counts[kind, default: 0] > 500) }
        }

        private static func mutate(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
            guard !bytes.isEmpty else { return bytes.append(UInt8(truncatingIfNeeded: random.next())) }
            let place = random.below(bytes.count)
            switch random.below(9) {
            case 0: bytes[place] ^= 1 << UInt8(random.below(8))
            case 1: bytes[place] = UInt8(truncatingIfNeeded: random.next())
            case 2: bytes[place] = random.element(Array("\r\n :;0123456789abcdefxX-\0\u{7F}".utf8))
            case 3: bytes.remove(at: place)
            case 4: bytes.insert(random.element(Array("\r\n :;0fF9".utf8)), at: place)
            case 5: bytes.removeSubrange(place...)
            case 6:
                let end = min(bytes.count, place + 1 + random.below(40))
                bytes.insert(contentsOf: bytes[place..<end], at: random.below(bytes.count))
            case 7:
                bytes.insert(
                    contentsOf: random.element([
                        "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "ffffffffffffffff", "10000000",
                        "HTTP/1.1 100 Continue\r\n\r\n", "\r\n\r\n", "0\r\n\r\n", "Connection: close\r\n",
                    ]).utf8, at: place)
            default:
                let digits = bytes.indices.filter { (0x30...0x39).contains(bytes[$0]) }
                if !digits.isEmpty { bytes[random.element(digits)] = 0x30 + UInt8(random.below(10)) }
            }
        }
    }
}
