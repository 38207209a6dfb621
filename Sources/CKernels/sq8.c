#include "sq8.h"

#include <math.h>
#include <string.h>

#include "distances.h"

#pragma clang fp contract(off)

// MARK: Codes

void belfry_sq8_train(const float *vectors, size_t count, belfry_sq8_quantizer *quantizer) {
    const size_t dimension = quantizer->dimension;
    float *least = quantizer->offsets, *greatest = quantizer->steps;
    for (size_t component = 0; component < dimension; component++) {
        least[component] = count > 0 ? vectors[component] : 0;
        greatest[component] = least[component];
    }
    for (size_t row = 1; row < count; row++) {
        const float *vector = vectors + row * dimension;
        for (size_t component = 0; component < dimension; component++) {
            least[component] = vector[component] < least[component] ? vector[component] : least[component];
            greatest[component] = vector[component] > greatest[component] ? vector[component] : greatest[component];
        }
    }
    for (size_t component = 0; component < dimension; component++) {
        float step = greatest[component] / 255 - least[component] / 255;
        quantizer->steps[component] = step;
    }
}

float belfry_sq8_encode(
    const belfry_sq8_quantizer *quantizer, const float *vectors, size_t count, uint8_t *codes) {
    const size_t dimension = quantizer->dimension;
    float largest = 0;
    for (size_t row = 0; row < count; row++) {
        const float *vector = vectors + row * dimension;
        uint8_t *out = codes + row * quantizer->stride;
        double squares = 0;  // the squares of small floats are none
        for (size_t component = 0; component < dimension; component++) {
            float step = quantizer->steps[component], offset = quantizer->offsets[component];
            float place = step > 0 ? (vector[component] - offset) / step : 0;
            place = place < 0 ? 0 : place > 255 ? 255 : place;
            int code = (int)(place + 0.5f);
            out[component] = (uint8_t)code;
            float error = vector[component] - (offset + step * (float)code);
            squares += (double)error * error;
        }
        memset(out + dimension, 0, quantizer->stride - dimension);
        float norm = (float)sqrt(squares);
        largest = norm > largest ? norm : largest;
    }
    return largest;
}

void belfry_sq8_prepare(
    const belfry_sq8_quantizer *quantizer, const float *vector, float factor, belfry_sq8_query *query) {
    const size_t dimension = quantizer->dimension;
    float greatest = 0;
    for (size_t component = 0; component < dimension; component++) {
        float weight = fabsf(factor * vector[component] * quantizer->steps[component]);
        greatest = weight > greatest ? weight : greatest;
    }
    float scale = greatest > 0 ? greatest / 127 : 1;
    float inverse = 1 / scale;
    double offset = 0, variance = 0, certain = 0, magnitude = 0;
    memset(query->weights, 0, quantizer->stride);
    for (size_t component = 0; component < dimension; component++) {
        float scaled = factor * vector[component];
        float weight = scaled * quantizer->steps[component];
        float rounded = nearbyintf(weight * inverse);
        // Not a number where weights overflow; a search then goes by vectors.
        rounded = rounded > 127 ? 127 : rounded >= -127 ? rounded : -127;
        query->weights[component] = (int8_t)rounded;
        // What rounding takes from a weight is given back for the middle code, 127.5.
        double lost = (double)weight - (double)scale * rounded;
        offset += (double)scaled * quantizer->offsets[component] + lost * 127.5;
        // A twelfth of a squared step is the error of rounding; codes are about 43 from the middle (a normal
        // component whose 255 steps are six deviations).
        variance += (double)weight * weight / 12 + lost * lost * 43 * 43;
        certain += fabs(lost) * 127.5;
        magnitude += fabs((double)scaled * quantizer->offsets[component]) + fabs((double)weight) * 255;
    }
    query->scale = scale;
    query->offset = (float)offset;
    query->deviation = (float)sqrt(variance);
    // The sums are of floats: a millionth of what is added up is more than their rounding. Where they might overflow, nothing
    // is certain.
    query->certain_error = magnitude < 1e37 ? (float)(certain + 1e-6 * magnitude) : INFINITY;
}

// MARK: Scores

enum { PREFETCH_BYTES = 2048 };

static inline float score_of_sum(const belfry_sq8_query *query, int32_t sum, const float *biases, size_t row) {
    float score = (float)sum * query->scale + query->offset;
    return biases ? score + biases[row] : score;
}

