#include "layers.h"

#include <math.h>
#include <string.h>

#include "distances.h"

#define ROUND_UP(size, multiple) (((size) + (multiple)-1) / (multiple) * (multiple))

// Columns that are summed by themselves before they are added to the others: 64 terms in a row and then the sums of the
// blocks lose less to rounding than all of them in one row.
enum { BLOCK = 64 };

// Whether a product and a sum are fused is written out below, never left to the optimiser.
#pragma clang fp contract(off)

// Lists the columns of one block, `first` and the following, that are not 0 for every user; NaN is not 0. Returns how
// many. May write `BELFRY_LANES` entries beyond them. - x: (users, stride).
static inline size_t list_block_portable(
    const float *x, size_t stride, size_t users, size_t first, size_t size, uint32_t *columns) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++) {
        columns[count] = (uint32_t)(first + i);
        int listed = 0;
        for (size_t user = 0; user < users; user++) listed |= !(x[user * stride + i] == 0);
        count += (size_t)listed;
    }
    return count;
}

#if defined(__x86_64__)

#include <immintrin.h>

#define MULTIPLY_ADD(a, b, c) __builtin_elementwise_fma((a), (b), (c))

__attribute__((target("avx512f,popcnt"))) static inline size_t list_block_avx512(
    const float *x, size_t stride, size_t users, size_t first, size_t size, uint32_t *columns) {
    const __m512i order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t count = 0;
    for (size_t i = 0; i < size; i += 16) {
        __mmask16 inside = size - i < 16 ? (__mmask16)((1u << (size - i)) - 1u) : (__mmask16)0xFFFF;
        unsigned listed = 0;
        for (size_t user = 0; user < users; user++) {
            __m512 values = _mm512_maskz_loadu_ps(inside, x + user * stride + i);
            listed |= _mm512_cmp_ps_mask(values, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        }
        __m512i numbers = _mm512_add_epi32(order, _mm512_set1_epi32((int)(first + i)));
        // Compressed in a register: compressing to memory is slow on some cores.
        _mm512_storeu_si512(columns + count, _mm512_maskz_compress_epi32((__mmask16)listed, numbers));
        count += (size_t)__builtin_popcount(listed);
    }
    return count;
}

#define KERNEL(name) name##_avx512
#define TARGET __attribute__((target("avx512f,popcnt")))
#define LANES 16
#define TILE_VECTORS 16
#define USER_VECTORS 4
#define USERS_FOR_FOUR 3
#define LIST_BLOCK list_block_avx512
#include "layers_kernel.h"
#undef KERNEL
#undef TARGET
#undef LANES
#undef TILE_VECTORS
#undef USER_VECTORS
#undef USERS_FOR_FOUR
#undef LIST_BLOCK

#define KERNEL(name) name##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define TILE_VECTORS 8
#define USER_VECTORS 2
#define USERS_FOR_FOUR 4
#define LIST_BLOCK list_block_portable
#include "layers_kernel.h"
#undef KERNEL
#undef TARGET
#undef LANES
#undef TILE_VECTORS
#undef USER_VECTORS
#undef USERS_FOR_FOUR
#undef LIST_BLOCK

#undef MULTIPLY_ADD

#endif

// Baseline x86-64 has no fused multiply-add and 16 registers, arm64 has one and 32.
#define KERNEL(name) name##_portable
#define TARGET
#define LANES 4
#if defined(__aarch64__)
#define MULTIPLY_ADD(a, b, c) __builtin_elementwise_fma((a), (b), (c))
#define TILE_VECTORS 16
#define USER_VECTORS 4
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define TILE_VECTORS 8
#define USER_VECTORS 2
#endif
#define LIST_BLOCK list_block_portable
#define USERS_FOR_FOUR (BELFRY_USERS + 1)
#include "layers_kernel.h"

const belfry_layer_kernels *belfry_layer_kernels_for(int instruction_set) {
    switch (instruction_set) {
#if defined(__x86_64__)
    case BELFRY_AVX512:
        return &kernels_avx512;
    case BELFRY_AVX2:
        return &kernels_avx2;
#endif
    default:
        return &kernels_portable;
    }
}

size_t belfry_packed_count(size_t outputs, size_t inputs) {
    return ROUND_UP(outputs, BELFRY_LANES) * inputs;
}

void belfry_pack(const float *w, size_t outputs, size_t inputs, size_t tile, float *packed) {
    size_t first = 0;
    for (size_t width = tile; first < outputs; width /= 2) {
        for (; first + width <= ROUND_UP(outputs, BELFRY_LANES); first += width) {
            for (size_t column = 0; column < inputs; column++) {
                for (size_t lane = 0; lane < width; lane++) {
                    *packed++ = first + lane < outputs ? w[(first + lane) * inputs + column] : 0;
                }
            }
        }
    }
}

size_t belfry_column_capacity(size_t inputs) {
    return ROUND_UP(inputs, BLOCK) + BELFRY_LANES + ROUND_UP(inputs, BLOCK) / BLOCK + 1;
}

void belfry_layer_norm(
    const float *weight, const float *bias, const float *x, size_t size, float epsilon, float *y) {
    double sum = 0;
    for (size_t i = 0; i < size; i++) sum += x[i];
    double mean = sum / (double)size;
    double squares = 0;
    for (size_t i = 0; i < size; i++) squares += (x[i] - mean) * (x[i] - mean);
    double inverse = 1.0 / sqrt(squares / (double)size + (double)epsilon);
    for (size_t i = 0; i < size; i++) y[i] = (float)((x[i] - mean) * inverse) * weight[i] + bias[i];
}

float belfry_squared_norm(const float *x, size_t size) {
    return belfry_scorer_for(BELFRY_INNER_PRODUCT, belfry_best_instruction_set())->one(x, x, size);
}

void belfry_l2_normalise(float *x, size_t size) {
    float norm = sqrtf(belfry_squared_norm(x, size));
    float divisor = norm > 1e-12f ? norm : 1e-12f;
    for (size_t i = 0; i < size; i++) x[i] /= divisor;
}

void belfry_add(float *into, const float *row, size_t size) {
    for (size_t i = 0; i < size; i++) into[i] += row[i];
}

void belfry_scale(float *into, float factor, size_t size) {
    for (size_t i = 0; i < size; i++) into[i] *= factor;
}

void belfry_widen_halves(const uint16_t *halves, size_t size, float *floats) {
    for (size_t i = 0; i < size; i++) {
        _Float16 half;
        memcpy(&half, &halves[i], sizeof half);
        floats[i] = (float)half;
    }
}
