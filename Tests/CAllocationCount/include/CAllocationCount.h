#pragma once

#include <stddef.h>
#include <stdint.h>

// Counts the calling thread's allocations, for tests that hold code to making none. Linked into a test program it stands
// in for malloc and its like, counts, and hands on to glibc.

// Whether it counts: not in a sanitizer's build, which has an allocator of its own, nor without glibc.
int belfry_counts_allocations(void);

// The thread's calls of malloc, calloc, realloc and aligned allocation so far.
size_t belfry_allocation_count(void);

// From here on the objects whose references the calling thread counts up are noted, up to some thousands, for tests that
// hold code to not sharing any: what the program's own code counts, not what Swift's libraries do within. Where allocations
// are not counted none is noted.
void belfry_begin_watching_retains(void);

// Ends that; the objects, one for each retain, at most `capacity` of them, and how many they are. They may be gone.
size_t belfry_end_watching_retains(const void **objects, size_t capacity);