#define GATHERED(SUFFIX)                                                                                         \
    static void gathered_##SUFFIX(                                                                               \
        const belfry_sq8_query *query, const uint8_t *codes, size_t stride, const float *biases,                 \
        const uint32_t *ids, size_t count, float *scores) {                                                      \
        /* A row comes from anywhere in memory, so its lines are asked for while the rows before it are scored. */ \
        size_t ahead = PREFETCH_BYTES / stride;                                                                  \
        if (ahead < 1) ahead = 1;                                                                                \
        size_t asked = 0;                                                                                        \
        for (size_t i = 0; i < count; i += 4) {                                                                  \
            size_t wanted = i + 4 + ahead < count ? i + 4 + ahead : count;                                       \
            for (; asked < wanted; asked++) {                                                                    \
                const uint8_t *row = codes + (size_t)ids[asked] * stride;                                        \
                for (size_t line = 0; line < stride; line += 64) __builtin_prefetch(row + line);                 \
                if (biases) __builtin_prefetch(biases + ids[asked]);                                             \
            }                                                                                                    \
            size_t size = count - i < 4 ? count - i : 4;                                                         \
            const uint8_t *rows[4];                                                                              \
            for (size_t j = 0; j < 4; j++) rows[j] = codes + (size_t)ids[j < size ? i + j : i] * stride;         \
            int32_t sums[4];                                                                                     \
            four_##SUFFIX(query->weights, rows, stride, sums);                                                   \
            for (size_t j = 0; j < size; j++) scores[i + j] = score_of_sum(query, sums[j], biases, ids[i + j]);  \
        }                                                                                                        \
    }                                                                                                            \
    static void block_##SUFFIX(                                                                                  \
        const belfry_sq8_query *query, const uint8_t *codes, size_t stride, const float *biases, size_t count,   \
        float *scores) {                                                                                         \
        for (size_t i = 0; i < count; i += 4) {                                                                  \
            size_t size = count - i < 4 ? count - i : 4;                                                         \
            const uint8_t *rows[4];                                                                              \
            for (size_t j = 0; j < 4; j++) rows[j] = codes + (j < size ? i + j : i) * stride;                    \
            int32_t sums[4];                                                                                     \
            four_##SUFFIX(query->weights, rows, stride, sums);                                                   \
            for (size_t j = 0; j < size; j++) scores[i + j] = score_of_sum(query, sums[j], biases, i + j);       \
        }                                                                                                        \
    }                                                                                                            \
    static const belfry_sq8_scorer scorer_##SUFFIX = {gathered_##SUFFIX, block_##SUFFIX}

static void four_portable(const int8_t *weights, const uint8_t *const *rows, size_t stride, int32_t *sums) {
    for (size_t row = 0; row < 4; row++) {
        int32_t sum = 0;
        for (size_t i = 0; i < stride; i++) sum += rows[row][i] * weights[i];
        sums[row] = sum;
    }
}
GATHERED(portable);

#if defined(__x86_64__)

#include <immintrin.h>

// 16 codes of a row times the query's, in two sums of a lane each.
#define ADD_CODES(row, sum)                                                                        \
    sum = _mm256_add_epi32(                                                                        \
        sum, _mm256_madd_epi16(                                                                    \
                 _mm256_cvtepu8_epi16(_mm_load_si128((const __m128i *)(rows[row] + i))), factors))

__attribute__((target("avx2"))) static void four_avx2(
    const int8_t *weights, const uint8_t *const *rows, size_t stride, int32_t *sums) {
    __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (size_t i = 0; i < stride; i += 16) {
        const __m256i factors = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)(weights + i)));
        ADD_CODES(0, sum0);
        ADD_CODES(1, sum1);
        ADD_CODES(2, sum2);
        ADD_CODES(3, sum3);
    }
    // Four sums side by side in either half, then the halves together.
    __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(sum0, sum1), _mm256_hadd_epi32(sum2, sum3));
    _mm_storeu_si128(
        (__m128i *)sums, _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
}
#undef ADD_CODES
GATHERED(avx2);

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))) static void four_avx512(
    const int8_t *weights, const uint8_t *const *rows, size_t stride, int32_t *sums) {
    __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (size_t i = 0; i < stride; i += 64) {
        __m512i factors = _mm512_load_si512(weights + i);
        sum0 = _mm512_dpbusd_epi32(sum0, _mm512_load_si512(rows[0] + i), factors);
        sum1 = _mm512_dpbusd_epi32(sum1, _mm512_load_si512(rows[1] + i), factors);
        sum2 = _mm512_dpbusd_epi32(sum2, _mm512_load_si512(rows[2] + i), factors);
        sum3 = _mm512_dpbusd_epi32(sum3, _mm512_load_si512(rows[3] + i), factors);
    }
    // Four sums side by side in every quarter, then the quarters together.
    __m512i sum01 = _mm512_add_epi32(_mm512_unpacklo_epi32(sum0, sum1), _mm512_unpackhi_epi32(sum0, sum1));
    __m512i sum23 = _mm512_add_epi32(_mm512_unpacklo_epi32(sum2, sum3), _mm512_unpackhi_epi32(sum2, sum3));
    __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(sum01, sum23), _mm512_unpackhi_epi64(sum01, sum23));
    __m256i two = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    _mm_storeu_si128(
        (__m128i *)sums, _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1)));
}
GATHERED(avx512);

#endif

const belfry_sq8_scorer *belfry_sq8_scorer_for(int instruction_set) {
#if defined(__x86_64__)
    if (instruction_set == BELFRY_AVX512 && belfry_has_integer_avx512()) return &scorer_avx512;
    if (instruction_set != BELFRY_PORTABLE) return &scorer_avx2;
#endif
    (void)instruction_set;
    return &scorer_portable;
}
