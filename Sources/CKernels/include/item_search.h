#pragma once

#include <stddef.h>
#include <stdint.h>

#include "distances.h"
#include "sq4.h"
#include "sq8.h"

#ifdef __cplusplus
extern "C" {
#endif

// Searches for the items whose scores with a query are highest. All of them look at compact codes first and score what may be
// among the best again by its vector, so that every score in a result is the vectors' own, whichever way it was found.
// Hits are ranked by score, of equal scores the lower row first.

/// Item vectors in memory: (count, dimension), row-major float32.
typedef struct belfry_vectors {
    const float *values;
    size_t count;
    size_t dimension;
    const belfry_scorer *scorer;
    int metric;  // belfry_metric
} belfry_vectors;

/// 8-bit codes of vectors, by row.
typedef struct belfry_row_codes {
    const uint8_t *codes;         // (count, stride)
    belfry_sq8_quantizer quantizer;
    const belfry_sq8_scorer *scorer;
    const float *biases;          // (count): minus the squared norms for squared distances; NULL for inner products
    float largest_bias;           // the greatest magnitude among them; 0 without
    const float *errors;          // (count / BELFRY_SCAN_BLOCK, rounded up): largest norm of vector minus code
} belfry_row_codes;

/// A hierarchical navigable small-world graph (Malkov and Yashunin, arXiv 1603.09320), as FAISS has it but for where the links
/// of level 0 are: a walk that knows a row knows their address. A row's links of a level are ended by the first -1.
typedef struct belfry_graph {
    int32_t *links;             // (count, level_ends[1]): level 0, by row; written only while the graph is built
    int32_t *upper_links;       // the other levels', one row after the other, each with what its levels have room for
    const size_t *offsets;      // (count + 1): FAISS's: how much room rows before it have on all levels
    const int32_t *level_ends;  // how much room a row has on this level and those below
    int32_t entry_point;
    int32_t maximum_level;
} belfry_graph;

/// Copies the links of rows `first ..< end` out of FAISS's array, where a row's levels stand together.
void belfry_copy_links_from(const int32_t *neighbours, const belfry_graph *graph, size_t first, size_t end);

/// Copies all rows' links into FAISS's array.
void belfry_copy_links_to(int32_t *neighbours, const belfry_graph *graph, size_t count);

/// Consecutive positions whose codes are scanned together: an inverted list, or a stretch of a flat index.
typedef struct belfry_run {
    uint32_t first;  // position of its first vector
    uint32_t size;
    uint32_t block;  // number of its first block of codes
    float error;     // largest norm of vector minus code
    float deviation; // usual error of a score by codes, for a query of norm 1
    float largest_bias; // the greatest magnitude among its vectors' biases; 0 without
} belfry_run;

/// Vectors and their 4-bit codes in runs. A vector stands at a position, which is its row unless `rows` says otherwise.
typedef struct belfry_runs {
    belfry_vectors vectors;              // by position
    const belfry_run *runs;              // (run_count)
    size_t run_count;
    const uint8_t *codes;                // blocks
    belfry_sq4_quantizer quantizer;
    belfry_sq4_scan scan;
    const float *biases;                 // by position: |centroid|^2 - |vector|^2 for squared distances; else NULL
    const uint32_t *rows;                // by position; NULL if each position is its row
    const uint32_t *positions;           // by row; NULL likewise
    const struct belfry_runs *centroids; // one vector for each run, from which its codes are differences; NULL if
                                         // the codes are of the vectors themselves
    int has_own_centroid_metric;         // the centroids are compared by another metric than the vectors
} belfry_runs;

/// What a search writes, owned by one worker and reused. Nothing here is cleared per query.
typedef struct belfry_search_scratch {
    uint16_t *marks;          // (items): the epoch in which a row was last seen; zeros at first
    uint16_t epoch;           // 0 at first
    uint64_t *frontier;       // (items + 1): rows that are seen and not expanded, a heap with the best on top.
                              // A row is seen once, so it cannot overflow
    uint32_t *links;          // (link_capacity): the new links of two rows, and those of the two before them
    float *link_scores;       // (link_capacity)
    size_t link_capacity;     // at least four times the most links a row has on one level, and BELFRY_SCAN_BLOCK
    int8_t *weights;          // (weight_capacity), aligned to 64: the query of codes
    float *candidate_scores;        // (candidate_capacity): what may be among the best, by its codes
    uint32_t *candidate_positions;  // (candidate_capacity)
    size_t candidate_capacity;      // at least belfry_search_candidates(max(ef, k, nprobe), items)
    uint64_t *collected;      // (capacity): hits, as one number each
    uint64_t *spare;          // (capacity): for sorting them
    size_t capacity;          // at least 2 * max(ef, k, nprobe) + 64
    uint32_t *probes;         // (run_count): runs to be scanned, best first
    float *probe_scores;      // (run_count)
    uint32_t *rows;           // (capacity): the result's rows, best first
    float *scores;            // (capacity): the result's scores
    size_t scored;            // how many items the last search compared with the query
    size_t rescored;          // how many of them by their vectors
    int is_complete;          // 0 if the deadline cut the search short
    void (*yield)(void *context);  // called every 20 us or so of a search, which goes on when it returns; NULL for none
    void *yield_context;
} belfry_search_scratch;

/// How many items an exact scan scores before it compares them.
enum { BELFRY_SCAN_BLOCK = 64 };

/// How many candidates a scratch needs room for, in searches that keep up to `kept` of so many items.
size_t belfry_search_candidates(size_t kept, size_t items);

/// Greedy descent through the upper levels, then best-first search of level 0 that keeps the `ef` best rows that are
/// eligible. Other rows are walked through and never collected.
/// - codes: NULL to walk by the vectors themselves.
/// - ef: at least k.
/// - eligible: a bitmap of rows, bit i % 64 of word i / 64; NULL if all are.
/// - deadline: CLOCK_MONOTONIC in nanoseconds, when the search ends with what it has; 0 is never.
/// Returns how many hits are in scratch->rows and scratch->scores: at most k.
size_t belfry_search_graph(
    const belfry_vectors *vectors, const belfry_row_codes *codes, const belfry_graph *graph, const float *query, size_t k,
    size_t ef, const uint64_t *eligible, uint64_t deadline, belfry_search_scratch *scratch);

/// As `belfry_search_likely`, over the `nprobe` runs whose centroids score best.
size_t belfry_search_lists(
    const belfry_runs *runs, const float *query, size_t k, size_t nprobe, const uint64_t *eligible, uint64_t deadline,
    belfry_search_scratch *scratch);

/// Measures how far scores by codes are off: for each run, with eight of its own vectors as queries, the root mean square of
/// score by codes minus score, for a query of norm 1, the greatest of the eight; a quarter more, and up
/// to twice that where it comes near the spread of the scores themselves. Errors need not lie in all directions alike (in runs that hold clumps of
/// items they do not), so it is measured and not reckoned from their size.
/// - runs: as `structure->runs`, to be written.  - scratch: as for a search.
void belfry_measure_runs(const belfry_runs *structure, belfry_run *runs, belfry_search_scratch *scratch);

/// Scans all runs; scores again whatever would be among the best with its own score too low by the usual error and the k-th
/// best's too high by as much. Of a recall of 0.99 over a million items that loses about 0.0003; over small lists of few
/// degrees of freedom 0.02 was seen.
size_t belfry_search_likely(const belfry_runs *runs, const float *query, size_t k, belfry_search_scratch *scratch);

/// Finds exactly the best of all eligible rows: whatever the codes' error does not exclude is scored again.
size_t belfry_search_all_runs(
    const belfry_runs *runs, const float *query, size_t k, const uint64_t *eligible, uint64_t deadline,
    belfry_search_scratch *scratch);

/// As `belfry_search_all_runs`, over 8-bit codes by row; NULL for none.
size_t belfry_search_all_rows(
    const belfry_vectors *vectors, const belfry_row_codes *codes, const float *query, size_t k, const uint64_t *eligible,
    uint64_t deadline, belfry_search_scratch *scratch);

/// Scores every eligible row by its vector: for few of them.
/// - positions: by row; NULL if each row is its position.
size_t belfry_search_eligible(
    const belfry_vectors *vectors, const uint32_t *positions, const float *query, size_t k, const uint64_t *eligible,
    uint64_t deadline, belfry_search_scratch *scratch);

#ifdef __cplusplus
}
#endif
