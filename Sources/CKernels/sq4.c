#include "sq4.h"

#include <math.h>
#include <string.h>

#include "distances.h"

// The same sums in every instruction set: integers are exact, and the few operations on floats are never fused.
#pragma clang fp contract(off)

// MARK: Codes

// The squared error of 16 levels around `mean` that are `step` apart.
static double squared_error(const float *sample, size_t count, size_t stride, float offset, float step) {
    double sum = 0;
    float inverse = 1.0f / step;
    for (size_t row = 0; row < count; row++) {
        float value = sample[row * stride];
        float code = nearbyintf((value - offset) * inverse);
        code = code < 0 ? 0 : code > 15 ? 15 : code;
        float error = value - (offset + step * code);
        sum += (double)error * error;
    }
    return sum / (double)count;
}

void belfry_sq4_train(const float *sample, size_t count, belfry_sq4_quantizer *quantizer) {
    size_t dimension = quantizer->dimension;
    for (size_t component = 0; component < quantizer->line_count * 8; component++) {
        quantizer->offsets[component] = 0;
        quantizer->steps[component] = 0;
        if (component >= dimension || count == 0) continue;
        const float *column = sample + component;
        double sum = 0, squares = 0;
        float least = column[0], greatest = column[0];
        for (size_t row = 0; row < count; row++) {
            float value = column[row * dimension];
            sum += value;
            least = value < least ? value : least;
            greatest = value > greatest ? value : greatest;
        }
        double mean = sum / (double)count;
        for (size_t row = 0; row < count; row++) {
            double difference = column[row * dimension] - mean;
            squares += difference * difference;
        }
        double deviation = sqrt(squares / (double)count);
        // Levels from the least to the greatest, and narrower ones that cut off the ends.
        float best_offset = least, best_step = (greatest - least) / 15;
        if (!(best_step > 0) || !isfinite(best_step)) best_step = 0;
        double best_error = best_step > 0 ? squared_error(column, count, dimension, best_offset, best_step) : 0;
        for (int width = 6; best_step > 0 && width <= 16; width++) {
            float half = (float)(deviation * width / 4);
            float step = 2 * half / 15;
            if (!(step > 0)) continue;
            double error = squared_error(column, count, dimension, (float)mean - half, step);
            if (!(error < best_error) || !isfinite(step)) continue;
            best_error = error;
            best_offset = (float)mean - half;
            best_step = step;
        }
        quantizer->offsets[component] = best_offset;
        quantizer->steps[component] = best_step;
    }
}

float belfry_sq4_encode(
    const belfry_sq4_quantizer *quantizer, const float *vectors, size_t count, const float *origin, uint8_t *block) {
    const size_t dimension = quantizer->dimension;
    memset(block, 0, quantizer->line_count * BELFRY_SQ4_LINE);
    float largest = 0;
    for (size_t i = 0; i < count; i++) {
        const float *vector = vectors + i * dimension;
        double squares = 0;  // the squares of small floats are none
        for (size_t component = 0; component < dimension; component++) {
            float value = origin ? vector[component] - origin[component] : vector[component];
            float step = quantizer->steps[component];
            float offset = quantizer->offsets[component];
            float place = step > 0 ? (value - offset) / step : 0;
            place = place < 0 ? 0 : place > 15 ? 15 : place;
            int code = (int)(place + 0.5f);
            float error = value - (offset + step * (float)code);
            squares += (double)error * error;
            size_t line = component / 8, within = component % 8;
            block[line * BELFRY_SQ4_LINE + i * 4 + within % 4] |= (uint8_t)(code << (within / 4 * 4));
        }
        float norm = (float)sqrt(squares);
        largest = norm > largest ? norm : largest;
    }
    return largest;
}

void belfry_sq4_prepare(
    const belfry_sq4_quantizer *quantizer, const float *vector, float factor, belfry_sq4_query *query) {
    const size_t dimension = quantizer->dimension;
    float greatest = 0;
    for (size_t component = 0; component < dimension; component++) {
        float weight = fabsf(factor * vector[component] * quantizer->steps[component]);
        greatest = weight > greatest ? weight : greatest;
    }
    float scale = greatest > 0 ? greatest / 127 : 1;
    float inverse = 1 / scale;
    double offset = 0, variance = 0, certain = 0, magnitude = 0;
    memset(query->weights, 0, quantizer->line_count * 8);
    for (size_t component = 0; component < dimension; component++) {
        float scaled = factor * vector[component];
        float weight = scaled * quantizer->steps[component];
        float rounded = nearbyintf(weight * inverse);
        // Not a number where weights overflow; a search then goes by vectors.
        rounded = rounded > 127 ? 127 : rounded >= -127 ? rounded : -127;
        query->weights[component] = (int8_t)rounded;
        // What rounding takes from a weight is given back for the middle code, 7.5.
        double lost = (double)weight - (double)scale * rounded;
        offset += (double)scaled * quantizer->offsets[component] + lost * 7.5;
        variance += lost * lost * 21.25;  // of a code, if all sixteen are as likely
        certain += fabs(lost) * 7.5;
        magnitude += fabs((double)scaled * quantizer->offsets[component]) + fabs((double)weight) * 15;
    }
    query->scale = scale;
    query->offset = (float)offset;
    query->rounding_deviation = (float)sqrt(variance);
    // The sums are of floats: a millionth of what is added up is more than their rounding. Where they might overflow, nothing
    // is certain.
    query->certain_error = magnitude < 1e37 ? (float)(certain + 1e-6 * magnitude) : INFINITY;
}

