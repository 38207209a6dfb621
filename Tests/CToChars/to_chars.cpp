#include "CToChars.h"

#include <charconv>
#include <cmath>
#include <cstring>

size_t belfry_standard_float_text(float value, char *out) {
    if (value == 0 && std::signbit(value)) {
        std::memcpy(out, "-0.0", 4);
        return 4;
    }
    if (std::fabs(value) >= 9007199254740992.0f) {
        return size_t(std::to_chars(out, out + 64, value, std::chars_format::scientific).ptr - out);
    }
    return size_t(std::to_chars(out, out + 64, value).ptr - out);
}

// The output of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) at a position.
static uint64_t mixed(uint64_t position) {
    uint64_t z = position * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

belfry_float_comparison belfry_compare_floats(
    uint64_t start, uint64_t count, uint64_t seed, size_t (*write)(float, char *)) {
    belfry_float_comparison result = {0, 0, 0};
    for (uint64_t index = 0; index < count; index++) {
        const uint32_t bits = uint32_t(seed == 0 ? start + index : mixed(seed + start + index));
        float value;
        std::memcpy(&value, &bits, sizeof value);
        if (!std::isfinite(value)) continue;
        char ours[64], theirs[64];
        const size_t our_length = write(value, ours), their_length = belfry_standard_float_text(value, theirs);
        result.compared++;
        if (our_length == their_length && std::memcmp(ours, theirs, our_length) == 0) continue;
        if (result.differing++ == 0) result.first = bits;
    }
    return result;
}
