#include "distances.h"

#include <string.h>

// Vectors of the compiler, which it splits into what the instruction set has: 16 lanes are one AVX-512 register, two
// of AVX2, four of SSE2 or NEON.
typedef float lanes16 __attribute__((vector_size(64)));
typedef float lanes8 __attribute__((vector_size(32)));
typedef float lanes4 __attribute__((vector_size(16)));
typedef float lanes2 __attribute__((vector_size(8)));
typedef float unaligned16 __attribute__((vector_size(64), aligned(4), may_alias));

enum { PREFETCH_BYTES = 2048 };

// Whether a product and a sum are fused is written out below, never left to the optimiser: it might decide
// differently in two functions.
#pragma clang fp contract(off)

#define SCORERS(SUFFIX)                                                                                       \
    static const belfry_scorer scorers_##SUFFIX[2] = {                                                        \
        {inner_product_##SUFFIX##_one, inner_product_##SUFFIX##_gathered, inner_product_##SUFFIX##_block},    \
        {squared_l2_##SUFFIX##_one, squared_l2_##SUFFIX##_gathered, squared_l2_##SUFFIX##_block},             \
    }

// The terms of the two metrics. A squared distance is negated at the end, so that a higher score is better. No score is
// -0: adding 0, or subtracting from it, gives 0 for either zero, so that equal scores have equal bits.
#define INNER_PRODUCT_TERM(query_lanes, row_lanes, sum) MULTIPLY_ADD(query_lanes, row_lanes, sum)
#define SQUARED_L2_TERM(query_lanes, row_lanes, sum) \
    MULTIPLY_ADD((query_lanes) - (row_lanes), (query_lanes) - (row_lanes), sum)

#if defined(__x86_64__)

#include <immintrin.h>

#define MULTIPLY_ADD(a, b, c) __builtin_elementwise_fma((lanes16)(a), (lanes16)(b), (lanes16)(c))

#define TARGET __attribute__((target("avx512f")))
#define LOAD_TAIL(pointer, count) ((lanes16)_mm512_maskz_loadu_ps((__mmask16)((1u << (count)) - 1u), (pointer)))
#define TERM INNER_PRODUCT_TERM
#define SIGN(sum) ((sum) + 0.0f)
#define KERNEL(name) inner_product_avx512_##name
#include "distances_kernel.h"
#undef TERM
#undef SIGN
#undef KERNEL
#define TERM SQUARED_L2_TERM
#define SIGN(sum) (0.0f - (sum))
#define KERNEL(name) squared_l2_avx512_##name
#include "distances_kernel.h"
#undef TERM
#undef SIGN
#undef KERNEL
#undef LOAD_TAIL
#undef TARGET
SCORERS(avx512);

// (-1) for a lane that is loaded: entry 16 - count is the mask's first.
static const int32_t tail_masks[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

#define TARGET __attribute__((target("avx2,fma")))
#define LOAD_TAIL(pointer, count)                                                                               \
    __builtin_shufflevector(                                                                                    \
        (lanes8)_mm256_maskload_ps((pointer), _mm256_loadu_si256((const __m256i *)(tail_masks + 16 - (count)))), \
        (lanes8)_mm256_maskload_ps(                                                                             \
            (pointer) + 8, _mm256_loadu_si256((const __m256i *)(tail_masks + 24 - (count)))),                   \
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define TERM INNER_PRODUCT_TERM
#define SIGN(sum) ((sum) + 0.0f)
#define KERNEL(name) inner_product_avx2_##name
#include "distances_kernel.h"
#undef TERM
#undef SIGN
#undef KERNEL
#define TERM SQUARED_L2_TERM
#define SIGN(sum) (0.0f - (sum))
#define KERNEL(name) squared_l2_avx2_##name
#include "distances_kernel.h"
#undef TERM
#undef SIGN
#undef KERNEL
#undef LOAD_TAIL
#undef TARGET
SCORERS(avx2);

#undef MULTIPLY_ADD

#endif

// Baseline x86-64 has no fused multiply-add and must not call a library for it; every arm64 has one.
#if defined(__aarch64__)
#define MULTIPLY_ADD(a, b, c) __builtin_elementwise_fma((lanes16)(a), (lanes16)(b), (lanes16)(c))
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif

#define LOAD_TAIL(pointer, count) \
    ({                            \
        lanes16 loaded = {0};     \
        memcpy(&loaded, (pointer), (count) * sizeof(float)); \
        loaded;                   \
    })
#define TARGET
#define TERM INNER_PRODUCT_TERM
#define SIGN(sum) ((sum) + 0.0f)
#define KERNEL(name) inner_product_portable_##name
#include "distances_kernel.h"
#undef TERM
#undef SIGN
#undef KERNEL
#define TERM SQUARED_L2_TERM
#define SIGN(sum) (0.0f - (sum))
#define KERNEL(name) squared_l2_portable_##name
#include "distances_kernel.h"
SCORERS(portable);

int belfry_has_instruction_set(int instruction_set) {
    switch (instruction_set) {
    case BELFRY_PORTABLE:
        return 1;
#if defined(__x86_64__)
    case BELFRY_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case BELFRY_AVX512:
        return __builtin_cpu_supports("avx512f") != 0;
#endif
    default:
        return 0;
    }
}

int belfry_has_integer_avx512(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#else
    return 0;
#endif
}

int belfry_best_instruction_set(void) {
    for (int set = BELFRY_AVX512; set > BELFRY_PORTABLE; set--) {
        if (belfry_has_instruction_set(set)) return set;
    }
    return BELFRY_PORTABLE;
}

const belfry_scorer *belfry_scorer_for(int metric, int instruction_set) {
    switch (instruction_set) {
#if defined(__x86_64__)
    case BELFRY_AVX512:
        return &scorers_avx512[metric];
    case BELFRY_AVX2:
        return &scorers_avx2[metric];
#endif
    default:
        return &scorers_portable[metric];
    }
}