// MARK: Scans

static size_t scan_portable(
    const belfry_sq4_query *query, const uint8_t *blocks, size_t line_count, size_t count, float base,
    const float *biases, float threshold, uint32_t first, belfry_sq4_ahead *ahead, float *scores, uint32_t *positions) {
    const float offset = query->offset + base;
    size_t appended = 0;
    for (size_t start = 0; start < count; start += BELFRY_SQ4_BLOCK, blocks += line_count * BELFRY_SQ4_LINE) {
        belfry_sq4_ask(ahead, line_count * BELFRY_SQ4_LINE);
        int32_t sums[BELFRY_SQ4_BLOCK] = {0};
        for (size_t line = 0; line < line_count; line++) {
            const uint8_t *codes = blocks + line * BELFRY_SQ4_LINE;
            const int8_t *weights = query->weights + line * 8;
            for (size_t i = 0; i < BELFRY_SQ4_BLOCK; i++) {
                int32_t sum = 0;
                for (size_t j = 0; j < 4; j++) {
                    sum += (codes[4 * i + j] & 15) * weights[j] + (codes[4 * i + j] >> 4) * weights[4 + j];
                }
                sums[i] += sum;
            }
        }
        size_t size = count - start < BELFRY_SQ4_BLOCK ? count - start : BELFRY_SQ4_BLOCK;
        for (size_t i = 0; i < size; i++) {
            float score = (float)sums[i] * query->scale + offset;
            if (biases) score += biases[start + i];
            scores[appended] = score;
            positions[appended] = first + (uint32_t)(start + i);
            appended += score >= threshold;
        }
    }
    return appended;
}

#if defined(__x86_64__)

#include <immintrin.h>

__attribute__((target("avx2"))) static size_t scan_avx2(
    const belfry_sq4_query *query, const uint8_t *blocks, size_t line_count, size_t count, float base,
    const float *biases, float threshold, uint32_t first, belfry_sq4_ahead *ahead, float *scores, uint32_t *positions) {
    const float offset = query->offset + base;
    const __m256i halves = _mm256_set1_epi8(15);
    const __m256i ones = _mm256_set1_epi16(1);
    const int8_t *weights = query->weights;
    size_t appended = 0;
    for (size_t start = 0; start < count; start += BELFRY_SQ4_BLOCK, blocks += line_count * BELFRY_SQ4_LINE) {
        belfry_sq4_ask(ahead, line_count * BELFRY_SQ4_LINE);
        __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (size_t line = 0; line < line_count;) {
            // Two products of 15 * 127 make a lane, and eight of those, of four lines, stay within its 16 bits.
            const size_t end = line + 4 < line_count ? line + 4 : line_count;
            __m256i lanes[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
            for (; line < end; line++) {
                int32_t lower, upper;
                memcpy(&lower, weights + line * 8, 4);
                memcpy(&upper, weights + line * 8 + 4, 4);
                const __m256i lower_weights = _mm256_set1_epi32(lower), upper_weights = _mm256_set1_epi32(upper);
                for (int half = 0; half < 2; half++) {
                    __m256i codes =
                        _mm256_load_si256((const __m256i *)(blocks + line * BELFRY_SQ4_LINE + (size_t)half * 32));
                    __m256i products = _mm256_add_epi16(
                        _mm256_maddubs_epi16(_mm256_and_si256(codes, halves), lower_weights),
                        _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(codes, 4), halves), upper_weights));
                    lanes[half] = _mm256_add_epi16(lanes[half], products);
                }
            }
            for (int half = 0; half < 2; half++) {
                sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(lanes[half], ones));
            }
        }
        for (size_t half = 0; half < 2; half++) {
            if (start + half * 8 >= count) break;
            __m256 score = _mm256_add_ps(
                _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half]), _mm256_set1_ps(query->scale)), _mm256_set1_ps(offset));
            size_t left = count - start - half * 8;
            unsigned within = left >= 8 ? 0xFFu : (1u << left) - 1u;
            float stored[8];
            if (biases) {
                float eight[8] = {0};
                memcpy(eight, biases + start + half * 8, (left < 8 ? left : 8) * sizeof(float));
                score = _mm256_add_ps(score, _mm256_loadu_ps(eight));
            }
            unsigned reached =
                (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(score, _mm256_set1_ps(threshold), _CMP_GE_OQ)) & within;
            if (__builtin_expect(reached == 0, 1)) continue;
            _mm256_storeu_ps(stored, score);
            for (; reached != 0; reached &= reached - 1) {
                size_t i = (size_t)__builtin_ctz(reached);
                scores[appended] = stored[i];
                positions[appended++] = first + (uint32_t)(start + half * 8 + i);
            }
        }
    }
    return appended;
}

