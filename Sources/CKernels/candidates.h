#pragma once

// What the searches of graphs and of scans share: a private header.

#include <math.h>
#include <time.h>

#include "hits.h"
#include "item_search.h"

#pragma clang fp contract(off)

static inline uint64_t monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// MARK: The clock

// How many rows a scan by codes compares before it looks at the clock: some 20 microseconds' worth.
enum { ROWS_PER_LOOK = 8192 };

// What looks at the clock now and then: whether the deadline has passed, or others are to be let through.
typedef struct watch {
    belfry_search_scratch *scratch;
    uint64_t deadline;  // 0 is never
    size_t unlooked;    // rows since it last looked
} watch;

// Whether the deadline has passed. Before that others are let through.
static inline int is_over(belfry_search_scratch *scratch, uint64_t deadline) {
    if (scratch->yield) scratch->yield(scratch->yield_context);
    return deadline != 0 && monotonic_nanoseconds() >= deadline;
}

// The same, after so many more rows were scanned. A search that is over is not complete.
static inline int is_over_after(watch *w, size_t rows) {
    w->unlooked += rows;
    if (w->unlooked < ROWS_PER_LOOK) return 0;
    w->unlooked = 0;
    if (!is_over(w->scratch, w->deadline)) return 0;
    w->scratch->is_complete = 0;
    return 1;
}

// MARK: Candidates

// What may be among the k best, by scores that are not exact. Appended to as a scan goes; from time to time the k-th best
// score so far is looked for, and what falls short of it by more than `margin` is dropped. Where too many are left, an exact
// search settles them: scores them by their vectors and remembers the best k. Another keeps the better ones.
typedef struct candidates {
    const belfry_vectors *vectors;
    const uint32_t *rows;  // by position; NULL if each position is its row
    const float *query;
    float *scores;
    uint32_t *positions;
    size_t count, capacity;
    size_t k;
    size_t limit;  // at this count they are looked through
    float bound;   // at least k of them are known to reach it
    float margin;  // how far below the bound one may lie and still be among the best
    float reach_limit;  // less than that once there was no room for all of them
    size_t settled_above;  // an exact search settles more than these; 0 for another
    watch *watch;
    hit_key *settled;  // a heap of the best k that were settled
    size_t settled_count;
    size_t rescored;  // how many were settled
} candidates;

// A scan appends at most this many at a time, and the vector stores behind them.
enum { APPENDED_MAX = 256, STORE_SLACK = 16 };

// How many candidates are scored by their vectors before the clock is looked at: 12 microseconds' worth at 64 dimensions.
enum { SCORED_PER_LOOK = 1024 };

static inline candidates no_candidates(
    const belfry_vectors *vectors, const uint32_t *rows, const float *query, size_t k, float margin, watch *w) {
    belfry_search_scratch *scratch = w->scratch;
    size_t first = 2 * k < 512 ? 512 : 2 * k;
    size_t room = scratch->candidate_capacity - APPENDED_MAX - STORE_SLACK;
    return (candidates){
        .vectors = vectors, .rows = rows, .query = query, .scores = scratch->candidate_scores,
        .positions = scratch->candidate_positions, .capacity = room, .k = k, .limit = first < room ? first : room,
        .bound = -INFINITY, .margin = margin, .reach_limit = INFINITY, .watch = w, .settled = scratch->collected};
}

static inline void drop_below(candidates *c, float threshold) {
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        c->scores[kept] = c->scores[i];
        c->positions[kept] = c->positions[i];
        kept += !(c->scores[i] < threshold);
    }
    c->count = kept;
}

// Scores candidates by their vectors.
static inline void score_by_vectors(candidates *c, size_t first, size_t count) {
    const belfry_vectors *vectors = c->vectors;
    vectors->scorer->gathered(
        c->query, vectors->values, vectors->dimension, c->positions + first, count, c->scores + first);
    c->rescored += count;
}

static inline hit_key hit_of(const candidates *c, size_t i) {
    uint32_t position = c->positions[i];
    return key_of(c->scores[i], c->rows ? c->rows[position] : position);
}

// Scores the candidates by their vectors and remembers the best k of them, and of those settled before. The bound is then a k-th
// best score itself, and not the least that it may be. Where the deadline passes, the others are left out, and the scan behind
// this ends at its next look.
static inline void settle(candidates *c) {
    for (size_t first = 0; first < c->count; first += SCORED_PER_LOOK) {
        if (first > 0 && is_over(c->watch->scratch, c->watch->deadline)) {
            c->watch->scratch->is_complete = 0;
            break;
        }
        size_t size = c->count - first < SCORED_PER_LOOK ? c->count - first : SCORED_PER_LOOK;
        score_by_vectors(c, first, size);
        for (size_t i = first; i < first + size; i++) offer(c->settled, &c->settled_count, c->k, hit_of(c, i));
    }
    c->count = 0;
    if (c->settled_count == c->k && score_of(c->settled[0]) > c->bound) c->bound = score_of(c->settled[0]);
}

