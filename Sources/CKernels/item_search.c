#include "item_search.h"

#include <string.h>

// MARK: Hits in order

// A hit is one number: the score's bits, changed so that they are in order as an integer, above the complement of the
// row. So the better of two hits is the greater number: the higher score, of equal ones the lower row. No two rows are
// equal, hence a result never depends on the order in which a search met its rows; and a heap compares in one
// instruction. Scores are never -0 (distances.h); NaN, which finite vectors give only where their products overflow, has a
// place in the order like any number.
typedef uint64_t hit_key;

static inline hit_key key_of(float score, uint32_t row) {
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | (uint32_t)~row;
}

static inline uint32_t row_of(hit_key hit) {
    return ~(uint32_t)hit;
}

static inline float score_of(hit_key hit) {
    uint32_t bits = (uint32_t)(hit >> 32);
    bits = bits >> 31 ? bits & 0x7FFFFFFFu : ~bits;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

static inline int is_excluded(const uint64_t *excluded, uint32_t row) {
    return excluded && (excluded[row >> 6] >> (row & 63) & 1);
}

// MARK: Heaps

// Binary heaps with the least number on top: the worst of the collected hits. A heap with the best on top holds the
// complements.

static inline void push(hit_key *heap, size_t *count, hit_key hit) {
    size_t i = (*count)++;
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (hit >= heap[parent]) break;
        heap[i] = heap[parent];
        i = parent;
    }
    heap[i] = hit;
}

// Puts `hit` where the top was and restores the heap of `count`.
static inline void replace_top(hit_key *heap, size_t count, hit_key hit) {
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= count) break;
        // Which child is less cannot be predicted, so it is added and not branched on.
        if (child + 1 < count) child += heap[child + 1] < heap[child];
        if (heap[child] >= hit) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = hit;
}

static inline hit_key pop(hit_key *heap, size_t *count) {
    hit_key top = heap[0];
    size_t left = --(*count);
    if (left > 0) replace_top(heap, left, heap[left]);
    return top;
}

// Offers a hit to a heap of the best `limit`.
static inline void offer(hit_key *heap, size_t *count, size_t limit, hit_key hit) {
    if (*count < limit) {
        push(heap, count, hit);
    } else if (hit > heap[0]) {
        replace_top(heap, *count, hit);
    }
}

// Moves the best k of the collected hits to the result, best first.
static size_t finish(belfry_search_scratch *scratch, size_t count, size_t k) {
    while (count > k) pop(scratch->collected, &count);
    size_t found = count;
    while (count > 0) {
        hit_key hit = pop(scratch->collected, &count);
        scratch->rows[count] = row_of(hit);
        scratch->scores[count] = score_of(hit);
    }
    return found;
}

// MARK: Graph

// Begins a query's marks. The 16-bit epoch comes round after 65,535 queries, and only then are the marks cleared.
static uint16_t next_epoch(belfry_search_scratch *scratch, size_t items) {
    if (++scratch->epoch == 0) {
        memset(scratch->marks, 0, items * sizeof *scratch->marks);
        scratch->epoch = 1;
    }
    return scratch->epoch;
}

// Asks for the lines that hold a row's links of level 0. Without it a walk spends most of its time waiting for them.
static inline void prefetch_links(const belfry_graph *graph, uint32_t row) {
    const int32_t *links = graph->neighbours + graph->offsets[row];
    // A line has 16 links, and the last link need not stand in a line of its own.
    for (int32_t link = 0; link < graph->level_ends[1]; link += 16) __builtin_prefetch(links + link);
    __builtin_prefetch(links + graph->level_ends[1] - 1);
}

// Moves to the best link until none is better than where it stands, level by level down to level 1.
static hit_key descend(
    const belfry_vectors *vectors, const belfry_graph *graph, const float *query, belfry_search_scratch *scratch) {
    size_t entry = (size_t)graph->entry_point;
    float entry_score = vectors->scorer->one(query, vectors->values + entry * vectors->dimension, vectors->dimension);
    hit_key here = key_of(entry_score, (uint32_t)entry);
    scratch->scored++;
    for (int32_t level = graph->maximum_level; level > 0; level--) {
        for (;;) {
            uint32_t from = row_of(here);
            const int32_t *links = graph->neighbours + graph->offsets[from] + graph->level_ends[level];
            size_t limit = (size_t)(graph->level_ends[level + 1] - graph->level_ends[level]);
            size_t count = 0;
            for (; count < limit && links[count] >= 0; count++) scratch->links[count] = (uint32_t)links[count];
            vectors->scorer->gathered(
                query, vectors->values, vectors->dimension, scratch->links, count, scratch->link_scores);
            scratch->scored += count;
            for (size_t i = 0; i < count; i++) {
                hit_key link = key_of(scratch->link_scores[i], scratch->links[i]);
                if (link > here) here = link;
            }
            if (row_of(here) == from) break;
        }
    }
    return here;
}