#define AVX512_CODES __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

AVX512_CODES static inline size_t append_avx512(
    __m512i sums, const belfry_sq4_query *query, float offset, const float *biases, size_t start, size_t count,
    float threshold, uint32_t first, size_t appended, float *scores, uint32_t *positions) {
    __mmask16 within = count - start >= 16 ? (__mmask16)0xFFFF : (__mmask16)((1u << (count - start)) - 1u);
    __m512 score = _mm512_add_ps(
        _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(query->scale)), _mm512_set1_ps(offset));
    if (biases) score = _mm512_add_ps(score, _mm512_maskz_loadu_ps(within, biases + start));
    __mmask16 reached = _mm512_mask_cmp_ps_mask(within, score, _mm512_set1_ps(threshold), _CMP_GE_OQ);
    if (__builtin_expect(reached == 0, 1)) return appended;
    // Compressed in the register and stored whole: the masked store is slow on some cores.
    __m512i places = _mm512_add_epi32(
        _mm512_set1_epi32((int32_t)(first + (uint32_t)start)),
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    _mm512_storeu_ps(scores + appended, _mm512_maskz_compress_ps(reached, score));
    _mm512_storeu_si512(positions + appended, _mm512_maskz_compress_epi32(reached, places));
    return appended + (size_t)__builtin_popcount(reached);
}

AVX512_CODES static size_t scan_avx512(
    const belfry_sq4_query *query, const uint8_t *blocks, size_t line_count, size_t count, float base,
    const float *biases, float threshold, uint32_t first, belfry_sq4_ahead *ahead, float *scores, uint32_t *positions) {
    const float offset = query->offset + base;
    const __m512i halves = _mm512_set1_epi8(15);
    const size_t block_size = line_count * BELFRY_SQ4_LINE;
    const int8_t *weights = query->weights;
    size_t appended = 0, start = 0;
    // Two blocks at a time share the query's loads, and their sums do not wait for each other.
    for (; start + BELFRY_SQ4_BLOCK < count; start += 2 * BELFRY_SQ4_BLOCK, blocks += 2 * block_size) {
        belfry_sq4_ask(ahead, 2 * block_size);
        __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
        for (size_t line = 0; line < line_count; line++) {
            int32_t lower, upper;
            memcpy(&lower, weights + line * 8, 4);
            memcpy(&upper, weights + line * 8 + 4, 4);
            const __m512i lower_weights = _mm512_set1_epi32(lower), upper_weights = _mm512_set1_epi32(upper);
            __m512i codes0 = _mm512_load_si512(blocks + line * BELFRY_SQ4_LINE);
            __m512i codes1 = _mm512_load_si512(blocks + block_size + line * BELFRY_SQ4_LINE);
            sum0 = _mm512_dpbusd_epi32(sum0, _mm512_and_si512(codes0, halves), lower_weights);
            sum1 = _mm512_dpbusd_epi32(
                sum1, _mm512_and_si512(_mm512_srli_epi16(codes0, 4), halves), upper_weights);
            sum2 = _mm512_dpbusd_epi32(sum2, _mm512_and_si512(codes1, halves), lower_weights);
            sum3 = _mm512_dpbusd_epi32(
                sum3, _mm512_and_si512(_mm512_srli_epi16(codes1, 4), halves), upper_weights);
        }
        appended = append_avx512(
            _mm512_add_epi32(sum0, sum1), query, offset, biases, start, count, threshold, first, appended, scores,
            positions);
        appended = append_avx512(
            _mm512_add_epi32(sum2, sum3), query, offset, biases, start + BELFRY_SQ4_BLOCK, count, threshold, first,
            appended, scores, positions);
    }
    if (start < count) {
        belfry_sq4_ask(ahead, block_size);
        __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0;
        for (size_t line = 0; line < line_count; line++) {
            int32_t lower, upper;
            memcpy(&lower, weights + line * 8, 4);
            memcpy(&upper, weights + line * 8 + 4, 4);
            __m512i codes = _mm512_load_si512(blocks + line * BELFRY_SQ4_LINE);
            sum0 = _mm512_dpbusd_epi32(sum0, _mm512_and_si512(codes, halves), _mm512_set1_epi32(lower));
            sum1 = _mm512_dpbusd_epi32(
                sum1, _mm512_and_si512(_mm512_srli_epi16(codes, 4), halves), _mm512_set1_epi32(upper));
        }
        appended = append_avx512(
            _mm512_add_epi32(sum0, sum1), query, offset, biases, start, count, threshold, first, appended, scores,
            positions);
    }
    return appended;
}

#endif

belfry_sq4_scan belfry_sq4_scan_for(int instruction_set) {
#if defined(__x86_64__)
    if (instruction_set == BELFRY_AVX512 && belfry_has_integer_avx512()) return scan_avx512;
    if (instruction_set != BELFRY_PORTABLE) return scan_avx2;
#endif
    (void)instruction_set;
    return scan_portable;
}
