#pragma once

#include <stddef.h>

// Counts the calling thread's allocations, for tests that hold code to making none. Linked into a test program it stands
// in for malloc and its like, counts, and hands on to glibc.

// Whether it counts: not in a sanitizer's build, which has an allocator of its own, nor without glibc.
int belfry_counts_allocations(void);

// The thread's calls of malloc, calloc, realloc and aligned allocation so far.
size_t belfry_allocation_count(void);
