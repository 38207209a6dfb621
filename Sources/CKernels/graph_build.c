#include "graph_build.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "graph_walk.h"

#pragma clang fp contract(off)

// MARK: Links

static void lock_row(const belfry_growing_graph *g, uint32_t row) {
    // Held for as long as one row's links are chosen anew; the holder may have lost its core.
    for (unsigned tries = 1; __atomic_test_and_set(g->locks + row, __ATOMIC_ACQUIRE); tries++) {
        if (tries % 64 == 0) sched_yield();
    }
}

static void unlock_row(const belfry_growing_graph *g, uint32_t row) {
    __atomic_clear(g->locks + row, __ATOMIC_RELEASE);
}

static inline const float *vector_of(const belfry_vectors *vectors, uint32_t row) {
    return vectors->values + (size_t)row * vectors->dimension;
}

static inline uint32_t gap_between(uint32_t row, uint32_t other) {
    return row > other ? row - other : other - row;
}

// Chooses links of `owner` among hits in order: the nearest first, and none that is nearer to a chosen one than to the owner:
// such a one is found by way of the other. Of equal distances the gap between the rows' numbers decides, as in their
// order: a thousand equal items become a chain and not a thousand links to the same one. Returns how many are in `chosen`.
static size_t choose_links(
    const belfry_vectors *vectors, const hit_key *hits, size_t count, uint32_t owner, size_t limit, uint32_t *chosen) {
    enum { STRETCH = 8 };  // how many distances are reckoned before one looks at them
    size_t chosen_count = 0;
    for (size_t i = 0; i < count && chosen_count < limit; i++) {
        const uint32_t row = ranked_row(hits[i], owner);
        const float score = score_of(hits[i]);
        int is_nearer_to_another = 0;
        for (size_t j = 0; j < chosen_count && !is_nearer_to_another; j += STRETCH) {
            size_t size = chosen_count - j < STRETCH ? chosen_count - j : STRETCH;
            float scores[STRETCH];
            vectors->scorer->gathered(
                vector_of(vectors, row), vectors->values, vectors->dimension, chosen + j, size, scores);
            for (size_t s = 0; s < size; s++) {
                is_nearer_to_another |= scores[s] > score;
                is_nearer_to_another |=
                    scores[s] == score && gap_between(row, chosen[j + s]) < gap_between(row, owner);
            }
        }
        if (!is_nearer_to_another) chosen[chosen_count++] = row;
    }
    return chosen_count;
}

// Gives a row one more link. Where there is no room, its links are chosen anew.
static void add_link(
    const belfry_growing_graph *g, uint32_t row, uint32_t target, int32_t level, belfry_search_scratch *scratch) {
    int32_t *links = links_of(&g->graph, row, level);
    const size_t limit = link_limit_of(&g->graph, level);
    lock_row(g, row);
    size_t count = 0;
    int is_there = 0;
    for (; count < limit && links[count] >= 0; count++) {
        scratch->links[count] = (uint32_t)links[count];
        is_there |= (uint32_t)links[count] == target;
    }
    if (is_there) {
        // Two rows that are inserted at the same time may each find the other.
    } else if (count < limit) {
        __atomic_store_n(links + count, (int32_t)target, __ATOMIC_RELAXED);
    } else {
        scratch->links[count++] = target;
        const belfry_vectors *vectors = g->vectors;
        vectors->scorer->gathered(
            vector_of(vectors, row), vectors->values, vectors->dimension, scratch->links, count, scratch->link_scores);
        for (size_t i = 0; i < count; i++) {
            scratch->collected[i] = ranked_key(scratch->link_scores[i], scratch->links[i], row);
        }
        sort_hits(scratch->collected, count, scratch->spare);
        size_t chosen = choose_links(vectors, scratch->collected, count, row, limit, scratch->links);
        for (size_t i = 0; i < limit; i++) {
            __atomic_store_n(links + i, i < chosen ? (int32_t)scratch->links[i] : -1, __ATOMIC_RELAXED);
        }
    }
    unlock_row(g, row);
}

// MARK: Rows

// Scores what was collected by its vectors and puts it in order.
static void order_collected(const walk *w, size_t count, uint32_t owner, belfry_search_scratch *scratch) {
    for (size_t i = 0; i < count; i++) scratch->rows[i] = ranked_row(scratch->collected[i], owner);
    w->vectors->scorer->gathered(
        w->vector, w->vectors->values, w->vectors->dimension, scratch->rows, count, scratch->scores);
    for (size_t i = 0; i < count; i++) scratch->collected[i] = ranked_key(scratch->scores[i], scratch->rows[i], owner);
    sort_hits(scratch->collected, count, scratch->spare);
}

