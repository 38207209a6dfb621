#pragma once

#include <stddef.h>
#include <stdint.h>

#include "distances.h"

/// Item vectors in memory: (count, dimension), row-major float32.
typedef struct belfry_vectors {
    const float *values;
    size_t count;
    size_t dimension;
    const belfry_scorer *scorer;
} belfry_vectors;

/// A hierarchical navigable small-world graph in FAISS's arrays (Malkov and Yashunin, arXiv 1603.09320). Row i's links
/// of level l are neighbours[offsets[i] + level_ends[l] ..< offsets[i] + level_ends[l + 1]], ended by the first -1.
typedef struct belfry_graph {
    const int32_t *neighbours;
    const size_t *offsets;
    const int32_t *level_ends;
    int32_t entry_point;
    int32_t maximum_level;
} belfry_graph;

/// One inverted list: rows (size) and their vectors (size, dimension), row-major.
typedef struct belfry_list {
    const int64_t *rows;
    const float *vectors;
    size_t size;
} belfry_list;

/// An inverted file: a query is compared with the items of the lists whose centroids score best.
typedef struct belfry_lists {
    const belfry_list *lists;  // (count)
    size_t count;
    const float *centroids;    // (count, dimension), row-major
    size_t dimension;
    const belfry_scorer *centroid_scorer;
    const belfry_scorer *scorer;
} belfry_lists;

/// What a search writes, owned by one worker and reused. Nothing here is cleared per query. Hits are ranked by score, of
/// equal scores the lower row first; in the heaps a hit is one 64-bit number in that order.
typedef struct belfry_search_scratch {
    uint16_t *marks;          // (items): the epoch in which a row was last seen; zeros at first
    uint16_t epoch;           // 0 at first
    uint64_t *candidates;     // (items + 1): rows that are seen and not expanded, a heap with the best on top.
                              // A row is seen once, so it cannot overflow
    uint64_t *collected;      // (capacity): the best rows that are not excluded, a heap with the worst on top
    size_t capacity;          // at least max(ef, k), or the number of items if that is less
    uint32_t *links;          // (link_capacity): the links of one row that are not seen yet
    float *link_scores;       // (link_capacity)
    size_t link_capacity;     // at least the most links a row has on one level, and BELFRY_SCAN_BLOCK
    uint64_t *probes;         // (lists): a heap of lists by the scores of their centroids
    uint32_t *rows;           // (capacity): the result's rows, best first
    float *scores;            // (capacity): the result's scores
    size_t scored;            // how many items the last search scored
} belfry_search_scratch;

/// How many items a scan scores before it compares them.
enum { BELFRY_SCAN_BLOCK = 64 };

/// Greedy descent through the upper levels, then best-first search of level 0 that keeps the `ef` best rows that are not
/// excluded. Excluded rows are walked through and never collected.
/// - ef: at least k; both at most scratch->capacity.
/// - excluded: a bitmap of rows, bit i % 64 of word i / 64, or NULL.
/// Returns how many hits are in scratch->rows and scratch->scores: at most k.
size_t belfry_search_graph(
    const belfry_vectors *vectors, const belfry_graph *graph, const float *query, size_t k, size_t ef,
    const uint64_t *excluded, belfry_search_scratch *scratch);

/// Compares the query with every row that is not excluded.
size_t belfry_search_all(
    const belfry_vectors *vectors, const float *query, size_t k, const uint64_t *excluded,
    belfry_search_scratch *scratch);

/// Compares the query with the rows of the `nprobe` best lists that are not excluded; with nprobe = lists->count, all.
size_t belfry_search_lists(
    const belfry_lists *lists, const float *query, size_t k, size_t nprobe, const uint64_t *excluded,
    belfry_search_scratch *scratch);
