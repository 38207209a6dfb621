#include "graph_walk.h"

#pragma clang fp contract(off)

size_t belfry_search_graph(
    const belfry_vectors *vectors, const belfry_row_codes *codes, const belfry_graph *graph, const float *query, size_t k,
    size_t ef, const uint64_t *eligible, uint64_t deadline, belfry_search_scratch *scratch) {
    scratch->scored = 0;
    scratch->rescored = 0;
    scratch->is_complete = 1;
    if (graph->entry_point < 0 || k == 0) return 0;

    const walk w = walk_for(vectors, codes, query, scratch);
    const uint16_t epoch = next_epoch(scratch, vectors->count);
    hit_key *frontier = scratch->frontier, *collected = scratch->collected;
    size_t frontier_count = 0, collected_count = 0;

    hit_key start = descend(&w, graph, 0, FOR_A_QUERY, scratch);
    scratch->marks[row_of(start)] = epoch;
    push(frontier, &frontier_count, ~start);
    if (is_eligible(eligible, row_of(start))) push(collected, &collected_count, start);
    // The entry point as well, from which every row can be reached (`check` sees to it): links lead one way, and the descent
    // may end where few of them lead on.
    uint32_t entry = (uint32_t)graph->entry_point;
    if (scratch->marks[entry] != epoch) {
        float entry_score;
        score_links(&w, &entry, 1, &entry_score);
        scratch->marks[entry] = epoch;
        push(frontier, &frontier_count, ~key_of(entry_score, entry));
        if (is_eligible(eligible, entry)) offer(collected, &collected_count, ef, key_of(entry_score, entry));
    }
    collected_count = widen(&w, graph, 0, FOR_A_QUERY, ef, eligible, deadline, frontier_count, collected_count, scratch);

    watch clock = {.scratch = scratch, .deadline = deadline};
    candidates c = no_candidates(vectors, NULL, query, k, w.codes ? 5 * w.query.deviation : 0, &clock);
    for (size_t i = 0; i < collected_count; i++) append(&c, score_of(collected[i]), row_of(collected[i]));
    look_through(&c);
    return finish(&c);
}
