#pragma once

#include "CJSON.h"

// Finds the first fault of a text that simdjson refused: simdjson says neither where it is nor, for numbers and for
// what follows the value, which. Slow and without side effects. `stack` holds `maximum_depth` bytes.
// CJSON_OK if it finds none.
cjson_code cjson_diagnose(
    const uint8_t *bytes, size_t count, char *stack, size_t maximum_depth, size_t &offset) noexcept;
