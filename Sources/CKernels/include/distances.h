#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// How an item's score follows from its vector and the query's. A higher score is better under either.
enum belfry_metric {
    BELFRY_INNER_PRODUCT = 0,  // the inner product
    BELFRY_SQUARED_L2 = 1,     // minus the squared Euclidean distance
};

/// The instruction sets that the scores are compiled for.
enum belfry_instruction_set {
    BELFRY_PORTABLE = 0,
    BELFRY_AVX2 = 1,    // AVX2 with FMA
    BELFRY_AVX512 = 2,  // AVX-512 F
};

/// Whether this machine has an instruction set.
int belfry_has_instruction_set(int instruction_set);

/// Whether it has the integer part of AVX-512 as well (BW, VL and VNNI), which codes are scored with; without it they are
/// scored with AVX2.
int belfry_has_integer_avx512(void);

/// The best one this machine has.
int belfry_best_instruction_set(void);

/// Scores of rows of float32 vectors. One (query, row) pair has the same bits from any of the three functions of a
/// scorer: each row has its own sum over 16 lanes, and the lanes are added in one fixed order. A score of 0 is +0, never
/// -0.
typedef struct belfry_scorer {
    /// The score of one row. - query, row: (dimension).
    float (*one)(const float *query, const float *row, size_t dimension);
    /// The scores of rows base + ids[i] * dimension. - ids, scores: (count).
    void (*gathered)(
        const float *query, const float *base, size_t dimension, const uint32_t *ids, size_t count, float *scores);
    /// The scores of rows that follow each other. - rows: (count, dimension), row-major. - scores: (count).
    void (*block)(const float *query, const float *rows, size_t dimension, size_t count, float *scores);
} belfry_scorer;

/// The scorer of a metric for one instruction set, which the machine must have.
const belfry_scorer *belfry_scorer_for(int metric, int instruction_set);

#ifdef __cplusplus
}
#endif
