#pragma once

// Hits in order: a private header of the searches.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// A hit is one number: the score's bits, changed so that they are in order as an integer, above the complement of the
// row. So the better of two hits is the greater number: the higher score, of equal ones the lower row. No two rows are
// equal, hence a result never depends on the order in which a search met its rows; and a heap compares in one
// instruction. Scores are never -0 (distances.h); NaN, which finite vectors give only where their products overflow, has a
// place in the order like any number.
typedef uint64_t hit_key;

static inline uint32_t ordered_bits(float score) {
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static inline float score_of_bits(uint32_t bits) {
    bits = bits >> 31 ? bits & 0x7FFFFFFFu : ~bits;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

static inline hit_key key_of(float score, uint32_t row) {
    return (uint64_t)ordered_bits(score) << 32 | (uint32_t)~row;
}

static inline uint32_t row_of(hit_key hit) {
    return ~(uint32_t)hit;
}

static inline float score_of(hit_key hit) {
    return score_of_bits((uint32_t)(hit >> 32));
}

static inline int is_eligible(const uint64_t *eligible, uint32_t row) {
    return !eligible || (eligible[row >> 6] >> (row & 63) & 1);
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

// What takes the top's place comes from the bottom, and nearly always goes back there. So the lesser children move up all the way,
// with no comparison whose outcome could surprise, and it rises from where they end.
static inline hit_key pop(hit_key *heap, size_t *count) {
    hit_key top = heap[0];
    size_t left = --(*count), i = 0, child = 1;
    for (; child + 1 < left; child = 2 * i + 1) {
        child += heap[child + 1] < heap[child];
        heap[i] = heap[child];
        i = child;
    }
    if (child < left) {
        heap[i] = heap[child];
        i = child;
    }
    push(heap, &i, heap[left]);
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

// MARK: Sorting

// Puts hits in order of one byte, the greatest first, keeping the order of those that are equal in it.
static inline void sort_by_byte(const hit_key *from, hit_key *to, size_t count, int shift, const uint32_t counts[256]) {
    uint32_t places[256], place = 0;
    for (int value = 255; value >= 0; value--) {
        places[value] = place;
        place += counts[value];
    }
    for (size_t i = 0; i < count; i++) to[places[from[i] >> shift & 255]++] = from[i];
}

// Sorts hits by the bytes from `shift` on, least significant first: a few nanoseconds a hit, however they lie.
static inline void sort_by_bytes(hit_key *hits, size_t count, hit_key *spare, int shift) {
    hit_key *from = hits, *to = spare;
    for (; shift < 64; shift += 8) {
        uint32_t counts[256] = {0};
        for (size_t i = 0; i < count; i++) counts[from[i] >> shift & 255]++;
        if (counts[from[0] >> shift & 255] == count) continue;
        sort_by_byte(from, to, count, shift, counts);
        hit_key *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != hits) memcpy(hits, from, count * sizeof *hits);
}

static inline void insert_in_order(hit_key *hits, size_t count) {
    for (size_t i = 1; i < count; i++) {
        hit_key hit = hits[i];
        size_t j = i;
        for (; j > 0 && hits[j - 1] < hit; j--) hits[j] = hits[j - 1];
        hits[j] = hit;
    }
}

// Sorts hits, best first. `spare` is as long as `hits`.
static inline void sort_hits(hit_key *hits, size_t count, hit_key *spare) {
    if (count >= 48) {
        sort_by_bytes(hits, count, spare, 32);
        // What ties in its score is still to be put in order of its rows. Ties are few, or there is a plateau.
        size_t tied = 0, longest = 0;
        for (size_t i = 1; i < count; i++) {
            tied = hits[i] >> 32 == hits[i - 1] >> 32 ? tied + 1 : 0;
            longest = tied > longest ? tied : longest;
        }
        if (longest > 32) {
            sort_by_bytes(hits, count, spare, 0);
            return;
        }
    }
    insert_in_order(hits, count);
}

// A score that at least k of the `count` scores (k <= count) reach, and not many more than k.
static inline float score_of_rank(const float *scores, size_t count, size_t k) {
    uint32_t least = UINT32_MAX, greatest = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = ordered_bits(scores[i]);
        least = bits < least ? bits : least;
        greatest = bits > greatest ? bits : greatest;
    }
    size_t above = 0;
    for (;;) {
        if (least == greatest) return score_of_bits(least);
        int width = 32 - __builtin_clz(greatest - least);
        int shift = width > 9 ? width - 9 : 0;
        uint32_t counts[512] = {0};
        for (size_t i = 0; i < count; i++) {
            uint32_t bits = ordered_bits(scores[i]);
            if (bits >= least && bits <= greatest) counts[(bits - least) >> shift]++;
        }
        uint32_t bin = (greatest - least) >> shift;
        for (; above + counts[bin] < k; bin--) above += counts[bin];
        uint32_t lower = least + (bin << shift);
        if (shift == 0 || above + counts[bin] <= k + k / 8 + 8) return score_of_bits(lower);
        uint32_t upper = lower + ((1u << shift) - 1);
        greatest = upper < greatest ? upper : greatest;
        least = lower;
    }
}
