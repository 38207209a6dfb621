internal import Identifiers
internal import JSON
internal import Memory

/// The lists of hits. With numbers for ids they are written into room that is reserved once, because a reply of 500 items
/// is nearly all of what encoding costs.
extension ResponseEncoder {
    /// `[{"id":"17","score":0.8123},...]`
    func appendItems(
        _ rows: UnsafeBufferPointer<UInt32>, _ scores: UnsafeBufferPointer<Float>, to writer: inout ByteWriter
    ) {
        guard !rows.isEmpty else { return writer.append("[]") }
        switch itemIDs {
        case .numbers(let table):
            // `,{"id":"`, id, `","score":`, score, `}`, and the bracket.
            let itemByteCountMax = 8 + JSONCursor.integerByteCountMax + 10 + JSONCursor.floatByteCountMax + 1
            writer.append(atMost: rows.count * itemByteCountMax + 1 + JSONCursor.slackByteCount) { room in
                var cursor = JSONCursor(room)
                for rank in rows.indices {
                    cursor.write(",{\"id\":\"")
                    cursor.write(table.id(of: Int(rows[rank])))
                    cursor.write("\",\"score\":")
                    cursor.write(scores[rank])
                    cursor.write("}")
                }
                cursor.write("]")
                room.storeBytes(of: UInt8(ascii: "["), as: UInt8.self)
                return cursor.byteCount(from: room)
            }
        case .texts(let table):
            for rank in rows.indices {
                writer.append(rank == 0 ? "[{\"id\":" : ",{\"id\":")
                writer.appendJSON(table.text(of: Int(rows[rank])))
                writer.append(",\"score\":")
                writer.appendJSON(scores[rank])
                writer.append("}")
            }
            writer.append("]")
        }
    }

    /// `["17",...]`
    func appendIDs(_ rows: UnsafeBufferPointer<UInt32>, to writer: inout ByteWriter) {
        guard !rows.isEmpty else { return writer.append("[]") }
        switch itemIDs {
        case .numbers(let table):
            let idByteCountMax = 3 + JSONCursor.integerByteCountMax
            writer.append(atMost: rows.count * idByteCountMax + 1 + JSONCursor.slackByteCount) { room in
                var cursor = JSONCursor(room)
                for rank in rows.indices {
                    cursor.write(",\"")
                    cursor.write(table.id(of: Int(rows[rank])))
                    cursor.write("\"")
                }
                cursor.write("]")
                room.storeBytes(of: UInt8(ascii: "["), as: UInt8.self)
                return cursor.byteCount(from: room)
            }
        case .texts(let table):
            for rank in rows.indices {
                writer.append(rank == 0 ? "[" : ",")
                writer.appendJSON(table.text(of: Int(rows[rank])))
            }
            writer.append("]")
        }
    }

    /// The ids as 64-bit numbers, then the scores as float32, all little-endian.
    func appendBinary(
        _ rows: UnsafeBufferPointer<UInt32>, _ scores: UnsafeBufferPointer<Float>, to writer: inout ByteWriter
    ) {
        guard case .numbers(let table) = itemIDs else {
            preconditionFailure("a binary reply of items whose ids are texts")
        }
        writer.append(atMost: rows.count * 12) { room in
            var position = room
            for row in rows {
                position.storeBytes(of: table.id(of: Int(row)).littleEndian, as: UInt64.self)
                position += 8
            }
            for score in scores {
                position.storeBytes(of: score.bitPattern.littleEndian, as: UInt32.self)
                position += 4
            }
            return position - room
        }
    }
}
