#include "item_search.h"

#include "candidates.h"

#pragma clang fp contract(off)

size_t belfry_search_candidates(size_t kept, size_t items) {
    size_t usual = 4 * kept + 4096;
    return usual > items / 4 ? usual : items / 4;
}

// MARK: Scans

// How many runs ahead of the scan codes are asked for.
enum { RUNS_AHEAD = 2 };

static inline belfry_sq4_ahead codes_of(const belfry_runs *runs, const belfry_run *run) {
    const size_t block_size = runs->quantizer.line_count * BELFRY_SQ4_LINE;
    const uint8_t *codes = runs->codes + run->block * block_size;
    return (belfry_sq4_ahead){codes, codes + (run->size + BELFRY_SQ4_BLOCK - 1) / BELFRY_SQ4_BLOCK * block_size};
}

// A millionth of what a score by codes is added to is more than the sum's rounding.
static inline float rounding_of(float base, float largest_bias) {
    return 1e-6f * (fabsf(base) + largest_bias);
}

// How far a run's scores by codes may be off: for certain, or usually.
typedef struct doubt {
    int is_certain;
    float norm;    // of the query, times the factor of the inner product
    float always;  // from the query's own rounding
} doubt;

static doubt doubt_of(const belfry_runs *runs, const belfry_sq4_query *query, const float *vector, int is_certain) {
    const belfry_vectors *vectors = &runs->vectors;
    float norm = factor_of(vectors->metric) * norm_of(vector, vectors->dimension);
    return (doubt){is_certain, norm, is_certain ? query->certain_error : query->rounding_deviation};
}

// Appends a run's vectors that may be among the best, with the least that their scores may be; those whose greatest possible
// score reaches the bound are kept. Asks for the codes of a run that comes later, if that is not NULL. Returns whether the deadline
// passed.
static inline int scan_run(
    const belfry_runs *runs, const belfry_run *run, const belfry_run *later, const belfry_sq4_query *query, float base,
    doubt d, const uint64_t *eligible, candidates *c, watch *w) {
    const size_t block_size = runs->quantizer.line_count * BELFRY_SQ4_LINE;
    const float off = d.norm * (d.is_certain ? run->error : run->deviation) + d.always
        + rounding_of(base, run->largest_bias);
    if (2 * off > c->margin) c->margin = 2 * off;
    belfry_sq4_ahead ahead = later ? codes_of(runs, later) : (belfry_sq4_ahead){NULL, NULL};
    for (uint32_t start = 0; start < run->size; start += APPENDED_MAX) {
        uint32_t size = run->size - start < APPENDED_MAX ? run->size - start : APPENDED_MAX;
        uint32_t first = run->first + start;
        size_t before = c->count;
        float reach = 2 * off < c->reach_limit ? 2 * off : c->reach_limit;
        c->count += runs->scan(
            query, runs->codes + (run->block + start / BELFRY_SQ4_BLOCK) * block_size, runs->quantizer.line_count, size,
            base - off, runs->biases ? runs->biases + first : NULL, c->bound - reach, first, &ahead, c->scores + before,
            c->positions + before);
        if (eligible) drop_ineligible(c, before, runs->rows, eligible);
        if (c->count >= c->limit) look_through(c);
        w->scratch->scored += size;
        if (is_over_after(w, size)) return 1;
    }
    // Of a much longer run the processor finds the rest by itself.
    belfry_sq4_ask(&ahead, 4096);
    return 0;
}

// The vectors of all runs.
static void scan_all(
    const belfry_runs *runs, const belfry_sq4_query *query, const float *vector, const uint64_t *eligible, doubt d,
    candidates *c, watch *w) {
    const belfry_vectors *vectors = &runs->vectors;
    const float constant = constant_of(vectors->metric, vector, vectors->dimension);
    for (size_t number = 0; number < runs->run_count; number++) {
        const belfry_run *run = &runs->runs[number];
        float base = constant;
        const belfry_run *later = NULL;
        if (runs->centroids) {
            const belfry_vectors *centroids = &runs->centroids->vectors;
            base = vectors->scorer->one(vector, centroids->values + number * vectors->dimension, vectors->dimension);
            if (number + RUNS_AHEAD < runs->run_count) later = run + RUNS_AHEAD;
        } else if (eligible && run->size <= 64 && eligible[run->first >> 6] == 0) {
            // A flat index's runs are the words of the bitmap. They may all be empty.
            if (is_over_after(w, run->size)) return;
            continue;
        }
        if (scan_run(runs, run, later, query, base, d, eligible, c, w)) return;
    }
}

