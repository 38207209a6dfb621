#pragma once

// Numbers as JSON text. Each function writes from `out` on and returns how many bytes count; it may scribble on up to
// CJSON_NUMBER_SPACE bytes from `out` on, so that digits can be stored eight at a time.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

// Room that any of the functions below needs.
#define CJSON_NUMBER_SPACE 32

// The most that counts of a float32, "-1.2345678e-38" and the like, and of a 64-bit integer.
#define CJSON_FLOAT_BYTES_MAX 16
#define CJSON_INTEGER_BYTES_MAX 20

// The texts of float and double are the shortest that read back as the same value, and the nearest of those; the notation
// is that of C++17's std::to_chars, but with an exponent from 2^53 on. -0 is kept. The value must be finite.
size_t cjson_write_float(float value, char *_Nonnull out);
size_t cjson_write_double(double value, char *_Nonnull out);

// How many bytes at the beginning of UTF-8 text stand in a JSON string as they are: up to the first quote, backslash or
// control character.
size_t cjson_plain_prefix(const uint8_t *_Nonnull text, size_t count);

// The eight decimal digits of n < 10^8 as bytes of 0 to 9, the first digit in the lowest byte. Halved three times, all
// parts at once: fours, twos, ones. The multiplications stand for divisions, exact for what a part can hold.
static inline uint64_t cjson_eight_digits(uint32_t n) {
    uint64_t fours = n / 10000 | (uint64_t)(n % 10000) << 32;
    uint64_t hundreds = fours * 10486 >> 20 & 0x0000007f0000007f;
    uint64_t twos = hundreds | (fours - 100 * hundreds) << 16;
    uint64_t tens = twos * 103 >> 10 & 0x000f000f000f000f;
    return tens | (twos - 10 * tens) << 8;
}

static inline void cjson_store_digits(uint64_t digits, char *_Nonnull out) {
    digits |= 0x3030303030303030;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    digits = __builtin_bswap64(digits);
#endif
    memcpy(out, &digits, 8);
}

// n < 10^8 without leading zeros.
static inline size_t cjson_write_up_to_eight(uint32_t n, char *_Nonnull out) {
    uint64_t digits = cjson_eight_digits(n);
    // Of 0 the last digit stays.
    unsigned zeros = (unsigned)__builtin_ctzll(digits | (uint64_t)1 << 56) / 8;
    cjson_store_digits(digits >> 8 * zeros, out);
    return 8 - zeros;
}

static inline size_t cjson_write_uint64(uint64_t value, char *_Nonnull out) {
    const uint64_t hundred_million = 100000000;
    if (value < hundred_million) return cjson_write_up_to_eight((uint32_t)value, out);
    uint64_t high = value / hundred_million;
    size_t count;
    if (high < hundred_million) {
        count = cjson_write_up_to_eight((uint32_t)high, out);
    } else {
        count = cjson_write_up_to_eight((uint32_t)(high / hundred_million), out);
        cjson_store_digits(cjson_eight_digits((uint32_t)(high % hundred_million)), out + count);
        count += 8;
    }
    cjson_store_digits(cjson_eight_digits((uint32_t)(value % hundred_million)), out + count);
    return count + 8;
}

static inline size_t cjson_write_int64(int64_t value, char *_Nonnull out) {
    *out = '-';
    size_t sign = value < 0;
    return sign + cjson_write_uint64(sign ? -(uint64_t)value : (uint64_t)value, out + sign);
}

#ifdef __cplusplus
}
#endif
