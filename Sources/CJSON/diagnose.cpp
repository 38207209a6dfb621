#include "diagnose.h"

#include <charconv>

namespace {

struct Scanner {
    const uint8_t *bytes;
    size_t count;
    size_t at = 0;

    int peek() const { return at < count ? bytes[at] : -1; }

    void skip_space() {
        while (at < count && (bytes[at] == ' ' || bytes[at] == '\t' || bytes[at] == '\n' || bytes[at] == '\r')) at++;
    }

    bool digit() const { return at < count && bytes[at] >= '0' && bytes[at] <= '9'; }

    size_t skip_digits() {
        size_t start = at;
        while (digit()) at++;
        return at - start;
    }

    cjson_code word(const char *text) {
        for (; *text; text++, at++) {
            if (peek() != *text) return CJSON_MALFORMED;
        }
        return CJSON_OK;
    }

    // A decimal text that from_chars found out of range is either far too large or far too close to zero, which is
    // read as zero. The sign of the decimal exponent of its first digit tells them apart.
    static bool overflows(const uint8_t *text, const uint8_t *end) {
        long long magnitude = 0;
        bool point = false, nonzero = false;
        if (*text == '-') text++;
        for (; text < end && *text != 'e' && *text != 'E'; text++) {
            if (*text == '.') {
                point = true;
                continue;
            }
            nonzero = nonzero || *text != '0';
            if (!point && nonzero) magnitude++;
            if (point && !nonzero) magnitude--;
        }
        if (!nonzero) return false;
        if (text == end) return magnitude > 0;
        text++;
        bool negative = *text == '-';
        if (*text == '-' || *text == '+') text++;
        long long exponent = 0;
        for (; text < end; text++) {
            if (exponent < 1'000'000'000'000) exponent = exponent * 10 + (*text - '0');
        }
        return magnitude + (negative ? -exponent : exponent) > 0;
    }

    cjson_code number() {
        size_t start = at;
        bool negative = peek() == '-';
        if (negative) at++;
        if (!digit()) return CJSON_MALFORMED;
        if (peek() == '0') {
            at++;
            if (digit()) return CJSON_MALFORMED;
        } else {
            skip_digits();
        }
        bool integer = true;
        if (peek() == '.') {
            integer = false;
            at++;
            if (skip_digits() == 0) return CJSON_MALFORMED;
        }
        if (peek() == 'e' || peek() == 'E') {
            integer = false;
            at++;
            if (peek() == '+' || peek() == '-') at++;
            if (skip_digits() == 0) return CJSON_MALFORMED;
        }
        auto first = reinterpret_cast<const char *>(bytes + start), last = reinterpret_cast<const char *>(bytes + at);
        std::errc fault{};
        if (integer && negative) {
            int64_t value;
            fault = std::from_chars(first, last, value).ec;
        } else if (integer) {
            uint64_t value;
            fault = std::from_chars(first, last, value).ec;
        } else {
            double value;
            fault = std::from_chars(first, last, value).ec;
            if (fault == std::errc::result_out_of_range && !overflows(bytes + start, bytes + at)) fault = {};
        }
        if (fault != std::errc{}) {
            at = start;
            return CJSON_NUMBER_OUT_OF_RANGE;
        }
        return CJSON_OK;
    }

    bool hex4(uint32_t &value) {
        value = 0;
        for (int i = 0; i < 4; i++, at++) {
            int c = peek();
            if (c >= '0' && c <= '9') value = value * 16 + uint32_t(c - '0');
            else if (c >= 'a' && c <= 'f') value = value * 16 + uint32_t(c - 'a' + 10);
            else if (c >= 'A' && c <= 'F') value = value * 16 + uint32_t(c - 'A' + 10);
            else return false;
        }
        return true;
    }