static void insert(const belfry_growing_graph *g, uint32_t row, belfry_search_scratch *scratch) {
    const walk w = walk_for(g->vectors, g->codes, vector_of(g->vectors, row), scratch);
    int32_t level = g->levels[row] - 1;
    if (level > g->graph.maximum_level) level = g->graph.maximum_level;
    hit_key start = descend(&w, &g->graph, level, row, scratch);
    for (; level >= 0; level--) {
        const uint16_t epoch = next_epoch(scratch, g->vectors->count);
        // Another thread may have linked to the row already, from a level above.
        scratch->marks[row] = epoch;
        scratch->marks[ranked_row(start, row)] = epoch;
        size_t frontier_count = 0, collected_count = 0;
        push(scratch->frontier, &frontier_count, ~start);
        push(scratch->collected, &collected_count, start);
        collected_count =
            widen(&w, &g->graph, level, row, g->ef_construction, NULL, 0, frontier_count, collected_count, scratch);
        for (size_t i = 0; i < collected_count; i++) {
            if (scratch->collected[i] > start) start = scratch->collected[i];
        }

        order_collected(&w, collected_count, row, scratch);
        const size_t limit = link_limit_of(&g->graph, level);
        uint32_t *chosen = scratch->candidate_positions;  // adding links writes all the rest
        size_t chosen_count = 0;
        if (collected_count < limit) {
            memcpy(chosen, scratch->rows, collected_count * sizeof *chosen);
            chosen_count = collected_count;
        } else {
            chosen_count = choose_links(g->vectors, scratch->collected, collected_count, row, limit, chosen);
        }
        for (size_t i = 0; i < chosen_count; i++) add_link(g, row, chosen[i], level, scratch);
        for (size_t i = 0; i < chosen_count; i++) add_link(g, chosen[i], row, level, scratch);
    }
}

// MARK: Threads

typedef struct growth {
    const belfry_growing_graph *graph;
    const uint32_t *order;
    size_t count;
    size_t taken;     // rows that a thread has begun or ended
    size_t inserted;  // rows that are in
    int is_ended;     // by the caller
} growth;

typedef struct grower {
    growth *growth;
    belfry_search_scratch *scratch;
    pthread_t thread;
} grower;

// Inserts the next row; 0 if there is none.
static int insert_next(growth *shared, belfry_search_scratch *scratch) {
    if (__atomic_load_n(&shared->is_ended, __ATOMIC_RELAXED)) return 0;
    size_t place = __atomic_fetch_add(&shared->taken, 1, __ATOMIC_RELAXED);
    if (place >= shared->count) return 0;
    insert(shared->graph, shared->order[place], scratch);
    __atomic_fetch_add(&shared->inserted, 1, __ATOMIC_RELEASE);
    return 1;
}

static void *grow(void *argument) {
    grower *self = argument;
    while (insert_next(self->growth, self->scratch)) {
    }
    return NULL;
}

int belfry_grow_graph(
    const belfry_growing_graph *graph, const uint32_t *order, size_t count, belfry_search_scratch *const *scratches,
    size_t threads, size_t step, belfry_growth_progress progress, void *context) {
    // The first rows are inserted one by one: each must find those before it, or the graph begins in pieces.
    enum { ALONE = 1024 };
    growth shared = {.graph = graph, .order = order, .count = count};
    grower *others = threads > 1 ? calloc(threads - 1, sizeof *others) : NULL;
    if (threads > 1 && !others) return ENOMEM;
    size_t started = 0, reported = 0;
    int error = 0, is_inserting = 1;
    while (is_inserting && error == 0) {
        is_inserting = insert_next(&shared, scratches[0]);
        while (error == 0 && started + 1 < threads && __atomic_load_n(&shared.taken, __ATOMIC_RELAXED) >= ALONE) {
            others[started] = (grower){&shared, scratches[started + 1], 0};
            error = pthread_create(&others[started].thread, NULL, grow, &others[started]);
            started += error == 0;
        }
        size_t inserted = __atomic_load_n(&shared.inserted, __ATOMIC_ACQUIRE);
        if (progress && inserted / step > reported / step && inserted < count) {
            reported = inserted;
            if (progress(context, inserted) != 0) error = ECANCELED;
        }
    }
    if (error != 0) __atomic_store_n(&shared.is_ended, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < started; i++) pthread_join(others[i].thread, NULL);
    free(others);
    if (error == 0 && progress && progress(context, count) != 0) error = ECANCELED;
    return error;
}
