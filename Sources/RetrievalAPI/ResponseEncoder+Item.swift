internal import ItemIndex
internal import JSON
internal import Memory
internal import Snapshots

extension ResponseEncoder {
    /// Writes the reply of `/readyz`.
    func encodeReady(to writer: inout ByteWriter) {
        writer.append("{\"status\":\"ready\",")
        appendSnapshot(to: &writer)
        writer.append("}")
    }

    /// Writes the reply of `/v1/items/{id}`. Not on the hot path.
    func encodeItem(_ row: Int, of snapshot: Snapshot, to writer: inout ByteWriter) {
        writer.append("{")
        appendSnapshot(to: &writer)
        writer.append(",\"id\":")
        appendID(ofItem: row, to: &writer)
        writer.append(",\"row\":")
        writer.appendJSON(row)
        writer.append(",\"vector\":")
        writer.appendJSON(snapshot.index.vector(row))
        writer.append(",\"attributes\":{")
        for (index, attribute) in snapshot.items.attributes.enumerated() {
            if index > 0 { writer.append(",") }
            writer.appendJSON(attribute.name)
            writer.append(":")
            let values = snapshot.items.values(ofAttribute: index, row: row)
            if attribute.isMultiValued { writer.append("[") }
            for (position, value) in values.enumerated() {
                if position > 0 { writer.append(",") }
                switch value {
                case .word(let word): writer.appendJSON(word)
                case .float(let float): writer.appendJSON(float)
                case .integer(let integer): writer.appendJSON(integer)
                }
            }
            if attribute.isMultiValued { writer.append("]") }
        }
        writer.append("}}")
    }
}
