#include "hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t belfry_xxh64(const void *bytes, size_t count, uint64_t seed) {
    return XXH64(bytes, count, seed);
}
