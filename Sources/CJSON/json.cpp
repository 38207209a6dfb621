#include "CJSON.h"

#include <charconv>
#include <cmath>
#include <memory>
#include <new>

#include <simdjson.h>

#include "diagnose.h"

using simdjson::internal::tape_type;

static_assert(CJSON_PADDING >= simdjson::SIMDJSON_PADDING);
static_assert(CJSON_TAPE_OBJECT == int(tape_type::START_OBJECT) && CJSON_TAPE_ARRAY == int(tape_type::START_ARRAY));
static_assert(CJSON_TAPE_STRING == int(tape_type::STRING) && CJSON_TAPE_DOUBLE == int(tape_type::DOUBLE));
static_assert(CJSON_TAPE_SIGNED == int(tape_type::INT64) && CJSON_TAPE_UNSIGNED == int(tape_type::UINT64));
static_assert(CJSON_TAPE_TRUE == int(tape_type::TRUE_VALUE) && CJSON_TAPE_FALSE == int(tape_type::FALSE_VALUE));
static_assert(CJSON_TAPE_NULL == int(tape_type::NULL_VALUE));

struct cjson_parser {
    simdjson::dom::parser parser;
    size_t capacity;
    size_t maximum_depth;
    std::unique_ptr<char[]> stack;  // of the diagnosis

    explicit cjson_parser(size_t capacity, size_t maximum_depth)
        : parser(capacity), capacity(capacity), maximum_depth(maximum_depth) {}
};

cjson_parser *cjson_parser_new(size_t capacity, size_t maximum_depth) {
    // simdjson rounds smaller ones up by itself, and then allocates during the first parse.
    size_t allocated = capacity < 64 ? 64 : capacity;
    if (allocated > simdjson::SIMDJSON_MAXSIZE_BYTES) return nullptr;
    try {
        auto result = std::make_unique<cjson_parser>(allocated, maximum_depth);
        result->capacity = capacity;
        result->stack.reset(new char[maximum_depth]);
        // simdjson counts the document itself as one level.
        if (result->parser.allocate(allocated, maximum_depth + 1) != simdjson::SUCCESS) return nullptr;
        if (result->parser.doc.allocate(allocated) != simdjson::SUCCESS) return nullptr;
        return result.release();
    } catch (const std::bad_alloc &) {
        return nullptr;
    }
}

void cjson_parser_free(cjson_parser *parser) { delete parser; }

cjson_code cjson_parser_parse(
    cjson_parser *parser, const uint8_t *bytes, size_t count, cjson_document *document, int64_t *offset) {
    *offset = CJSON_UNKNOWN_OFFSET;
    if (count == 0) return CJSON_EMPTY;
    if (count > parser->capacity) return CJSON_TOO_LARGE;
    simdjson::error_code error = parser->parser.parse(bytes, count, false).error();
    if (error == simdjson::SUCCESS) {
        document->tape = parser->parser.doc.tape.get();
        document->strings = parser->parser.doc.string_buf.get();
        return CJSON_OK;
    }
    if (error == simdjson::MEMALLOC) return CJSON_OUT_OF_MEMORY;
    size_t fault = 0;
    cjson_code code = cjson_diagnose(bytes, count, parser->stack.get(), parser->maximum_depth, fault);
    if (code == CJSON_OK) return CJSON_MALFORMED;
    *offset = int64_t(fault);
    return code;
}

// Above 2^53 the exponent is always written: without it a long integer results, which readers (ours too) refuse from
// 2^64 on, and which some round.
size_t cjson_write_double(double value, char *out) {
    if (value == 0 && std::signbit(value)) {
        __builtin_memcpy(out, "-0.0", 4);
        return 4;
    }
    if (std::fabs(value) >= 9007199254740992.0) {
        return size_t(std::to_chars(out, out + CJSON_NUMBER_SPACE, value, std::chars_format::scientific).ptr - out);
    }
    return size_t(std::to_chars(out, out + CJSON_NUMBER_SPACE, value).ptr - out);
}
