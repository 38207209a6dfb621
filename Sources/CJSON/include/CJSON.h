#pragma once

// simdjson's DOM parser and the shortest decimal form of numbers, for callers that know no C++.
// No exception crosses, and nothing here keeps a caller's pointer after the call.

#include <stddef.h>
#include <stdint.h>

#include "numbers.h"

#ifdef __cplusplus
extern "C" {
#endif

// Bytes that must be readable behind the text handed to cjson_parser_parse. Their content does not matter.
#define CJSON_PADDING 64

#define CJSON_UNKNOWN_OFFSET -1

typedef enum {
    CJSON_OK = 0,
    CJSON_EMPTY,                 // no value at all
    CJSON_MALFORMED,             // not JSON at `offset`
    CJSON_INVALID_UTF8,          // at `offset`
    CJSON_NUMBER_OUT_OF_RANGE,   // neither int64, nor uint64, nor a finite double; starts at `offset`
    CJSON_TOO_DEEP,              // the container that starts at `offset` is nested too deeply
    CJSON_TOO_LARGE,             // longer than the parser's capacity
    CJSON_TRAILING_CONTENT,      // something follows the value at `offset`
    CJSON_OUT_OF_MEMORY
} cjson_code;

// What a tape word's upper byte says: simdjson's letters. An object is `{`, then key and value in turn, then `}`.
typedef enum {
    CJSON_TAPE_OBJECT = '{',
    CJSON_TAPE_ARRAY = '[',
    CJSON_TAPE_STRING = '"',
    CJSON_TAPE_SIGNED = 'l',     // the next word is an int64
    CJSON_TAPE_UNSIGNED = 'u',   // the next word is a uint64 over INT64_MAX
    CJSON_TAPE_DOUBLE = 'd',     // the next word is a double
    CJSON_TAPE_TRUE = 't',
    CJSON_TAPE_FALSE = 'f',
    CJSON_TAPE_NULL = 'n'
} cjson_tape_kind;

// A parsed document: valid until its parser parses again or is freed.
typedef struct {
    const uint64_t *_Nullable tape;        // the document's value begins at word 1
    const uint8_t *_Nullable strings;      // at a string's offset: uint32 length, then the unescaped bytes
} cjson_document;

typedef struct cjson_parser cjson_parser;

// Allocates all that parsing texts of up to `capacity` bytes needs; NULL without memory. `maximum_depth` is how many
// objects and arrays may be open at a time, empty ones not counted.
cjson_parser *_Nullable cjson_parser_new(size_t capacity, size_t maximum_depth);
void cjson_parser_free(cjson_parser *_Nullable parser);

// Parses one JSON text (RFC 8259, UTF-8) and allocates nothing. `offset` is set on failure.
cjson_code cjson_parser_parse(
    cjson_parser *_Nonnull parser, const uint8_t *_Nullable bytes, size_t count, cjson_document *_Nonnull document,
    int64_t *_Nonnull offset);

#ifdef __cplusplus
}
#endif