// Keeps the better candidates where there is no room for all within the margin, and narrows the margin.
static inline void narrow(candidates *c) {
    size_t most = c->capacity / 2 < c->k ? c->k : c->capacity / 2;
    if (c->count <= most) return;
    float least = score_of_rank(c->scores, c->count, most);
    drop_below(c, least);
    if (c->count > most + most / 4) c->count = most;
    c->reach_limit = c->bound - least > 0 ? c->bound - least : 0;
}

static inline void look_through(candidates *c) {
    if (c->count >= c->k) {
        float bound = score_of_rank(c->scores, c->count, c->k);
        if (bound > c->bound) c->bound = bound;
    }
    if (c->count >= c->k || c->settled_count > 0) {
        drop_below(c, c->bound - (c->margin < c->reach_limit ? c->margin : c->reach_limit));
    }
    if (c->settled_above == 0) {
        narrow(c);
    } else if (c->count > c->settled_above) {
        settle(c);
    }
    size_t more = c->count < 256 ? 256 : c->count;
    c->limit = c->count + more < c->capacity ? c->count + more : c->capacity;
}

static inline void append(candidates *c, float score, uint32_t position) {
    c->scores[c->count] = score;
    c->positions[c->count++] = position;
}

// Takes the rows that are not eligible out of what was appended since `before`.
static inline void drop_ineligible(candidates *c, size_t before, const uint32_t *rows, const uint64_t *eligible) {
    size_t kept = before;
    for (size_t i = before; i < c->count; i++) {
        uint32_t position = c->positions[i];
        c->scores[kept] = c->scores[i];
        c->positions[kept] = position;
        kept += (size_t)is_eligible(eligible, rows ? rows[position] : position);
    }
    c->count = kept;
}

// Sorts what is collected and moves the best k to the result.
static inline size_t emit(size_t collected_count, size_t k, belfry_search_scratch *scratch) {
    sort_hits(scratch->collected, collected_count, scratch->spare);
    size_t found = collected_count < k ? collected_count : k;
    for (size_t i = 0; i < found; i++) {
        scratch->rows[i] = row_of(scratch->collected[i]);
        scratch->scores[i] = score_of(scratch->collected[i]);
    }
    return found;
}

// Of the candidates from `first` on, keeps the k that are best by scores that are not exact, and an eighth more or so. Returns
// whether others were dropped.
static inline int keep_likely(candidates *c, size_t first) {
    const size_t most = first + c->k + c->k / 8 + 8;
    if (c->count <= most) return 0;
    float least = score_of_rank(c->scores + first, c->count - first, c->k);
    size_t kept = first;
    // More than that reach it only where scores tie.
    for (size_t i = first; i < c->count && kept < most; i++) {
        c->scores[kept] = c->scores[i];
        c->positions[kept] = c->positions[i];
        kept += c->scores[i] >= least;
    }
    c->count = kept;
    return 1;
}

// Scores the candidates by their vectors and moves the best k, of them and of those that were settled, to the result, best
// first. Once the deadline has passed there is time for k more, about, and no more.
static inline size_t finish(candidates *c) {
    belfry_search_scratch *scratch = c->watch->scratch;
    int is_late = 0;
    for (size_t first = 0, size; first < c->count; first += size) {
        if (c->count - first > SCORED_PER_LOOK && is_over(scratch, c->watch->deadline) && !is_late) {
            is_late = 1;
            if (keep_likely(c, first)) scratch->is_complete = 0;
        }
        size = c->count - first < SCORED_PER_LOOK ? c->count - first : SCORED_PER_LOOK;
        score_by_vectors(c, first, size);
    }
    scratch->rescored = c->rescored;
    if (c->count > 2 * c->k + 64) drop_below(c, score_of_rank(c->scores, c->count, c->k));
    // More than there is room for only if more than that tie with the k-th.
    if (c->settled_count == 0 && c->count <= scratch->capacity) {
        for (size_t i = 0; i < c->count; i++) c->settled[i] = hit_of(c, i);
        c->settled_count = c->count;
    } else {
        for (size_t i = 0; i < c->count; i++) offer(c->settled, &c->settled_count, c->k, hit_of(c, i));
    }
    return emit(c->settled_count, c->k, scratch);
}

static inline float norm_of(const float *query, size_t dimension) {
    double squares = 0;
    for (size_t i = 0; i < dimension; i++) squares += (double)query[i] * query[i];
    return (float)sqrt(squares);
}

// The factor of the inner product in a score, and what is the same for all items: the inner product itself, or
// 2 q.x - |q|^2 (and - |x|^2, an item's bias).
static inline float factor_of(int metric) {
    return metric == BELFRY_SQUARED_L2 ? 2.0f : 1.0f;
}

static inline float constant_of(int metric, const float *query, size_t dimension) {
    if (metric != BELFRY_SQUARED_L2) return 0;
    float norm = norm_of(query, dimension);
    return -norm * norm;
}
