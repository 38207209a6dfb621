#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// 4-bit scalar codes for scans: each component of a vector is one of 16 levels, offset + step * code, with an offset and a
// step for each component. Sixteen vectors make a block, in which one 64-byte line holds eight components of all of them:
// line l has components 8 l ..< 8 l + 4 in the lower halves of its bytes and 8 l + 4 ..< 8 l + 8 in the upper ones; byte
// 4 i + j belongs to vector i. So one instruction multiplies four components of sixteen vectors, and a scan reads half a
// byte a component, which is what limits it.

enum {
    BELFRY_SQ4_BLOCK = 16,  // vectors in a block
    BELFRY_SQ4_LINE = 64,   // bytes of a block's line: eight components
};

/// How components become codes.
typedef struct belfry_sq4_quantizer {
    size_t dimension;
    size_t line_count;      // lines of a block: dimension / 8, rounded up
    float *offsets;         // (line_count * 8): the level of code 0; 0 beyond the dimension
    float *steps;           // (line_count * 8): 0 beyond the dimension
} belfry_sq4_quantizer;

/// Chooses offsets and steps that keep the squared error of a sample low: 16 levels around each component's mean, with the width
/// that suits its distribution (for a normal one 2.5 deviations to either side, Max 1960).
/// - sample: (count, dimension), row-major.  - quantizer: with its dimension, line count and arrays.
void belfry_sq4_train(const float *sample, size_t count, belfry_sq4_quantizer *quantizer);

/// Encodes up to 16 vectors, less `origin` if that is not NULL, into one block; the rest of it becomes zeros.
/// - vectors: (count, dimension), row-major.  - block: line_count lines.
/// Returns the largest Euclidean norm of the difference between a vector and its code.
float belfry_sq4_encode(
    const belfry_sq4_quantizer *quantizer, const float *vectors, size_t count, const float *origin, uint8_t *block);

/// A query as the scan wants it: a score is offset + scale * (sum of weight * code).
typedef struct belfry_sq4_query {
    int8_t *weights;  // (line_count * 8), aligned to 64
    float scale;
    float offset;
    float rounding_deviation;  // standard deviation of a score's error that is due to the query's own rounding
    float certain_error;  // at most this much of a score's error is due to the query's own rounding;
                          // infinite where sums may overflow
} belfry_sq4_query;

/// Prepares a query whose inner product with the vectors, times `factor`, is wanted.
/// - vector: (dimension).  - query: with room for its weights.
void belfry_sq4_prepare(
    const belfry_sq4_quantizer *quantizer, const float *vector, float factor, belfry_sq4_query *query);

/// Codes that will be scanned later. Lists lie anywhere in memory; a scan asks for a block of these with each block of its own, so that
/// memory is always busy, and never with more requests than a core can have under way.
typedef struct belfry_sq4_ahead {
    const uint8_t *next, *end;  // what has not been asked for yet, aligned to 64
} belfry_sq4_ahead;

/// Asks for the next `bytes` of them, or what is left.
static inline void belfry_sq4_ask(belfry_sq4_ahead *ahead, size_t bytes) {
    const uint8_t *next = ahead->next;
    const uint8_t *end = (size_t)(ahead->end - next) < bytes ? ahead->end : next + bytes;
    for (; next < end; next += BELFRY_SQ4_LINE) __builtin_prefetch(next);
    ahead->next = end;
}

/// Scores vectors of consecutive blocks and appends those that reach a threshold.
/// - blocks: whole blocks, aligned to 64.  - count: vectors in them.
/// - base: added to every score.  - biases: (count), added to each vector's score, or NULL.
/// - first: the position of the first vector.  - ahead: asked for along the way, and moved on.
/// - scores, positions: room for count + 16. In the order of the positions; the rest of the room is overwritten.
/// Returns how many were appended. All instruction sets give the same bits.
typedef size_t (*belfry_sq4_scan)(
    const belfry_sq4_query *query, const uint8_t *blocks, size_t line_count, size_t count, float base,
    const float *biases, float threshold, uint32_t first, belfry_sq4_ahead *ahead, float *scores, uint32_t *positions);

/// The scan for an instruction set, which the machine must have.
belfry_sq4_scan belfry_sq4_scan_for(int instruction_set);

#ifdef __cplusplus
}
#endif