size_t belfry_search_graph(
    const belfry_vectors *vectors, const belfry_graph *graph, const float *query, size_t k, size_t ef,
    const uint64_t *excluded, belfry_search_scratch *scratch) {
    scratch->scored = 0;
    if (graph->entry_point < 0 || k == 0) return 0;

    hit_key *candidates = scratch->candidates, *collected = scratch->collected;
    uint16_t *marks = scratch->marks;
    const uint16_t epoch = next_epoch(scratch, vectors->count);
    const int32_t *neighbours = graph->neighbours;
    const size_t *offsets = graph->offsets;
    const size_t link_limit = (size_t)graph->level_ends[1];
    size_t candidate_count = 0, collected_count = 0;

    hit_key start = descend(vectors, graph, query, scratch);
    marks[row_of(start)] = epoch;
    push(candidates, &candidate_count, ~start);
    if (!is_excluded(excluded, row_of(start))) push(collected, &collected_count, start);

    while (candidate_count > 0) {
        hit_key candidate = ~pop(candidates, &candidate_count);
        // The order is total, so a plateau of equal scores (a query of zeros) ends the search like any other.
        if (collected_count == ef && collected[0] > candidate) break;
        // Unless a link turns out to be better, the best candidate left is the next to be expanded.
        if (candidate_count > 0) prefetch_links(graph, row_of(~candidates[0]));

        const int32_t *links = neighbours + offsets[row_of(candidate)];
        size_t link_count = 0;
        for (; link_count < link_limit && links[link_count] >= 0; link_count++) {
            __builtin_prefetch(marks + links[link_count], 1);
        }
        size_t fresh = 0;
        for (size_t i = 0; i < link_count; i++) {
            uint32_t row = (uint32_t)links[i];
            if (marks[row] == epoch) continue;
            marks[row] = epoch;
            scratch->links[fresh++] = row;
            __builtin_prefetch(offsets + row);
        }
        vectors->scorer->gathered(
            query, vectors->values, vectors->dimension, scratch->links, fresh, scratch->link_scores);
        scratch->scored += fresh;

        for (size_t i = 0; i < fresh; i++) {
            hit_key link = key_of(scratch->link_scores[i], scratch->links[i]);
            if (collected_count == ef && link < collected[0]) continue;
            push(candidates, &candidate_count, ~link);
            if (candidates[0] == ~link) prefetch_links(graph, scratch->links[i]);
            if (!is_excluded(excluded, scratch->links[i])) offer(collected, &collected_count, ef, link);
        }
    }
    return finish(scratch, collected_count, k);
}

// MARK: Scans

size_t belfry_search_all(
    const belfry_vectors *vectors, const float *query, size_t k, const uint64_t *excluded,
    belfry_search_scratch *scratch) {
    hit_key *collected = scratch->collected;
    size_t collected_count = 0;
    scratch->scored = 0;
    if (k == 0) return 0;
    // A block is a word of the bitmap, so that excluded stretches are passed over 64 rows at a time.
    for (size_t start = 0; start < vectors->count; start += BELFRY_SCAN_BLOCK) {
        size_t size = vectors->count - start < BELFRY_SCAN_BLOCK ? vectors->count - start : BELFRY_SCAN_BLOCK;
        uint64_t all = size == 64 ? ~0ull : (1ull << size) - 1;
        uint64_t eligible = excluded ? ~excluded[start >> 6] & all : all;
        if (eligible == 0) continue;
        if (eligible == all) {
            vectors->scorer->block(
                query, vectors->values + start * vectors->dimension, vectors->dimension, size, scratch->link_scores);
            scratch->scored += size;
            for (size_t i = 0; i < size; i++) {
                offer(collected, &collected_count, k, key_of(scratch->link_scores[i], (uint32_t)(start + i)));
            }
            continue;
        }
        size_t count = 0;
        for (; eligible != 0; eligible &= eligible - 1) {
            scratch->links[count++] = (uint32_t)start + (uint32_t)__builtin_ctzll(eligible);
        }
        vectors->scorer->gathered(
            query, vectors->values, vectors->dimension, scratch->links, count, scratch->link_scores);
        scratch->scored += count;
        for (size_t i = 0; i < count; i++) {
            offer(collected, &collected_count, k, key_of(scratch->link_scores[i], scratch->links[i]));
        }
    }
    return finish(scratch, collected_count, k);
}

size_t belfry_search_lists(
    const belfry_lists *lists, const float *query, size_t k, size_t nprobe, const uint64_t *excluded,
    belfry_search_scratch *scratch) {
    scratch->scored = 0;
    if (k == 0) return 0;

    // The best lists, in a heap with the worst on top.
    size_t probe_count = 0;
    for (size_t start = 0; start < lists->count; start += BELFRY_SCAN_BLOCK) {
        size_t size = lists->count - start < BELFRY_SCAN_BLOCK ? lists->count - start : BELFRY_SCAN_BLOCK;
        lists->centroid_scorer->block(
            query, lists->centroids + start * lists->dimension, lists->dimension, size, scratch->link_scores);
        for (size_t i = 0; i < size; i++) {
            offer(scratch->probes, &probe_count, nprobe, key_of(scratch->link_scores[i], (uint32_t)(start + i)));
        }
    }

    size_t collected_count = 0;
    for (size_t probe = 0; probe < probe_count; probe++) {
        const belfry_list *list = &lists->lists[row_of(scratch->probes[probe])];
        for (size_t start = 0; start < list->size; start += BELFRY_SCAN_BLOCK) {
            size_t size = list->size - start < BELFRY_SCAN_BLOCK ? list->size - start : BELFRY_SCAN_BLOCK;
            lists->scorer->block(
                query, list->vectors + start * lists->dimension, lists->dimension, size, scratch->link_scores);
            scratch->scored += size;
            for (size_t i = 0; i < size; i++) {
                uint32_t row = (uint32_t)list->rows[start + i];
                if (is_excluded(excluded, row)) continue;
                offer(scratch->collected, &collected_count, k, key_of(scratch->link_scores[i], row));
            }
        }
    }
    return finish(scratch, collected_count, k);
}