// Every eligible vector by itself, without codes.
static size_t search_vectors(
    const belfry_vectors *vectors, const uint32_t *rows, const float *query, size_t k, const uint64_t *eligible,
    uint64_t deadline, belfry_search_scratch *scratch) {
    hit_key *collected = scratch->collected;
    size_t collected_count = 0;
    for (size_t start = 0; start < vectors->count; start += BELFRY_SCAN_BLOCK) {
        size_t size = vectors->count - start < BELFRY_SCAN_BLOCK ? vectors->count - start : BELFRY_SCAN_BLOCK;
        vectors->scorer->block(
            query, vectors->values + start * vectors->dimension, vectors->dimension, size, scratch->link_scores);
        scratch->scored += size;
        for (size_t i = 0; i < size; i++) {
            uint32_t row = rows ? rows[start + i] : (uint32_t)(start + i);
            if (!is_eligible(eligible, row)) continue;
            offer(collected, &collected_count, k, key_of(scratch->link_scores[i], row));
        }
        if ((start / BELFRY_SCAN_BLOCK & 15) == 15 && is_over(scratch, deadline)) {
            scratch->is_complete = 0;
            break;
        }
    }
    return emit(collected_count, k, scratch);
}

static belfry_sq4_query prepared(const belfry_runs *runs, const float *query, belfry_search_scratch *scratch) {
    belfry_sq4_query result = {.weights = scratch->weights};
    belfry_sq4_prepare(&runs->quantizer, query, factor_of(runs->vectors.metric), &result);
    return result;
}

size_t belfry_search_all_runs(
    const belfry_runs *runs, const float *query, size_t k, const uint64_t *eligible, uint64_t deadline,
    belfry_search_scratch *scratch) {
    scratch->scored = 0;
    scratch->rescored = 0;
    scratch->is_complete = 1;
    if (k == 0) return 0;
    const belfry_vectors *vectors = &runs->vectors;
    belfry_sq4_query coded = prepared(runs, query, scratch);
    float largest = 0;
    for (size_t number = 0; number < runs->run_count; number++) {
        largest = runs->runs[number].error > largest ? runs->runs[number].error : largest;
    }
    float error = factor_of(vectors->metric) * norm_of(query, vectors->dimension) * largest + coded.certain_error;
    if (isfinite(error) && k < vectors->count / 8) {
        watch w = {.scratch = scratch, .deadline = deadline};
        candidates c = no_candidates(vectors, runs->rows, query, k, 0, &w);
        c.settled_above = 2 * k + 1024;
        scan_all(runs, &coded, query, eligible, doubt_of(runs, &coded, query, 1), &c, &w);
        look_through(&c);
        return finish(&c);
    }
    return search_vectors(vectors, runs->rows, query, k, eligible, deadline, scratch);
}

void belfry_measure_runs(const belfry_runs *structure, belfry_run *runs, belfry_search_scratch *scratch) {
    const belfry_vectors *vectors = &structure->vectors;
    const size_t dimension = vectors->dimension;
    const size_t block_size = structure->quantizer.line_count * BELFRY_SQ4_LINE;
    for (size_t number = 0; number < structure->run_count; number++) {
        belfry_run *run = &runs[number];
        double greatest = 0;
        for (uint32_t sample = 0; sample < 8 && sample < run->size; sample++) {
            const float *query = vectors->values + (run->first + (run->size - 1) * sample / 7) * dimension;
            belfry_sq4_query coded = prepared(structure, query, scratch);
            float norm = factor_of(vectors->metric) * norm_of(query, dimension);
            if (!(norm > 0)) continue;
            float base = constant_of(vectors->metric, query, dimension);
            if (structure->centroids) {
                base = vectors->scorer->one(
                    query, structure->centroids->vectors.values + number * dimension, dimension);
            }
            uint32_t size = run->size < APPENDED_MAX ? run->size : APPENDED_MAX;
            belfry_sq4_ahead nothing = {NULL, NULL};
            size_t found = structure->scan(
                &coded, structure->codes + run->block * block_size, structure->quantizer.line_count, size, base,
                structure->biases ? structure->biases + run->first : NULL, -INFINITY, run->first,
                &nothing, scratch->candidate_scores, scratch->candidate_positions);
            double squares = 0, sum = 0, sum_of_squares = 0;
            for (size_t i = 0; i < found; i++) {
                const float *vector = vectors->values + scratch->candidate_positions[i] * dimension;
                double score = vectors->scorer->one(query, vector, dimension) / norm;
                double off = scratch->candidate_scores[i] / norm - score;
                squares += off * off;
                sum += score;
                sum_of_squares += score * score;
            }
            if (found < 2) continue;
            double deviation = sqrt(squares / (double)found);
            double variance = (sum_of_squares - sum * sum / (double)found) / (double)found;
            double spread = variance > 0 ? sqrt(variance) : 0;
            // Where the error is well below the spread of the scores, few scores are so close to the k-th best that it
            // matters. Where codes tell next to nothing, all are, and one deviation would lose one in twelve.
            double share = spread > 0 ? deviation / spread : 1;
            deviation *= share < 0.1 ? 1.25 : share < 0.5 ? 1.25 + 1.875 * (share - 0.1) : 2;
            greatest = deviation <= greatest ? greatest : deviation;
        }
        // Where products overflow, nothing is known but the largest error.
        run->deviation = isfinite(greatest) ? (float)greatest : run->error;
    }
}

