#pragma once

// Walks through a graph, shared by searching and building it: a private header.

#include "candidates.h"

// Begins a walk's marks. The 16-bit epoch comes round after 65,535 walks, and only then are the marks cleared.
static inline uint16_t next_epoch(belfry_search_scratch *scratch, size_t items) {
    if (++scratch->epoch == 0) {
        memset(scratch->marks, 0, items * sizeof *scratch->marks);
        scratch->epoch = 1;
    }
    return scratch->epoch;
}

// While a graph is built, other threads change links; a plain load on every machine there is.
static inline int32_t link_at(const int32_t *links, size_t slot) {
    return __atomic_load_n(links + slot, __ATOMIC_RELAXED);
}

static inline int32_t *links_of(const belfry_graph *graph, uint32_t row, int32_t level) {
    const size_t room = (size_t)graph->level_ends[1];
    if (level == 0) return graph->links + row * room;
    return graph->upper_links + (graph->offsets[row] - row * room) + ((size_t)graph->level_ends[level] - room);
}

static inline size_t link_limit_of(const belfry_graph *graph, int32_t level) {
    return (size_t)(graph->level_ends[level + 1] - (level > 0 ? graph->level_ends[level] : 0));
}

// Asks for the lines that hold a row's links. Without it a walk spends most of its time waiting for them.
static inline void prefetch_links(const belfry_graph *graph, uint32_t row, int32_t level) {
    const int32_t *links = links_of(graph, row, level);
    const size_t limit = link_limit_of(graph, level);
    // A line has 16 links, and the last link need not stand in a line of its own.
    for (size_t link = 0; link < limit; link += 16) __builtin_prefetch(links + link);
    __builtin_prefetch(links + limit - 1);
}

// For whom hits are put in order: the row that is being inserted, or nobody.
enum { FOR_A_QUERY = -1 };

// Where scores tie, the lower row ranks first; for a row that is inserted, the one with the nearest number. So items with equal
// vectors become neighbours along their numbers, where otherwise all would link to the same few of them.
static inline hit_key ranked_key(float score, uint32_t row, int64_t owner) {
    if (owner == FOR_A_QUERY) return key_of(score, row);
    int32_t apart = (int32_t)(row - (uint32_t)owner);
    return key_of(score, (uint32_t)apart << 1 ^ (uint32_t)(apart >> 31));
}

static inline uint32_t ranked_row(hit_key hit, int64_t owner) {
    if (owner == FOR_A_QUERY) return row_of(hit);
    uint32_t place = row_of(hit);
    return (uint32_t)owner + (place >> 1 ^ -(place & 1));
}

// By what a walk compares: codes, or the vectors themselves where codes are too coarse.
typedef struct walk {
    const belfry_vectors *vectors;
    const float *vector;
    const belfry_row_codes *codes;  // NULL for vectors
    belfry_sq8_query query;
} walk;

static inline walk walk_for(
    const belfry_vectors *vectors, const belfry_row_codes *codes, const float *query, belfry_search_scratch *scratch) {
    walk w = {.vectors = vectors, .vector = query, .codes = codes, .query = {.weights = scratch->weights}};
    if (codes) belfry_sq8_prepare(&codes->quantizer, query, factor_of(vectors->metric), &w.query);
    if (codes && !isfinite(w.query.certain_error)) w.codes = NULL;
    return w;
}

static inline void score_links(const walk *w, const uint32_t *links, size_t count, float *scores) {
    if (w->codes) {
        w->codes->scorer->gathered(
            &w->query, w->codes->codes, w->codes->quantizer.stride, w->codes->biases, links, count, scores);
    } else {
        w->vectors->scorer->gathered(
            w->vector, w->vectors->values, w->vectors->dimension, links, count, scores);
    }
}

// Moves to the best link until none is better than where it stands, level by level down to the one above `last`.
static inline hit_key descend(
    const walk *w, const belfry_graph *graph, int32_t last, int64_t owner, belfry_search_scratch *scratch) {
    uint32_t entry = (uint32_t)graph->entry_point;
    float entry_score;
    score_links(w, &entry, 1, &entry_score);
    hit_key here = ranked_key(entry_score, entry, owner);
    scratch->scored++;
    for (int32_t level = graph->maximum_level; level > last; level--) {
        for (;;) {
            uint32_t from = ranked_row(here, owner);
            const int32_t *links = links_of(graph, from, level);
            const size_t limit = link_limit_of(graph, level);
            size_t count = 0;
            for (; count < limit; count++) {
                int32_t link = link_at(links, count);
                if (link < 0) break;
                scratch->links[count] = (uint32_t)link;
            }
            score_links(w, scratch->links, count, scratch->link_scores);
            scratch->scored += count;
            for (size_t i = 0; i < count; i++) {
                hit_key link = ranked_key(scratch->link_scores[i], scratch->links[i], owner);
                if (link > here) {
                    here = link;
                    // Its links cannot be asked for before it is known where they are.
                    __builtin_prefetch(graph->offsets + scratch->links[i]);
                }
            }
            if (ranked_row(here, owner) == from) break;
        }
    }
    return here;
}

