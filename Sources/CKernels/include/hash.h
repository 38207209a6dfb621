#pragma once

#include <stddef.h>
#include <stdint.h>

/// XXH64 of `count` bytes (https://github.com/Cyan4973/xxHash, specification 0.1.1).
uint64_t belfry_xxh64(const void *bytes, size_t count, uint64_t seed);
