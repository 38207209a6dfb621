#include "scan.h"

#include <string.h>

// Not isfinite(): comparing exponent bits vectorises, and a model's weights are all read once at load.
size_t belfry_first_not_finite(const float *values, size_t count) {
    enum { BLOCK = 1024 };
    for (size_t start = 0; start < count; start += BLOCK) {
        size_t end = start + BLOCK < count ? start + BLOCK : count;
        uint32_t found = 0;
        for (size_t i = start; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], sizeof bits);
            found |= (bits & 0x7F800000u) == 0x7F800000u;
        }
        if (!found) continue;
        for (size_t i = start; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], sizeof bits);
            if ((bits & 0x7F800000u) == 0x7F800000u) return i;
        }
    }
    return count;
}

size_t belfry_first_not_finite_half(const uint16_t *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if ((values[i] & 0x7C00u) == 0x7C00u) return i;
    }
    return count;
}