// Whether the best row that is left to expand could lead to better ones than are kept. The order is total, so a plateau of equal
// scores (a query of zeros) ends a search like any other.
static inline int is_promising(
    const hit_key *frontier, size_t frontier_count, const hit_key *collected, size_t collected_count, size_t ef) {
    return frontier_count > 0 && (collected_count < ef || collected[0] <= ~frontier[0]);
}

// Adds a row's links that the walk has not seen to the `count` in `listed`, marks them and asks for what they are compared by.
// Returns how many are listed.
static inline size_t list_new(
    const int32_t *links, size_t limit, uint16_t *marks, uint16_t epoch, const char *walked, size_t stride,
    uint32_t *listed, size_t count) {
    size_t end = count;
    for (size_t slot = 0; slot < limit; slot++) {
        int32_t link = link_at(links, slot);
        if (link < 0) break;
        listed[end++] = (uint32_t)link;
        __builtin_prefetch(marks + link, 1);
    }
    for (size_t i = count; i < end; i++) {
        // Whether a row is new cannot be predicted, so it is added and not branched on; a row that is not new has been asked for
        // already.
        uint32_t row = listed[i];
        listed[count] = row;
        count += marks[row] != epoch;
        marks[row] = epoch;
        __builtin_prefetch(walked + row * stride);
    }
    return count;
}

// Best-first search of one level: keeps the `ef` best eligible rows that it meets, in a heap in `collected` with the worst on
// top. Where it begins is marked and in both heaps. Returns how many rows are kept.
//
// Each turn lists the new links of the two rows that the last turn chose, puts in order what the last turn scored, chooses the rows
// of the next turn and scores what it listed. So codes come while scores are put in order, and links while rows are scored; only
// marks are waited for where they are asked for. That rows are chosen two at a time, and before the last are scored, costs two
// hundredths more rows than one at a time after they are.
static inline size_t widen(
    const walk *w, const belfry_graph *graph, int32_t level, int64_t owner, size_t ef, const uint64_t *eligible,
    uint64_t deadline, size_t frontier_count, size_t collected_count, belfry_search_scratch *scratch) {
    const char *walked = w->codes ? (const char *)w->codes->codes : (const char *)w->vectors->values;
    const size_t stride = w->codes ? w->codes->quantizer.stride : w->vectors->dimension * sizeof(float);
    hit_key *frontier = scratch->frontier, *collected = scratch->collected;
    uint16_t *marks = scratch->marks;
    const uint16_t epoch = scratch->epoch;
    const size_t link_limit = link_limit_of(graph, level);
    size_t turns = 0;
    float bound = -INFINITY;  // once ef rows are kept, the score of the worst
    enum { NOTHING = -1 };
    int64_t first = NOTHING, second = NOTHING;  // the rows that the last turn chose
    uint32_t *listed = scratch->links, *scored = listed + 2 * link_limit;
    size_t scored_count = 0;

    for (;;) {
        size_t listed_count = 0;
        if (first != NOTHING) {
            listed_count = list_new(links_of(graph, (uint32_t)first, level), link_limit, marks, epoch, walked, stride, listed, 0);
        }
        if (second != NOTHING) {
            listed_count = list_new(
                links_of(graph, (uint32_t)second, level), link_limit, marks, epoch, walked, stride, listed, listed_count);
        }

        for (size_t i = 0; i < scored_count; i++) {
            // Most fall short, which is seen by the score alone.
            if (scratch->link_scores[i] < bound) continue;
            hit_key link = ranked_key(scratch->link_scores[i], scored[i], owner);
            if (collected_count == ef && link < collected[0]) continue;
            push(frontier, &frontier_count, ~link);
            if (is_eligible(eligible, scored[i])) offer(collected, &collected_count, ef, link);
            if (collected_count == ef) bound = score_of(collected[0]);
        }

        first = second = NOTHING;
        if (is_promising(frontier, frontier_count, collected, collected_count, ef)) {
            first = ranked_row(~pop(frontier, &frontier_count), owner);
            prefetch_links(graph, (uint32_t)first, level);
            if (is_promising(frontier, frontier_count, collected, collected_count, ef)) {
                second = ranked_row(~pop(frontier, &frontier_count), owner);
                prefetch_links(graph, (uint32_t)second, level);
            }
        }
        if (first == NOTHING && listed_count == 0) break;
        // The clock is looked at every eight turns, after 16 rows. All that is scored is in order then.
        if ((++turns & 7) == 0 && is_over(scratch, deadline)) {
            scratch->is_complete = 0;
            break;
        }

        score_links(w, listed, listed_count, scratch->link_scores);
        scratch->scored += listed_count;
        uint32_t *swapped = listed;
        listed = scored;
        scored = swapped;
        scored_count = listed_count;
    }
    return collected_count;
}
