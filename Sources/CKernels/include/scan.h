#pragma once

#include <stddef.h>
#include <stdint.h>

/// The index of the first value that is NaN or infinite; `count` if there is none.
size_t belfry_first_not_finite(const float *values, size_t count);
size_t belfry_first_not_finite_half(const uint16_t *values, size_t count);