    // Behind a backslash.
    cjson_code escape() {
        switch (peek()) {
        case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
            at++;
            return CJSON_OK;
        case 'u': {
            size_t start = at - 1;
            uint32_t high, low;
            at++;
            if (!hex4(high)) return CJSON_MALFORMED;
            if (high < 0xd800 || high > 0xdfff) return CJSON_OK;
            if (high < 0xdc00 && peek() == '\\') {
                at++;
                if (peek() == 'u') {
                    at++;
                    if (hex4(low) && low >= 0xdc00 && low <= 0xdfff) return CJSON_OK;
                }
            }
            at = start;  // half of a surrogate pair
            return CJSON_MALFORMED;
        }
        default:
            return CJSON_MALFORMED;
        }
    }

    // One character of two to four bytes.
    cjson_code multibyte() {
        uint8_t lead = bytes[at];
        size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
        if (lead < 0xc2 || lead > 0xf4 || count - at < length) return CJSON_INVALID_UTF8;
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (bytes[at + 1] < low || bytes[at + 1] > high) return CJSON_INVALID_UTF8;
        for (size_t i = 2; i < length; i++) {
            if (bytes[at + i] < 0x80 || bytes[at + i] > 0xbf) return CJSON_INVALID_UTF8;
        }
        at += length;
        return CJSON_OK;
    }

    cjson_code string() {
        at++;
        while (at < count) {
            uint8_t c = bytes[at];
            cjson_code code = CJSON_OK;
            if (c == '"') {
                at++;
                return CJSON_OK;
            } else if (c == '\\') {
                at++;
                code = escape();
            } else if (c < 0x20) {
                return CJSON_MALFORMED;
            } else if (c < 0x80) {
                at++;
            } else {
                code = multibyte();
            }
            if (code != CJSON_OK) return code;
        }
        return CJSON_MALFORMED;
    }

    cjson_code scalar() {
        switch (peek()) {
        case '"': return string();
        case 't': return word("true");
        case 'f': return word("false");
        case 'n': return word("null");
        default: return number();
        }
    }

    cjson_code key() {
        skip_space();
        if (peek() != '"') return CJSON_MALFORMED;
        if (cjson_code code = string()) return code;
        skip_space();
        if (peek() != ':') return CJSON_MALFORMED;
        at++;
        return CJSON_OK;
    }

    cjson_code document(char *stack, size_t maximum_depth) {
        size_t depth = 0;
        skip_space();
        if (at == count) return CJSON_EMPTY;
        while (true) {
            // One value, or the start of a container.
            skip_space();
            int c = peek();
            if (c == '{' || c == '[') {
                size_t start = at;
                char close = c == '{' ? '}' : ']';
                at++;
                skip_space();
                if (peek() != close) {
                    if (depth == maximum_depth) {  // an empty container does not count, for simdjson
                        at = start;
                        return CJSON_TOO_DEEP;
                    }
                    stack[depth++] = close;
                    if (c == '{') {
                        if (cjson_code code = key()) return code;
                    }
                    continue;
                }
                at++;
            } else if (cjson_code code = scalar()) {
                return code;
            }
            // What may follow it.
            while (true) {
                skip_space();
                if (depth == 0) return at == count ? CJSON_OK : CJSON_TRAILING_CONTENT;
                if (peek() != stack[depth - 1]) break;
                at++;
                depth--;
            }
            if (peek() != ',') return CJSON_MALFORMED;
            at++;
            if (stack[depth - 1] == '}') {
                if (cjson_code code = key()) return code;
            }
        }
    }
};

}  // namespace

cjson_code cjson_diagnose(
    const uint8_t *bytes, size_t count, char *stack, size_t maximum_depth, size_t &offset) noexcept {
    Scanner scanner{bytes, count};
    cjson_code code = scanner.document(stack, maximum_depth);
    offset = scanner.at;
    // A byte that no JSON text can hold is a fault of the encoding, wherever it stands.
    if ((code == CJSON_MALFORMED || code == CJSON_TRAILING_CONTENT) && scanner.peek() >= 0x80
        && scanner.multibyte() == CJSON_INVALID_UTF8) {
        return CJSON_INVALID_UTF8;
    }
    return code;
}
