#pragma once

#include "item_search.h"

#ifdef __cplusplus
extern "C" {
#endif

/// A graph that rows are being inserted into (Malkov and Yashunin, arXiv 1603.09320, algorithms 1 and 4).
/// Levels are drawn, all links are -1, and the entry point is a row of the highest level that counts as inserted.
typedef struct belfry_growing_graph {
    const belfry_vectors *vectors;
    const belfry_row_codes *codes;  // by which walks compare; NULL for the vectors themselves
    belfry_graph graph;
    const int32_t *levels;          // (count): how many levels the row is on, at least 1
    size_t ef_construction;         // among how many of the nearest a row's links are chosen
    uint8_t *locks;                 // (count): zeros
} belfry_growing_graph;

/// Called with how many rows are inserted by now; a result other than 0 ends the building.
typedef int (*belfry_growth_progress)(void *context, size_t inserted);

/// Inserts rows in the given order, of which no later one is on more levels than one before it.
///
/// With one thread the result depends on the arguments alone; with more, also on who comes first. Links are chosen by the
/// vectors, nearest first, each nearer to the new row than to every other chosen (the "heuristic" of algorithm 4), and back
/// links are thinned out by the same rule where a row has no room, as FAISS does it. Rows whose
/// walks met nothing have no links.
/// - order: (count) rows; all others must be inserted or stay out.
/// - scratches: one for each thread, with link_capacity as for a search of a graph whose rows have one link more, and capacity for
///   ef_construction.
/// - progress: called by the calling thread after each `step` of rows and at the end; or NULL.
/// Returns 0, ECANCELED if `progress` ended it, or why a thread could not be started.
int belfry_grow_graph(
    const belfry_growing_graph *graph, const uint32_t *order, size_t count, belfry_search_scratch *const *scratches,
    size_t threads, size_t step, belfry_growth_progress progress, void *context);

#ifdef __cplusplus
}
#endif
