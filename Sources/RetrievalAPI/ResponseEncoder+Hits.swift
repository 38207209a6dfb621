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
            let textByteCountMax = rows.count * itemByteCountMax + 1 + JSONCursor.slackByteCount
            writer.append(atMost: textByteCountMax + rows.count * 8) { room in
                let ids = gather(rows, from: table, into: room + textByteCountMax)
                var cursor = JSONCursor(room)
                for rank in rows.indices {
                    cursor.write(",{\"id\":\"")
                    cursor.write(ids.loadUnaligned(fromByteOffset: rank * 8, as: UInt64.self))
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
            let textByteCountMax = rows.count * idByteCountMax + 1 + JSONCursor.slackByteCount
            writer.append(atMost: textByteCountMax + rows.count * 8) { room in
                let ids = gather(rows, from: table, into: room + textByteCountMax)
                var cursor = JSONCursor(room)
                for rank in rows.indices {
                    cursor.write(",\"")
                    cursor.write(ids.loadUnaligned(fromByteOffset: rank * 8, as: UInt64.self))
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

    /// Copies the ids of rows, 8 bytes each, to where the text will not reach. The rows of a reply lie all over the
    /// catalogue: looked up one after the other, many are fetched from memory at a time; between the texts each would be
    /// waited for.
    private func gather(
        _ rows: UnsafeBufferPointer<UInt32>, from table: NumberTable.View, into place: UnsafeMutableRawPointer
    ) -> UnsafeRawPointer {
        var position = place
        for row in rows {
            position.storeBytes(of: table.id(of: Int(row)), as: UInt64.self)
            position += 8
        }
        return UnsafeRawPointer(place)
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
