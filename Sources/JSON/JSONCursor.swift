public import CJSON

/// Writes JSON into room that was reserved beforehand, for long lists: no check per value. Whoever uses it reserves for each
/// value the most that it can take, and `slackByteCount` at the end.
///
///     writer.append(atMost: ids.count * (JSONCursor.integerByteCountMax + 1) + JSONCursor.slackByteCount) { room in
///         var cursor = JSONCursor(room)
///         for id in ids {
///             cursor.write(id)
///             cursor.write(",")
///         }
///         return cursor.byteCount(from: room)
///     }
public struct JSONCursor {
    /// The most bytes of an integer.
    public static let integerByteCountMax = Int(CJSON_INTEGER_BYTES_MAX)
    /// The most bytes of a float.
    public static let floatByteCountMax = Int(CJSON_FLOAT_BYTES_MAX)
    /// Digits are stored several at a time, so that a number may scribble over what follows it.
    public static let slackByteCount = Int(CJSON_NUMBER_SPACE)

    @usableFromInline var position: UnsafeMutableRawPointer

    /// Begins at the start of the room.
    @inlinable @inline(__always)
    public init(_ room: UnsafeMutableRawPointer) {
        position = room
    }

    /// How many bytes have been written.
    @inlinable @inline(__always)
    public func byteCount(from room: UnsafeMutableRawPointer) -> Int {
        position - room
    }

    /// Writes the UTF-8 of a literal as it is.
    @inlinable @inline(__always)
    public mutating func write(_ literal: StaticString) {
        let byteCount = literal.utf8CodeUnitCount
        position.copyMemory(from: literal.utf8Start, byteCount: byteCount)
        position += byteCount
    }

    /// Writes an integer.
    @inlinable @inline(__always)
    public mutating func write(_ value: UInt64) {
        position += cjson_write_uint64(value, position.assumingMemoryBound(to: CChar.self))
    }

    /// Writes the shortest decimal that reads back as the same float32; traps if it is not finite.
    @inlinable @inline(__always)
    public mutating func write(_ value: Float) {
        precondition(value.isFinite, "JSON has no NaN and no infinity")
        position += cjson_write_float(value, position.assumingMemoryBound(to: CChar.self))
    }
}
