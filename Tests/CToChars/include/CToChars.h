#pragma once

// The standard library's shortest decimals, to hold our own to.

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Writes up to 64 bytes and returns how many: what std::to_chars writes, but with an exponent from 2^53 on.
size_t belfry_standard_float_text(float value, char *_Nonnull out);

// What comparing found.
typedef struct {
    uint64_t compared;
    uint64_t differing;
    uint32_t first;  // the bits of the first float whose texts differ
} belfry_float_comparison;

// Writes floats with `write` and with the above, and compares the texts.
// The floats have the bits start ..< start + count or, with a seed other than 0, drawn ones; NaN and infinity are left out.
belfry_float_comparison belfry_compare_floats(
    uint64_t start, uint64_t count, uint64_t seed, size_t (*_Nonnull write)(float, char *_Nonnull));

#ifdef __cplusplus
}
#endif
