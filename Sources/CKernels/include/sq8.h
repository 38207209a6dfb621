#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// 8-bit scalar codes for graph walks: one row of codes per vector, in whole lines of 64 bytes, so that a vector of 64
// components is one line. A component is offset + step * code, with an offset and a step for each component.

/// How components become codes.
typedef struct belfry_sq8_quantizer {
    size_t dimension;
    size_t stride;          // bytes of a row: the dimension, rounded up to a multiple of 64
    float *offsets;         // (dimension)
    float *steps;           // (dimension)
} belfry_sq8_quantizer;

/// Chooses offsets and steps so that the codes reach from the least to the greatest of each component.
/// - vectors: (count, dimension), row-major.
void belfry_sq8_train(const float *vectors, size_t count, belfry_sq8_quantizer *quantizer);

/// Encodes vectors into rows of codes; what is beyond the dimension becomes zeros.
/// - vectors: (count, dimension), row-major.  - codes: (count, stride).
/// Returns the largest Euclidean norm of the difference between a vector and its code.
float belfry_sq8_encode(
    const belfry_sq8_quantizer *quantizer, const float *vectors, size_t count, uint8_t *codes);

/// A query as the walk wants it: a score is offset + scale * (sum of weight * code).
typedef struct belfry_sq8_query {
    int8_t *weights;  // (stride), aligned to 64; zeros beyond the dimension
    float scale;
    float offset;
    float deviation;      // standard deviation of a score's error, if errors of components are independent
    float certain_error;  // at most this much of a score's error is due to the query's own rounding;
                          // infinite where sums may overflow
} belfry_sq8_query;

/// Prepares a query whose inner product with the vectors, times `factor`, is wanted.
void belfry_sq8_prepare(
    const belfry_sq8_quantizer *quantizer, const float *vector, float factor, belfry_sq8_query *query);

/// Scores of rows of codes. All instruction sets give the same bits.
typedef struct belfry_sq8_scorer {
    /// The scores of rows codes + ids[i] * stride. - biases: by row, added to its score, or NULL. - ids, scores: (count).
    void (*gathered)(
        const belfry_sq8_query *query, const uint8_t *codes, size_t stride, const float *biases, const uint32_t *ids,
        size_t count, float *scores);
    /// The scores of rows that follow each other. - codes: (count, stride). - scores: (count).
    void (*block)(
        const belfry_sq8_query *query, const uint8_t *codes, size_t stride, const float *biases, size_t count,
        float *scores);
} belfry_sq8_scorer;

/// The scorer for an instruction set, which the machine must have.
const belfry_sq8_scorer *belfry_sq8_scorer_for(int instruction_set);

#ifdef __cplusplus
}
#endif
