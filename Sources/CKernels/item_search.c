#include "item_search.h"

#include <string.h>

// MARK: Hits in order

// The total order behind every heap and every result: no two rows are equal, so a result never depends on the order in
// which a search met its rows.
static inline int is_better(belfry_hit a, belfry_hit b) {
    return a.score > b.score || (a.score == b.score && a.row < b.row);
}

static inline int is_excluded(const uint64_t *excluded, uint32_t row) {
    return excluded && (excluded[row >> 6] >> (row & 63) & 1);
}

// MARK: Heaps

// Binary heaps over arrays of 8-byte hits. `worst_first` is a constant in every call, so each use compiles to its own
// comparison.

static inline int goes_above(belfry_hit a, belfry_hit b, int worst_first) {
    return worst_first ? is_better(b, a) : is_better(a, b);
}

static inline void push(belfry_hit *heap, size_t *count, belfry_hit hit, int worst_first) {
    size_t i = (*count)++;
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!goes_above(hit, heap[parent], worst_first)) break;
        heap[i] = heap[parent];
        i = parent;
    }
    heap[i] = hit;
}

// Puts `hit` where the top was and restores the heap of `count`.
static inline void replace_top(belfry_hit *heap, size_t count, belfry_hit hit, int worst_first) {
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= count) break;
        if (child + 1 < count && goes_above(heap[child + 1], heap[child], worst_first)) child++;
        if (!goes_above(heap[child], hit, worst_first)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = hit;
}

static inline belfry_hit pop(belfry_hit *heap, size_t *count, int worst_first) {
    belfry_hit top = heap[0];
    size_t left = --(*count);
    if (left > 0) replace_top(heap, left, heap[left], worst_first);
    return top;
}

// Offers a hit to a heap of the best `limit`, worst on top.
static inline void offer(belfry_hit *heap, size_t *count, size_t limit, belfry_hit hit) {
    if (*count < limit) {
        push(heap, count, hit, 1);
    } else if (is_better(hit, heap[0])) {
        replace_top(heap, *count, hit, 1);
    }
}

// Moves the best k of the collected hits to the result, best first.
static size_t finish(belfry_search_scratch *scratch, size_t count, size_t k) {
    while (count > k) pop(scratch->collected, &count, 1);
    size_t found = count;
    while (count > 0) {
        belfry_hit hit = pop(scratch->collected, &count, 1);
        scratch->rows[count] = hit.row;
        scratch->scores[count] = hit.score;
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

// Moves to the best link until none is better than where it stands, level by level down to level 1.
static belfry_hit descend(
    const belfry_vectors *vectors, const belfry_graph *graph, const float *query, belfry_search_scratch *scratch) {
    belfry_hit here = {0, (uint32_t)graph->entry_point};
    here.score = vectors->scorer->one(query, vectors->values + here.row * vectors->dimension, vectors->dimension);
    scratch->scored++;
    for (int32_t level = graph->maximum_level; level > 0; level--) {
        for (;;) {
            uint32_t from = here.row;
            const int32_t *links = graph->neighbours + graph->offsets[from] + graph->level_ends[level];
            size_t limit = (size_t)(graph->level_ends[level + 1] - graph->level_ends[level]);
            size_t count = 0;
            for (; count < limit && links[count] >= 0; count++) scratch->links[count] = (uint32_t)links[count];
            vectors->scorer->gathered(
                query, vectors->values, vectors->dimension, scratch->links, count, scratch->link_scores);
            scratch->scored += count;
            for (size_t i = 0; i < count; i++) {
                belfry_hit link = {scratch->link_scores[i], scratch->links[i]};
                if (is_better(link, here)) here = link;
            }
            if (here.row == from) break;
        }
    }
    return here;
}

size_t belfry_search_graph(
    const belfry_vectors *vectors, const belfry_graph *graph, const float *query, size_t k, size_t ef,
    const uint64_t *excluded, belfry_search_scratch *scratch) {
    scratch->scored = 0;
    if (graph->entry_point < 0 || k == 0) return 0;

    belfry_hit *candidates = scratch->candidates, *collected = scratch->collected;
    uint16_t *marks = scratch->marks;
    const uint16_t epoch = next_epoch(scratch, vectors->count);
    const int32_t *neighbours = graph->neighbours;
    const size_t *offsets = graph->offsets;
    const size_t link_limit = (size_t)graph->level_ends[1];
    size_t candidate_count = 0, collected_count = 0;

    belfry_hit start = descend(vectors, graph, query, scratch);
    marks[start.row] = epoch;
    push(candidates, &candidate_count, start, 0);
    if (!is_excluded(excluded, start.row)) push(collected, &collected_count, start, 1);

    while (candidate_count > 0) {
        belfry_hit candidate = pop(candidates, &candidate_count, 0);
        // The order is total, so a plateau of equal scores (a query of zeros) ends the search like any other.
        if (collected_count == ef && is_better(collected[0], candidate)) break;
        // The best candidate left is most often the next to be expanded.
        if (candidate_count > 0) __builtin_prefetch(neighbours + offsets[candidates[0].row]);

        const int32_t *links = neighbours + offsets[candidate.row];
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
        }
        vectors->scorer->gathered(
            query, vectors->values, vectors->dimension, scratch->links, fresh, scratch->link_scores);
        scratch->scored += fresh;

        for (size_t i = 0; i < fresh; i++) {
            belfry_hit link = {scratch->link_scores[i], scratch->links[i]};
            if (collected_count == ef && !is_better(link, collected[0])) continue;
            push(candidates, &candidate_count, link, 0);
            if (!is_excluded(excluded, link.row)) offer(collected, &collected_count, ef, link);
        }
    }
    return finish(scratch, collected_count, k);
}

// MARK: Scans

size_t belfry_search_all(
    const belfry_vectors *vectors, const float *query, size_t k, const uint64_t *excluded,
    belfry_search_scratch *scratch) {
    belfry_hit *collected = scratch->collected;
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
                belfry_hit hit = {scratch->link_scores[i], (uint32_t)(start + i)};
                offer(collected, &collected_count, k, hit);
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
            belfry_hit hit = {scratch->link_scores[i], scratch->links[i]};
            offer(collected, &collected_count, k, hit);
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
            belfry_hit list = {scratch->link_scores[i], (uint32_t)(start + i)};
            offer(scratch->probes, &probe_count, nprobe, list);
        }
    }

    size_t collected_count = 0;
    for (size_t probe = 0; probe < probe_count; probe++) {
        const belfry_list *list = &lists->lists[scratch->probes[probe].row];
        for (size_t start = 0; start < list->size; start += BELFRY_SCAN_BLOCK) {
            size_t size = list->size - start < BELFRY_SCAN_BLOCK ? list->size - start : BELFRY_SCAN_BLOCK;
            lists->scorer->block(
                query, list->vectors + start * lists->dimension, lists->dimension, size, scratch->link_scores);
            scratch->scored += size;
            for (size_t i = 0; i < size; i++) {
                belfry_hit hit = {scratch->link_scores[i], (uint32_t)list->rows[start + i]};
                if (!is_excluded(excluded, hit.row)) offer(scratch->collected, &collected_count, k, hit);
            }
        }
    }
    return finish(scratch, collected_count, k);
}
