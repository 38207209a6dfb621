#include "numbers.h"

#include <stdbool.h>

#include "powers.h"

// The shortest decimals of float32.
//
// The method is Raffaello Giulietti's ("The Schubfach way to render doubles", 2020, section 8 and figure 7), for 24-bit
// significands: of the decimals that read back as v, find a shortest one, and of those the nearest. A float is
// v = c * 2^q, and what reads back as v lies between its half-way points to both neighbours. With 10^k the largest power
// of ten that is no longer than that interval, the interval holds at least one multiple of 10^k and at most one of
// 10^(k+1), unless it is wider below. If there is one of the latter it is the shortest; else the nearer of the two
// multiples of 10^k around v is.
//
// Everything is counted in quarters of 10^k, so that half-way points are whole numbers of 2^q. One product with a 64-bit
// power of ten gives v, and its ends are a shifted power away. Results are rounded to odd (Boldo and Melquiond, 2008): what
// is between two whole numbers becomes the odd one, and compares rightly with every multiple of 4. That 64 bits are
// enough for this is shown by trying all floats (`FloatTests`).

// floor(log10(2^q)) for |q| <= 330, by 40 bits of log10(2).
static inline int32_t log10_of_power_of_two(int32_t q) { return (int32_t)((q * INT64_C(330985980541)) >> 40); }

// floor(log10(3/4 * 2^q)), likewise; log10(3/4) is negative.
static inline int32_t log10_of_three_quarters(int32_t q) {
    return (int32_t)((q * INT64_C(330985980541) - INT64_C(137371593661)) >> 40);
}

// floor(log2(10^e)) for |e| <= 100, by 40 bits of log2(10).
static inline int32_t log2_of_power_of_ten(int32_t e) { return (int32_t)((e * INT64_C(3652498566964)) >> 40); }

static inline uint32_t rounded_to_odd(unsigned __int128 fixed) {
    // The power of ten is too large by less than 2^-63 of itself, and the product by less than 2^-32: that counts as none.
    return (uint32_t)(fixed >> 64) | ((uint32_t)((uint64_t)fixed >> 32) != 0);
}

// The digits of the shortest decimal, which may end with zeros and are below 2 * 10^8, and the exponent of ten of the
// last one. `bits` are those of a positive finite number. Which of the decimals it is depends on the last bits, so it is
// chosen without branches: a processor guesses those wrong half of the time.
static inline uint32_t shortest_decimal(uint32_t bits, int32_t *exponent) {
    const uint32_t fraction = bits & 0x7fffff;
    const int32_t field = (int32_t)(bits >> 23);
    const bool is_normal = field != 0;
    const uint32_t c = is_normal ? fraction | 0x800000 : fraction;
    const int32_t q = (is_normal ? field : 1) - 150;
    // Below a power of two neighbours are twice as close, but for the smallest normal number.
    const bool is_closer_below = fraction == 0 && field > 1;

    const int32_t k = is_closer_below ? log10_of_three_quarters(q) : log10_of_power_of_two(q);
    const int32_t shift = q + log2_of_power_of_ten(-k) + 1;  // 1 to 4
    const uint64_t power = cjson_powers_of_ten[CJSON_POWERS_BELOW - k];
    const unsigned __int128 quarter = (unsigned __int128)power << shift;
    const unsigned __int128 middle = (unsigned __int128)power * (4 * c << shift);

    const uint32_t value = rounded_to_odd(middle);
    // An end counts if reading rounds it to v, that is, if c is even.
    const uint32_t is_open = c & 1;
    const uint32_t low = rounded_to_odd(middle - (is_closer_below ? quarter : 2 * quarter)) + is_open;
    const uint32_t high = rounded_to_odd(middle + 2 * quarter) - is_open;

    const uint32_t units = value / 4;
    const uint32_t half = 4 * units + 2;
    const bool is_low_in = low <= 4 * units;
    const bool is_high_in = 4 * units + 4 <= high;
    const bool is_nearer_high = (value > half) | ((value == half) & (units & 1));
    const uint32_t by_units = units + (is_low_in != is_high_in ? is_high_in : is_nearer_high);

    const uint32_t tens = units / 10;
    const bool is_ten_low_in = low <= 40 * tens;
    const bool is_ten_high_in = 40 * tens + 40 <= high;
    const uint32_t by_tens = 10 * (tens + is_ten_high_in);

    *exponent = k;
    return ((is_ten_low_in != is_ten_high_in) & (by_tens != 0)) ? by_tens : by_units;
}

