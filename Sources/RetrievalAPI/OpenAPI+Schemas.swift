extension OpenAPI {
    static let schemas = [requestSchemas, notBuiltSchemas, replySchemas, problemSchema].joined(separator: ",\n")

    private static let requestSchemas = """
        "ID": {"description": "An id. A catalogue of numbers takes either form, one of strings takes strings only.",
          "oneOf": [
            {"type": "string", "minLength": \(Limits.idByteCount.lowerBound), "maxLength": \(Limits.idByteCount.upperBound)},
            {"type": "integer", "minimum": 0, "maximum": \(UInt64.max)}]},
        "Features": {"type": "object", "maxProperties": \(Limits.featureCount),
          "description": "Values by name. null is a missing value. A feature that the serving snapshot does not know is \
        ignored, unless strict; one of the wrong type is a 422. At most \(Limits.totalFeatureValueCount) values in all.",
          "propertyNames": {"minLength": \(Limits.featureNameByteCount.lowerBound), \
        "maxLength": \(Limits.featureNameByteCount.upperBound)},
          "additionalProperties": {"oneOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {"type": "array", "maxItems": \(Limits.featureValueCount), \
        "items": {"type": ["string", "number", "boolean"]}}]}},
        "User": {"type": "object", "additionalProperties": false, "properties": {
          "id": \(schema("ID")),
          "features": \(schema("Features"))}},
        "RequestID": {"type": "string", "maxLength": \(Limits.requestIDByteCount.upperBound),
          "description": "Repeated in the reply."},
        "Model": {"type": "string", "enum": ["default"], "description": "Another is a 404."},
        "SpaceID": {"type": "string", "description": "409 unless the serving snapshot belongs to this embedding space."},
        "Strict": {"type": "boolean", "default": false,
          "description": "Whether a feature that the serving snapshot does not know is a 422."},
        "Search": {"type": "object", "additionalProperties": false, "properties": {
          "ef": {"type": "integer", "minimum": \(Limits.ef.lowerBound), "maximum": \(Limits.ef.upperBound),
            "description": "For graphs: how many candidates the walk keeps."},
          "nprobe": {"type": "integer", "minimum": \(Limits.nprobe.lowerBound), "maximum": \(Limits.nprobe.upperBound),
            "description": "For inverted files: how many lists are scanned."},
          "exact": {"type": "boolean", "default": false, "description": "Compares with every item."}}},
        "Retrieve": {"type": "object", "required": ["user"], "additionalProperties": false, "properties": {
          "request_id": \(schema("RequestID")),
          "model": \(schema("Model")),
          "user": \(schema("User")),
          "context": \(schema("Features")),
          "k": {"type": "integer", "minimum": \(Limits.k.lowerBound), "maximum": \(Limits.k.upperBound), "default": 100},
          "exclude": {"type": "array", "maxItems": \(Limits.excludedIDCount), "items": \(schema("ID")),
            "description": "Items that must not be in the reply. Unknown ones do nothing."},
          "search": \(schema("Search")),
          "if_space_id": \(schema("SpaceID")),
          "format": {"type": "string", "enum": ["rows", "columns", "binary"], "default": "rows",
            "description": "binary: application/octet-stream, see the reply; a 406 where ids are strings."},
          "strict": \(schema("Strict")),
          "explain": {"type": "boolean", "default": false},
          "filter": \(schema("NotBuiltFilter")),
          "timeout_ms": {"type": "number", "exclusiveMinimum": 0, "maximum": \(Limits.timeoutMillisMax),
            "description": "How long after its first byte the request is of use, in milliseconds. Later the reply is what \
        was found by then, degraded by deadline, or a 504 if that was nothing."},
          "return": \(schema("NotBuiltAttributes"))}},
        "EmbedElement": {"type": "object", "required": ["user"], "additionalProperties": false, "properties": {
          "user": \(schema("User")),
          "context": \(schema("Features"))}},
        "Embed": {"type": "object", "additionalProperties": false,
          "oneOf": [{"required": ["user"]}, {"required": ["requests"]}], "properties": {
          "request_id": \(schema("RequestID")),
          "model": \(schema("Model")),
          "user": \(schema("User")),
          "context": \(schema("Features")),
          "requests": {"type": "array", "maxItems": \(Limits.embedUserCount), "items": \(schema("EmbedElement"))},
          "if_space_id": \(schema("SpaceID")),
          "strict": \(schema("Strict"))}},
        "Score": {"type": "object", "required": ["user", "items"], "additionalProperties": false, "properties": {
          "request_id": \(schema("RequestID")),
          "model": \(schema("Model")),
          "user": \(schema("User")),
          "context": \(schema("Features")),
          "items": {"type": "array", "maxItems": \(Limits.scoredItemCount), "items": \(schema("ID"))},
          "if_space_id": \(schema("SpaceID")),
          "strict": \(schema("Strict"))}}
        """

    private static let notBuiltSchemas = """
        "NotBuiltFilter": {"type": "object", "additionalProperties": false, "description": "Not built yet: a 501.",
          "properties": {
          "allow": {"type": "object", "additionalProperties": {"type": "array"}},
          "deny": {"type": "object", "additionalProperties": {"type": "array"}},
          "numeric": {"type": "object", "additionalProperties": {"type": "object"}}}},
        "NotBuiltAttributes": {"type": "array", "items": {"type": "string"}, "description": "Not built yet: a 501."}
        """

    /// What `explain` adds.
    private static let explanation = """
        "timings_us": {"type": "object", "description": "explain, as the following", "additionalProperties": false,
            "required": ["decode", "enrich", "embed", "search"], "properties": {
              "decode": {"type": "integer"}, "enrich": {"type": "integer"}, "embed": {"type": "integer"},
              "search": {"type": "integer"}}},
          "caches_hit": {"type": "array", "items": {"type": "string", "enum": ["cross", "cascade"]}},
          "ef_used": {"type": "integer", "description": "How wide the walk was. Absent where every item was compared."},
          "nprobe_used": {"type": "integer", "description": "How many lists were read. Absent likewise."},
          "items_scored": {"type": "integer", "description": "How many items were compared with the user."},
          "features_ignored": {"type": "array", "items": {"type": "string"}}
        """

    private static let replySchemas = """
        "Snapshot": {"type": "object", "required": ["model", "id", "space_id"], "additionalProperties": false,
          "properties": {
          "model": {"type": "string"},
          "id": {"type": "string"},
          "space_id": {"type": "string"}}},
        "Scores": {"type": "array", "items": {"type": "number"}},
        "Degraded": {"type": "array", "items": {"type": "string", "enum": ["deadline"]},
          "description": "Why the items may be fewer or others than without. deadline: timeout_ms ended the search."},
        "ColdStart": {"type": "boolean", "description": "Whether cached vectors of the user were missing."},
        "RetrieveReply": {"type": "object", "required": ["snapshot", "cold_start", "degraded"],
          "oneOf": [{"required": ["items"]}, {"required": ["ids", "scores"]}], "additionalProperties": false,
          "properties": {
          "request_id": \(schema("RequestID")),
          "snapshot": \(schema("Snapshot")),
          "items": {"type": "array", "description": "format rows: best first, ties by item row.",
            "items": {"type": "object", "required": ["id", "score"], "additionalProperties": false, "properties": {
              "id": {"type": "string"}, "score": {"type": "number"}}}},
          "ids": {"type": "array", "items": {"type": "string"}, "description": "format columns"},
          "scores": \(schema("Scores")),
          "cold_start": \(schema("ColdStart")),
          "degraded": \(schema("Degraded")),
          \(explanation)}},
        "RetrieveHead": {"type": "object", "required": ["snapshot", "cold_start", "degraded"],
          "additionalProperties": false, "description": "The JSON at the beginning of a binary reply.", "properties": {
          "request_id": \(schema("RequestID")),
          "snapshot": \(schema("Snapshot")),
          "cold_start": \(schema("ColdStart")),
          "degraded": \(schema("Degraded")),
          \(explanation)}},
        "Embeddings": {"type": "array", "items": {"type": "array", "items": {"type": "number"}},
          "description": "One row for each query vector of the user."},
        "EmbedResult": {"type": "object", "required": ["embeddings", "cold_start"], "additionalProperties": false,
          "properties": {
          "embeddings": \(schema("Embeddings")),
          "cold_start": \(schema("ColdStart"))}},
        "EmbedReply": {"type": "object", "required": ["snapshot"],
          "oneOf": [{"required": ["embeddings", "cold_start"]}, {"required": ["results"]}],
          "additionalProperties": false, "properties": {
          "request_id": \(schema("RequestID")),
          "snapshot": \(schema("Snapshot")),
          "embeddings": \(schema("Embeddings")),
          "cold_start": \(schema("ColdStart")),
          "results": {"type": "array", "items": \(schema("EmbedResult"))}}},
        "ScoreReply": {"type": "object", "required": ["snapshot", "ids", "scores", "cold_start"],
          "additionalProperties": false, "properties": {
          "request_id": \(schema("RequestID")),
          "snapshot": \(schema("Snapshot")),
          "ids": {"type": "array", "items": {"type": "string"}},
          "scores": {"type": "array", "items": {"type": ["number", "null"]}, "description": "null: an unknown item."},
          "cold_start": \(schema("ColdStart"))}},
        "Item": {"type": "object", "required": ["snapshot", "id", "row", "vector", "attributes"],
          "additionalProperties": false, "properties": {
          "snapshot": \(schema("Snapshot")),
          "id": {"type": "string"},
          "row": {"type": "integer"},
          "vector": {"type": "array", "items": {"type": "number"}},
          "attributes": {"type": "object", "description": "By name; a list for a multi-valued attribute."}}},
        "Status": {"type": "object", "required": ["status"], "additionalProperties": false, "properties": {
          "status": {"type": "string"},
          "snapshot": \(schema("Snapshot"))}},
        "Description": {"type": "object"}
        """

    private static let problemSchema = """
        "Problem": {"type": "object", "required": ["type", "title", "status"], "additionalProperties": false,
          "description": "RFC 9457", "properties": {
          "type": {"type": "string", "description": "urn:belfry:problem: and a stable name"},
          "title": {"type": "string"},
          "status": {"type": "integer"},
          "detail": {"type": "string"},
          "field": {"type": "string", "description": "JSON pointer of the faulty field in the body"},
          "limit": {"type": "integer", "description": "The bound that the request exceeds"},
          "feature": {"type": "string", "description": "The feature that the snapshot refuses"}}}
        """
}