size_t belfry_search_likely(const belfry_runs *runs, const float *query, size_t k, belfry_search_scratch *scratch) {
    scratch->scored = 0;
    scratch->is_complete = 1;
    belfry_sq4_query coded = prepared(runs, query, scratch);
    if (!isfinite(coded.certain_error)) {
        return search_vectors(&runs->vectors, runs->rows, query, k, NULL, 0, scratch);
    }
    watch w = {.scratch = scratch};
    candidates c = no_candidates(&runs->vectors, runs->rows, query, k, 0, &w);
    scan_all(runs, &coded, query, NULL, doubt_of(runs, &coded, query, 0), &c, &w);
    look_through(&c);
    return finish(&c);
}

// The runs whose centroids score best, into scratch->probes.
static size_t choose_runs(const belfry_runs *runs, const float *query, size_t nprobe, belfry_search_scratch *scratch) {
    // Few are compared by themselves in no time, and one that is missed is then a great part.
    size_t found = runs->run_count <= 512
        ? search_vectors(&runs->centroids->vectors, NULL, query, nprobe, NULL, 0, scratch)
        : belfry_search_likely(runs->centroids, query, nprobe, scratch);
    memcpy(scratch->probes, scratch->rows, found * sizeof *scratch->probes);
    memcpy(scratch->probe_scores, scratch->scores, found * sizeof *scratch->probe_scores);
    return found;
}

size_t belfry_search_lists(
    const belfry_runs *runs, const float *query, size_t k, size_t nprobe, const uint64_t *eligible, uint64_t deadline,
    belfry_search_scratch *scratch) {
    scratch->is_complete = 1;
    size_t probe_count = choose_runs(runs, query, nprobe, scratch);
    scratch->scored = 0;
    scratch->rescored = 0;
    if (k == 0) return 0;

    const belfry_vectors *vectors = &runs->vectors;
    const float *centroids = runs->centroids->vectors.values;
    belfry_sq4_query coded = prepared(runs, query, scratch);
    if (!isfinite(coded.certain_error)) {
        return search_vectors(vectors, runs->rows, query, k, eligible, deadline, scratch);
    }
    const doubt d = doubt_of(runs, &coded, query, 0);
    watch w = {.scratch = scratch, .deadline = deadline};
    candidates c = no_candidates(vectors, runs->rows, query, k, 0, &w);
    for (size_t probe = 0; probe < probe_count && probe < RUNS_AHEAD; probe++) {
        belfry_sq4_ahead first = codes_of(runs, &runs->runs[scratch->probes[probe]]);
        belfry_sq4_ask(&first, 4096);
    }
    for (size_t probe = 0; probe < probe_count; probe++) {
        uint32_t number = scratch->probes[probe];
        const belfry_run *later =
            probe + RUNS_AHEAD < probe_count ? &runs->runs[scratch->probes[probe + RUNS_AHEAD]] : NULL;
        // Where those codes lie is to be known by then.
        if (probe + 2 * RUNS_AHEAD < probe_count) {
            __builtin_prefetch(&runs->runs[scratch->probes[probe + 2 * RUNS_AHEAD]]);
        }
        // What the centroid contributes to the scores of its run: by the items' metric, whatever chose the run.
        float base = runs->has_own_centroid_metric
            ? vectors->scorer->one(query, centroids + number * vectors->dimension, vectors->dimension)
            : scratch->probe_scores[probe];
        const belfry_run *run = &runs->runs[number];
        if (scan_run(runs, run, later, &coded, base, d, eligible, &c, &w)) break;
    }
    look_through(&c);
    return finish(&c);
}