size_t cjson_write_float(float value, char *out) {
    char *const start = out;
    uint32_t bits;
    memcpy(&bits, &value, 4);
    *out = '-';
    out += bits >> 31;
    bits &= 0x7fffffff;
    if (bits == 0) {
        memcpy(out, "0.0", 3);
        return out == start ? 1 : 4;
    }
    int32_t exponent;
    const uint32_t decimal = shortest_decimal(bits, &exponent);

    // Nine digits at most, without zeros at either end: `digits`, behind a 1 if there are nine. They are shifted in a
    // register, because bytes that are stored and loaded again in other pieces are waited for.
    const uint32_t is_nine = decimal >= 100000000;
    uint64_t digits = cjson_eight_digits(decimal - 100000000 * is_nine);
    const int32_t zeros = digits == 0 ? 8 : __builtin_clzll(digits) / 8;
    const int32_t leading = is_nine ? 0 : __builtin_ctzll(digits | (uint64_t)1 << 63) / 8;
    const int32_t count = 8 + (int32_t)is_nine - leading - zeros;
    digits >>= 8 * leading;
    exponent += zeros;

    // The notation with fewer characters, and without an exponent if both have as many: a fixed one has -exponent - count + 1
    // zeros in front or `exponent` zeros behind, a scientific one four characters and a point if there are several digits.
    const int32_t is_single = count == 1;
    if (exponent < is_single - count - 3 || exponent > 5 - is_single) {
        out[0] = is_nine ? '1' : (char)('0' + (digits & 15));
        out[1] = '.';
        cjson_store_digits(is_nine ? digits : digits >> 8, out + 2);
        out += is_single ? 1 : count + 1;
        const int32_t power = exponent + count - 1;
        const int32_t magnitude = power < 0 ? -power : power;
        *out++ = 'e';
        *out++ = power < 0 ? '-' : '+';
        *out++ = (char)('0' + magnitude / 10);
        *out++ = (char)('0' + magnitude % 10);
        return (size_t)(out - start);
    }
    if (exponent > 0) {
        // A whole number is written out as it is: the digits that reading does not need are its own, not zeros.
        return (size_t)(out - start) + cjson_write_uint64((uint64_t)(value < 0 ? -value : value), out);
    }
    const int32_t whole = count + exponent;
    if (whole <= 0) {
        memcpy(out, "0.000000", 8);
        out += 2 - whole;
    }
    *out = '1';
    cjson_store_digits(digits, out + is_nine);
    if (whole > 0 && exponent < 0) {
        cjson_store_digits(digits >> 8 * (whole - (int32_t)is_nine), out + whole + 1);
        out[whole] = '.';
        out++;
    }
    return (size_t)(out - start) + (size_t)count;
}

size_t cjson_plain_prefix(const uint8_t *text, size_t count) {
    const uint64_t ones = 0x0101010101010101;
    const uint64_t tops = ones << 7;
    size_t index = 0;
    for (; index + 8 <= count; index += 8) {
        uint64_t word;
        memcpy(&word, text + index, 8);
        // The top bit of a byte is set below if the byte is 0 (Warren, Hacker's Delight, 6-1): of the word with each
        // sought character taken away, and of the word without what only bytes of 32 and more have. A byte above the first
        // hit may be flagged by a borrow, and so what is flagged is looked at again.
        uint64_t quote = word ^ ones * '"';
        uint64_t backslash = word ^ ones * '\\';
        uint64_t found = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((word - ones * 32) & ~word);
        if (found & tops) break;
    }
    while (index < count && text[index] >= 32 && text[index] != '"' && text[index] != '\\') index++;
    return index;
}
