// The body of one instruction set's scores; distances.c includes it once per set, having defined
//   KERNEL(name)                the function's name with the set's suffix
//   TARGET                      the attribute that selects the set
//   MULTIPLY_ADD(a, b, c)       a * b + c over lanes
//   LOAD_TAIL(pointer, count)   the first `count` (1...15) lanes from memory, zeros in the others
//
// One source for all sets is what makes the scores agree bit for bit within a set: a row's sum is built by the same
// operations in the same order whether it is scored alone or beside three others. Four rows at once keep four
// independent sums in flight, which is what a modern core needs to hide the latency of one.

#define ADD_ROW(row_pointer, sum)                                   \
    do {                                                            \
        lanes16 row_lanes = *(const unaligned16 *)((row_pointer) + i); \
        sum = TERM(query_lanes, row_lanes, sum);                    \
    } while (0)

#define ADD_ROW_TAIL(row_pointer, sum)                         \
    do {                                                       \
        lanes16 row_lanes = LOAD_TAIL((row_pointer) + i, rest); \
        sum = TERM(query_lanes, row_lanes, sum);               \
    } while (0)

// 16 lanes to 8, 4, 2 and 1: always the lower half plus the upper.
#define REDUCE(sum, result)                                                                  \
    do {                                                                                     \
        lanes8 by8 = __builtin_shufflevector(sum, sum, 0, 1, 2, 3, 4, 5, 6, 7)               \
            + __builtin_shufflevector(sum, sum, 8, 9, 10, 11, 12, 13, 14, 15);               \
        lanes4 by4 = __builtin_shufflevector(by8, by8, 0, 1, 2, 3)                           \
            + __builtin_shufflevector(by8, by8, 4, 5, 6, 7);                                 \
        lanes2 by2 = __builtin_shufflevector(by4, by4, 0, 1) + __builtin_shufflevector(by4, by4, 2, 3); \
        result = SIGN(by2[0] + by2[1]);                                                      \
    } while (0)

TARGET
static float KERNEL(one)(const float *query, const float *row, size_t dimension) {
    lanes16 sum = {0};
    size_t i = 0;
    for (; i + 16 <= dimension; i += 16) {
        lanes16 query_lanes = *(const unaligned16 *)(query + i);
        ADD_ROW(row, sum);
    }
    if (i < dimension) {
        size_t rest = dimension - i;
        lanes16 query_lanes = LOAD_TAIL(query + i, rest);
        ADD_ROW_TAIL(row, sum);
    }
    float result;
    REDUCE(sum, result);
    return result;
}

TARGET
static void KERNEL(four)(
    const float *query, const float *row0, const float *row1, const float *row2, const float *row3, size_t dimension,
    float *scores) {
    lanes16 sum0 = {0}, sum1 = {0}, sum2 = {0}, sum3 = {0};
    size_t i = 0;
    for (; i + 16 <= dimension; i += 16) {
        lanes16 query_lanes = *(const unaligned16 *)(query + i);
        ADD_ROW(row0, sum0);
        ADD_ROW(row1, sum1);
        ADD_ROW(row2, sum2);
        ADD_ROW(row3, sum3);
    }
    if (i < dimension) {
        size_t rest = dimension - i;
        lanes16 query_lanes = LOAD_TAIL(query + i, rest);
        ADD_ROW_TAIL(row0, sum0);
        ADD_ROW_TAIL(row1, sum1);
        ADD_ROW_TAIL(row2, sum2);
        ADD_ROW_TAIL(row3, sum3);
    }
    REDUCE(sum0, scores[0]);
    REDUCE(sum1, scores[1]);
    REDUCE(sum2, scores[2]);
    REDUCE(sum3, scores[3]);
}

// A row of a graph walk comes from anywhere in memory, so its lines are asked for while the rows before it are scored:
// about 2 KB ahead, and never more of one row than that.
TARGET
static void KERNEL(gathered)(
    const float *query, const float *base, size_t dimension, const uint32_t *ids, size_t count, float *scores) {
    size_t row_bytes = dimension * sizeof(float);
    size_t ahead_bytes = row_bytes < PREFETCH_BYTES ? row_bytes : PREFETCH_BYTES;
    size_t ahead = PREFETCH_BYTES / row_bytes;
    if (ahead < 1) ahead = 1;
    size_t asked = 0;
    for (size_t i = 0; i < count; i += 4) {
        size_t wanted = i + 4 + ahead < count ? i + 4 + ahead : count;
        for (; asked < wanted; asked++) {
            const char *row = (const char *)(base + (size_t)ids[asked] * dimension);
            for (size_t line = 0; line < ahead_bytes; line += 64) __builtin_prefetch(row + line);
        }
        if (i + 4 <= count) {
            KERNEL(four)(
                query, base + (size_t)ids[i] * dimension, base + (size_t)ids[i + 1] * dimension,
                base + (size_t)ids[i + 2] * dimension, base + (size_t)ids[i + 3] * dimension, dimension, scores + i);
        } else {
            for (size_t j = i; j < count; j++) {
                scores[j] = KERNEL(one)(query, base + (size_t)ids[j] * dimension, dimension);
            }
        }
    }
}

TARGET
static void KERNEL(block)(const float *query, const float *rows, size_t dimension, size_t count, float *scores) {
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const float *row = rows + i * dimension;
        KERNEL(four)(query, row, row + dimension, row + 2 * dimension, row + 3 * dimension, dimension, scores + i);
    }
    for (; i < count; i++) scores[i] = KERNEL(one)(query, rows + i * dimension, dimension);
}

#undef ADD_ROW
#undef ADD_ROW_TAIL
#undef REDUCE