size_t belfry_search_all_rows(
    const belfry_vectors *vectors, const belfry_row_codes *codes, const float *query, size_t k, const uint64_t *eligible,
    uint64_t deadline, belfry_search_scratch *scratch) {
    scratch->scored = 0;
    scratch->rescored = 0;
    scratch->is_complete = 1;
    if (k == 0) return 0;
    if (!codes) return search_vectors(vectors, NULL, query, k, eligible, deadline, scratch);
    belfry_sq8_query coded = {.weights = scratch->weights};
    belfry_sq8_prepare(&codes->quantizer, query, factor_of(vectors->metric), &coded);
    const float constant = constant_of(vectors->metric, query, vectors->dimension);
    const float norm = factor_of(vectors->metric) * norm_of(query, vectors->dimension);
    const size_t block_count = (vectors->count + BELFRY_SCAN_BLOCK - 1) / BELFRY_SCAN_BLOCK;
    float largest = 0;
    for (size_t block = 0; block < block_count; block++) {
        largest = codes->errors[block] > largest ? codes->errors[block] : largest;
    }
    const float always = coded.certain_error + rounding_of(constant, codes->largest_bias);
    float error = norm * largest + always;
    if (isfinite(error) && k < vectors->count / 8) {
        watch w = {.scratch = scratch, .deadline = deadline};
        candidates c = no_candidates(vectors, NULL, query, k, 2 * error, &w);
        // These codes exclude all but a few, in the end, so that what is settled early is mostly wasted.
        size_t many = 4 * k + 16384;
        c.settled_above = many < c.capacity / 2 ? many : c.capacity / 2;
        const size_t stride = codes->quantizer.stride;
        for (size_t block = 0; block < block_count; block++) {
            size_t start = block * BELFRY_SCAN_BLOCK;
            size_t size = vectors->count - start < BELFRY_SCAN_BLOCK ? vectors->count - start : BELFRY_SCAN_BLOCK;
            if ((block & 31) == 31 && is_over(scratch, deadline)) {
                scratch->is_complete = 0;
                break;
            }
            if (eligible && eligible[block] == 0) continue;
            codes->scorer->block(
                &coded, codes->codes + start * stride, stride, codes->biases ? codes->biases + start : NULL, size,
                scratch->link_scores);
            scratch->scored += size;
            float block_error = norm * codes->errors[block] + always;
            float base = constant - block_error, threshold = c.bound - 2 * block_error;
            for (size_t i = 0; i < size; i++) {
                float score = scratch->link_scores[i] + base;
                if (!(score >= threshold)) continue;
                if (is_eligible(eligible, (uint32_t)(start + i))) append(&c, score, (uint32_t)(start + i));
            }
            if (c.count >= c.limit) look_through(&c);
        }
        look_through(&c);
        return finish(&c);
    }
    return search_vectors(vectors, NULL, query, k, eligible, deadline, scratch);
}

size_t belfry_search_eligible(
    const belfry_vectors *vectors, const uint32_t *positions, const float *query, size_t k, const uint64_t *eligible,
    uint64_t deadline, belfry_search_scratch *scratch) {
    scratch->scored = 0;
    scratch->rescored = 0;
    scratch->is_complete = 1;
    if (k == 0) return 0;
    hit_key *collected = scratch->collected;
    size_t collected_count = 0, waiting = 0, batches = 0;
    uint32_t waiting_rows[BELFRY_SCAN_BLOCK];
    const size_t word_count = (vectors->count + 63) / 64;
    for (size_t word = 0; word <= word_count; word++) {
        uint64_t bits = word < word_count ? eligible[word] : 0;
        for (; bits != 0 || (word == word_count && waiting > 0); bits &= bits - 1) {
            if (bits != 0) {
                uint32_t row = (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(bits);
                waiting_rows[waiting] = row;
                scratch->links[waiting++] = positions ? positions[row] : row;
            }
            if (waiting < BELFRY_SCAN_BLOCK && word < word_count) continue;
            vectors->scorer->gathered(
                query, vectors->values, vectors->dimension, scratch->links, waiting, scratch->link_scores);
            scratch->scored += waiting;
            for (size_t i = 0; i < waiting; i++) {
                offer(collected, &collected_count, k, key_of(scratch->link_scores[i], waiting_rows[i]));
            }
            waiting = 0;
            if ((++batches & 15) == 0 && is_over(scratch, deadline)) {
                scratch->is_complete = 0;
                word = word_count;
                break;
            }
            if (bits == 0) break;
        }
        if (!scratch->is_complete) break;
    }
    scratch->rescored = scratch->scored;
    return emit(collected_count, k, scratch);
}
